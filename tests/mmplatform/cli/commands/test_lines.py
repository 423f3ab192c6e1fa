"""mm send --lines: in order, once, through any SIGKILL."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmplatform.cli.command import FAILED, OK
from mmplatform.cli.commands import lines, progress
from mmplatform.cli.commands.lines import Input, LineDigest
from mmplatform.cli.node import lines as line_runs
from mmplatform.cli.node.host import Host
from mmplatform.errors import InvalidPayload, StorageError
from mmplatform.message import Priority
from tests.support.cli import INTERRUPTED, LOOPBACK, MM, Node, end
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]
Pair = tuple[Node, Node]
COUNT = 20_000


def numbers(count: int = COUNT) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


def in_order(payloads: list[Any], count: int = COUNT) -> bool:
    """All of them, in order; what was printed in the instant of a kill may come twice."""
    return list(dict.fromkeys(payloads)) == [str(number) for number in range(1, count + 1)]


def start_sending(node: Node, source: Path) -> "subprocess.Popen[bytes]":
    with source.open("rb") as stdin:
        return node.start("send", "bob", "lines", "--lines", stdin=stdin)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(numbers())
    return path


def test_all_in_order(pair: Pair) -> None:
    alice, bob = pair
    bob.serve("on", "friends.lines", "--json")
    done = alice.mm("send", "bob", "lines", "--lines", stdin=numbers())
    assert (done.returncode, done.stdout) == (OK, b"")
    assert done.stderr == b"20,000 lines accepted, 20,000 delivered\n"
    assert bob.payloads() == [str(number) for number in range(1, COUNT + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("with_node", [False, True], ids=["own node", "running node"])
def test_the_sender_is_killed(pair: Pair, source: Path, with_node: bool) -> None:
    alice, bob = pair
    bob.serve("on", "friends.lines", "--json")
    if with_node:
        alice.serve("run", "--listen", *LOOPBACK)
    first = start_sending(alice, source)
    wait_until(lambda: bob.lines > 500)
    first.kill()
    first.wait()
    assert start_sending(alice, source).wait(30) == OK
    wait_until(lambda: bob.lines >= COUNT)
    assert bob.payloads() == [str(number) for number in range(1, COUNT + 1)]
    assert "of an interrupted run; --fresh sends all again" in alice.err
    # It came to its end, so the same command begins anew.
    assert json.loads(alice.mm("--json", "send", "bob", "lines", "--lines", stdin=b"1\n").stdout)["skipped"] == 0


@pytest.mark.slow
def test_the_receiver_is_killed(pair: Pair, source: Path) -> None:
    alice, bob = pair
    on = bob.serve("on", "friends.lines", "--json")
    sender = start_sending(alice, source)
    wait_until(lambda: bob.lines > 500)
    on.kill()
    on.wait()
    bob.start("on", "friends.lines", "--json")
    assert sender.wait(60) == OK
    assert in_order(bob.payloads())


@pytest.mark.slow
def test_the_node_under_the_sender_is_killed(pair: Pair, source: Path) -> None:
    alice, bob = pair
    bob.serve("on", "friends.lines", "--json")
    run = alice.serve("run", "--listen", *LOOPBACK)
    sender = start_sending(alice, source)
    wait_until(lambda: bob.lines > 500)
    run.kill()
    run.wait()
    assert sender.wait(30) == FAILED
    assert "the node stopped;" in alice.err
    assert start_sending(alice, source).wait(30) == OK
    assert bob.payloads() == [str(number) for number in range(1, COUNT + 1)]


def test_the_reader_of_the_lines_is_slow(pair: Pair, source: Path) -> None:
    """Nobody reads bob's stdout for a while: the sender waits, the node lives, nothing is lost."""
    alice, bob = pair
    on = bob.start("on", "friends.lines", "--payload", stdout=subprocess.PIPE)
    wait_until(lambda: bob.holder() == on.pid)
    sender = start_sending(alice, source)
    wait_until(lambda: alice.control.is_socket())
    assert bob.mm("ping", "alice").returncode == OK
    assert on.stdout is not None
    received = b""
    while len(received) < len(numbers()):
        received += os.read(on.stdout.fileno(), 65536)
    assert received == numbers()
    assert sender.wait(30) == OK
    on.stdout.close()


@pytest.mark.slow
def test_another_input_is_sent_whole(pair: Pair, here: Here) -> None:
    alice, _ = pair
    interrupted(alice, here, numbers(100))
    done = alice.mm("send", "bob", "lines", "--lines", "--no-wait", stdin=numbers(50) + b"else\n" * 10)
    assert done.returncode == OK
    assert b"not that of the interrupted run; all of it is sent" in done.stderr
    assert b"60 lines accepted" in done.stderr
    interrupted(alice, here, numbers(100))
    assert b"99 lines" in alice.mm("send", "bob", "lines", "--lines", "--no-wait", stdin=numbers(99)).stderr
    interrupted(alice, here, numbers(100))
    assert (
        b"100 lines" in alice.mm("send", "bob", "lines", "--lines", "--no-wait", "--fresh", stdin=numbers(100)).stderr
    )
    interrupted(alice, here, numbers(100))
    more = alice.mm("send", "bob", "lines", "--lines", "--no-wait", stdin=numbers(120))
    assert b"continuing after line 100 " in more.stderr
    assert b"20 lines accepted" in more.stderr


def interrupted(node: Node, here: Here, data: bytes) -> None:
    """A run whose lines are accepted, and that is killed while it waits for an absent peer."""
    read, write = os.pipe()
    goal = waiting(node, here) + data.count(b"\n")
    process = node.start("send", "bob", "lines", "--lines", stdin=read)
    os.close(read)
    os.write(write, data)
    os.close(write)
    wait_until(lambda: node.holder() == process.pid)
    wait_until(lambda: waiting(node, here) == goal)
    process.kill()
    process.wait()


def waiting(node: Node, here: Here) -> int:
    return here("outbox", "--json", data=node.folder)[1].count("\n")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENT_FOR", 0.2)


def test_ctrl_c_says_what_holds(pair: Pair, here: Here) -> None:
    alice, _ = pair
    read, write = os.pipe()
    process = alice.start("send", "bob", "lines", "--lines", stdin=read)
    os.close(read)
    os.write(write, b"one\n")
    wait_until(lambda: alice.holder() == process.pid)
    wait_until(lambda: waiting(alice, here))
    assert end(process) == INTERRUPTED
    os.close(write)
    assert "the same command with the same input continues there" in alice.err


@pytest.mark.slow
def test_a_bar_on_a_terminal(pair: Pair) -> None:
    alice, _ = pair
    main, side = pty.openpty()
    process = subprocess.Popen(
        (*MM, "--data", str(alice.folder), "send", "bob", "lines", "--lines"),
        stdin=subprocess.PIPE, stderr=side, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(side)
    assert process.stdin is not None
    process.stdin.write(b"1\n2\n")
    process.stdin.close()
    shown = b""
    while b"waiting for bob" not in shown:
        shown += os.read(main, 4096)
    assert "\u2501".encode() in shown
    process.send_signal(signal.SIGINT)
    while b"mm run sends" not in shown:
        shown += os.read(main, 4096)
    assert process.wait(30) == INTERRUPTED
    os.close(main)


@pytest.mark.slow
def test_json_lines_and_timeouts(pair: Pair) -> None:
    alice, _ = pair
    done = alice.mm("send", "bob", "x", "--lines", "-j", "--json", "--timeout", "0.3", stdin=b'{"a":1}\n[2]\n')
    assert done.returncode == FAILED
    assert json.loads(done.stdout) == {"skipped": 0, "accepted": 2, "delivered": 0, "received": 0, "waiting": 2}
    done = alice.mm("send", "bob", "y", "--lines", "-j", stdin=b"1\nnonsense\n")
    assert done.returncode == 2
    assert b"line 2 is not JSON" in done.stderr
    done = alice.mm("send", "bob", "y", "--lines", "--timeout", "0.2", stdin=b"1\n")
    assert b"1 wait on disk" in done.stderr
    for arguments in (["nobody", "y"], ["bob", "friends.update"], ["bob", "y", "--realtime", "--timeout", "0.2"]):
        done = alice.mm("send", *arguments, "--lines", stdin=b"1\n")
        assert done.returncode == FAILED
        assert done.stderr.count(b"\n") == 1


def test_realtime_and_unheard_lines(pair: Pair) -> None:
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    done = alice.mm("send", "bob", "x", "--lines", "--realtime", stdin=b"1\n2\n")
    assert (done.returncode, done.stderr) == (OK, b"2 lines sent\n")
    done = alice.mm("send", "bob", "x", "--lines", stdin=b"1\n2\n")
    assert done.returncode == OK
    assert b"0 delivered, 2 received" in done.stderr
    assert b"bob keeps what is received until something there listens to x" in done.stderr
    done = alice.mm("send", "bob", "x", "--lines", "--json", "--timeout", "0.5", "--wait", stdin=b"3\n")
    assert done.returncode == FAILED
    assert json.loads(done.stdout)["received"] == 1


async def test_lines_that_are_received_count_as_that_until_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those beyond the watched ones; with --wait, the run ends when they do."""
    monkeypatch.setattr(line_runs, "HELD", 3)
    async with (
        Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
        Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
    ):
        await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
        await b.call("add", ticket=a.platform.ticket(), name="a", circle="friends")
        options = {"realtime": False, "expire_after": 60.0, "priority": "normal", "keep": False}
        async with await a.open("lines", peer="b", topic="x", wait=None, timeout=None, **options) as channel:
            await anext(channel)
            await channel.send([list(range(8)), 8, b"", []])
            await channel.send(False)
            report = await channel.end()
        assert {word: report[word] for word in ("accepted", "delivered", "received", "waiting")} == {
            "accepted": 8, "delivered": 0, "received": 8, "waiting": 0,
        }  # fmt: skip
        heard: list[Any] = []
        async with await a.open("lines", peer="b", topic="x", wait=True, timeout=30, **options) as channel:
            await anext(channel)
            await channel.send([[8, 9], 2, b"", []])
            await channel.send(False)
            async for report in channel:
                if report["received"] == 2 and not heard:
                    b.platform.messaging.on("friends.x", lambda topic, sender, payload: heard.append(payload))
            assert (channel.result["delivered"], channel.result["received"]) == (2, 0)
        assert heard == list(range(10))


async def test_what_is_beyond_the_watched_ones_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_runs, "HELD", 5)
    async with (
        Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
        Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
    ):
        heard: list[Any] = []
        await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
        b.platform.messaging.on("public.x", lambda topic, sender, payload: heard.append(payload))
        options = {"realtime": False, "expire_after": 60.0, "priority": "normal", "timeout": None}
        async with await a.open("lines", peer="b", topic="x", keep=True, wait=True, **options) as channel:
            assert await anext(channel) is None
            await channel.send([list(range(50)), 50, b"d" * 16, []])
            await channel.send(True)
            assert (await channel.end())["delivered"] == 50
        assert heard == list(range(50))


async def test_a_disk_that_fails_stops_the_run_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Host(tmp_path / "a", listen=LOOPBACK) as a, Host(tmp_path / "b", listen=LOOPBACK) as b:
        await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
        run = line_runs.Lines(a.platform, b.platform.sign_id, "x", Priority.NORMAL, 60.0, False)
        await run.accept([b"\x01"], line_runs.Position(1, b"", []))

        def full(*arguments: Any, **options: Any) -> Any:
            raise StorageError("no space")

        with monkeypatch.context() as patch:
            patch.setattr(a.platform.storage, "write", full)
            with pytest.raises(StorageError):
                await run.accept([b"\x02", b"\x03"], line_runs.Position(3, b"", []))
        saved = await run.position()
        assert saved is not None
        assert saved.count == 1
        with pytest.raises(InvalidPayload):
            await run.accept([bytes(65 * 1024 * 1024)], None)


def test_input_is_compared_at_powers_of_two() -> None:
    tally = LineDigest()
    first = [b"%d\n" % number for number in range(100)]
    for line in first:
        tally.add(line)
    position = [tally.count, tally.digest, tally.marks]
    assert [count for count, _ in tally.marks] == [1, 2, 4, 8, 16, 32, 64]
    same = Input(position)
    assert same.unsent([*first, b"next\n"]) == [b"next\n"]
    assert same.skipped == 100
    other = Input(position)
    assert other.unsent([b"0\n"]) == []
    assert other.unsent([b"else\n", b"more\n"]) == [b"0\n", b"else\n", b"more\n"]
    assert other.unsent([b"on\n"]) == [b"on\n"]
    assert other.rest() == []


def test_batches_are_bounded() -> None:
    batches = list(lines._batches([b"x" * 400_000] * 5 + [b"y"] * 3000))
    assert [len(batch) for batch in batches] == [2, 2, 1 + 2047, 953]
