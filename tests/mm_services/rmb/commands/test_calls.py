"""mm rmb call, serve, ping and tester, as processes at a real relay."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from mm_services.rmb.twin import Twin
from mm_transports.rmb.protocol.address import url_of
from mm_transports.rmb.protocol.twin import TwinInfo as TwinFacts
from mmplatform.cli.command import FAILED, OK, USAGE
from tests.support.cli import Node
from tests.support.rmb_scripted import Known
from tests.support.rmb_world import KEYS, RmbRelay, rmb, write_twins
from tests.support.waiting import until

__all__ = ["rmb"]

Here = Callable[..., tuple[int, str, str]]


class World:
    """A relay, a file of twins, and ``mm rmb`` as twin 10."""

    def __init__(self, relay: RmbRelay, node: Node) -> None:
        self.relay, self.node = relay, node
        node.folder.mkdir(mode=0o700)
        name = f"ws:/{relay.host}"  # as the npm client calls it
        twins = [TwinFacts(number, keys.account, keys.pk, (name,)) for number, keys in KEYS.items()]
        write_twins(node.folder / "twins.toml", *twins)
        for number in KEYS:
            self.secret(number).write_text("0x" + (bytes([number]) * 32).hex())

    def secret(self, number: int) -> Path:
        return self.node.folder / f"secret-{number}"

    def who(self, number: int) -> list[str]:
        return ["--secret-file", str(self.secret(number)), "--key-type", "ed25519" if number % 20 else "sr25519"]

    async def mm(self, *words: str, by: int = 10, stdin: bytes = b"") -> CompletedProcess[bytes]:
        first, *rest = words
        return await asyncio.to_thread(self.node.mm, "rmb", first, *self.who(by), *rest, stdin=stdin)

    def serve(self, *words: str) -> Any:
        """Serve as twin 30."""
        return self.node.start("rmb", "serve", *self.who(30), *words)

    def twin(self, number: int, **options: Any) -> Twin:
        url = f"ws://{self.relay.host}/"
        return Twin(KEYS[number], number, registry=Known(), relays=[url], **options)


@pytest.fixture
async def world(rmb: Callable[..., Any], node: Node) -> World:
    return World(await rmb(clock=time.time), node)


async def test_call_prints_the_answer_or_says_what_failed(world: World) -> None:
    bob = world.twin(30)
    bob.on("echo")(lambda command, sender, payload: payload)
    bob.on("calc.add")(lambda command, sender, payload: sum(payload))
    async with bob:
        called = await world.mm("call", "30", "calc.add", "-j", "[1, 2]")
        assert (called.returncode, called.stdout, called.stderr) == (OK, b"3\n", b"")
        called = await world.mm("call", "30", "echo", "-", "--json", stdin=b"\xff")
        assert json.loads(called.stdout) == {"payload": {"base64": "/w=="}}
        called = await world.mm("call", "30", "echo", "hello")
        assert called.stdout == b"hello\n"
        called = await world.mm("call", "30", "none", "--json")
        assert (called.returncode, called.stdout) == (FAILED, b"")
        assert json.loads(called.stderr)["kind"] == "TwinError"
    called = await world.mm("call", "30", "echo", "--fail-fast")
    assert called.returncode == FAILED
    assert b"destination offline" in called.stderr


async def test_ping_a_twin_and_a_relay(world: World) -> None:
    async with world.twin(30):
        pinged = await world.mm("ping", "30", "--count", "2")
        assert pinged.stdout.count(b" ms, mm-platform\n") == 2
        pinged = await world.mm("ping", f"ws://{world.relay.host}", "--json")
        facts = json.loads(pinged.stdout)
        assert (facts["number"], 0 < facts["seconds"] < 10) == (1, True)
    pinged = await world.mm("ping", "ws://127.0.0.1:1", "--timeout", "0.5")
    assert pinged.returncode == FAILED
    assert b"no relay is connected: 127.0.0.1:1: " in pinged.stderr


async def test_tester_counts_answers_errors_and_who_is_silent(world: World) -> None:
    bob = world.twin(30)

    @bob.on("odd")
    def odd(command: str, sender: Any, payload: bytes) -> bytes:
        return payload

    async with bob:
        tested = await world.mm("tester", "30", "--count", "50", "--command", "odd", "--size", "100")
        assert (tested.returncode, tested.stderr) == (OK, b"")
        lines = dict(line.split(None, 1) for line in tested.stdout.decode().splitlines())
        assert (lines["sent"], lines["answered"], lines["missing"]) == ("50", "50", "0 (0 %)")
        tested = await world.mm("tester", "30", "40", "99", "--count", "2", "--timeout", "1", "--json")
        assert tested.returncode == FAILED
        facts = json.loads(tested.stdout)
    assert (facts["sent"], facts["answered"], facts["errors"], facts["missing"]) == (6, 2, 2, 2)
    assert facts["missingPercent"] == 33.333
    assert facts["silent"] == ["40", "99"]
    assert 0 < facts["p50"] <= facts["p99"]
    assert ["no twin 99" in text for text in facts["errorTexts"]] == [True]


@pytest.mark.slow
async def test_serve_answers_by_a_program_and_a_kill_loses_no_request(world: World, tmp_path: Path) -> None:
    marker = tmp_path / "began"
    program = f'if [ -e "{marker}" ]; then cat; else touch "{marker}"; sleep 10; fi'
    alice = world.twin(10, session="desk")
    async with alice:
        first = world.serve("job", "--", "sh", "-c", program)
        asked = asyncio.create_task(alice.request(30, "job", "hello", 60))
        await until(marker.exists)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        program = 'if grep -q x; then echo nothing; else echo "[1]"; fi'
        second = world.serve("job", "-j", "--json", "--", "sh", "-c", program)
        assert await asked == [1]
        assert '"serves":"job"' in world.node.out
        with pytest.raises(Exception, match="sh wrote no JSON"):
            await alice.request(30, "job", "x", 20)
        second.terminate()
        assert await asyncio.to_thread(second.wait, 10) == OK
        third = world.serve("job", "--", "false")
        with pytest.raises(Exception, match="false ended with code 1"):
            await alice.request(30, "job", "x", 20)
        third.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(third.wait, 10) == 130


def test_what_is_missing_is_said(here: Here, tmp_path: Path) -> None:
    secret, twins = tmp_path / "secret", tmp_path / "twins.toml"
    secret.write_text("0x" + (bytes([10]) * 32).hex())
    who = ("--secret-file", str(secret), "--key-type", "ed25519")
    assert here("rmb", "call", "30", "x")[0] == USAGE
    code, _, err = here("rmb", "call", "30", "x", *who)
    assert code == FAILED
    assert "mm rmb twin add makes one" in err
    write_twins(twins, TwinFacts(10, KEYS[20].account), TwinFacts(20, KEYS[10].account))
    for more, words in (
        ((), "our twin names no relay; say which one: --relay wss://relay.example"),
        (("--twin", "10"), "twin 10 has another account"),
        (("--key-type", "sr25519"), "has no twin with the account of this secret"),
        (("--relay", "http://x"), "is no URL of a relay"),
    ):
        code, _, err = here("rmb", "call", "30", "x", *who, "--file", str(twins), *more)
        assert (code, words in err) == (FAILED, True), err


def test_relays_by_the_names_that_clients_have_for_them() -> None:
    assert [url_of(name) for name in ("relay.example", "ws:/127.0.0.1:1", "wss://a/b", "ws://a:1/")] == [
        "wss://relay.example/", "ws://127.0.0.1:1/", "wss://a/b", "ws://a:1/",
    ]  # fmt: skip
