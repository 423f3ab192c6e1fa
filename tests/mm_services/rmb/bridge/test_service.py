"""Peers ask twins and twins ask peers: two platforms, a real relay with its door, and twins in Python."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mm_services.rmb.bridge import RmbBridge
from mm_services.rmb.bridge import service as service_module
from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.errors import HANDLER_FAILED, TwinError
from mm_transports.rmb.twins.file_registry import FileRegistry
from mmplatform import Platform
from mmplatform.errors import (
    InvalidKey,
    InvalidPayload,
    LocalError,
    Refused,
    RequestFailed,
    RequestTimeout,
)
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.rmb_programs import Programs
from tests.support.rmb_world import KEYS, Clock, RmbRelay, rmb
from tests.support.waiting import until

__all__ = ["rmb"]

RULES = """
twins = "relay/twins.toml"
[twin.10]
secret = "10.secret"
key_type = "ed25519"
relays = ["{relay}"]
friends = [30]
[twin.40]
secret = "40.secret"
key_type = "{kind}"
relays = ["{relay}"]
peer = "bob"
friends = [30]
[names]
calculator = 30
"""


class Bridged(NamedTuple):
    """Alice's node has the bridge, bob is her friend, 20 and 30 are twins in Python."""

    alice: Platform
    bob: Platform
    bridge: RmbBridge
    twin: Callable[..., Twin]
    rules: Path
    relay: RmbRelay


@pytest.fixture
async def bridged(rmb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bridged]:
    monkeypatch.setattr(service_module, "SETUP", 0.0)
    relay: RmbRelay = await rmb(clock=Clock(time.time()))
    kinds = {number: "ed25519" if number % 20 else "sr25519" for number in KEYS}
    for number in (10, 40):
        (tmp_path / f"{number}.secret").write_text(f"0x{(bytes([number]) * 32).hex()}")
    rules = tmp_path / "bridge.toml"
    rules.write_text(RULES.format(relay=f"ws://{relay.host}/", kind=kinds[40]))

    def twin(number: int) -> Twin:
        registry = FileRegistry(relay.twins, pytest.fail)
        return Twin(KEYS[number], number, registry=registry, relays=[f"ws://{relay.host}/"])

    bridge = RmbBridge(rules)
    loopback = ["tcp://127.0.0.1:0"]
    async with (
        Platform(tmp_path / "alice", connection_info=loopback, services=[bridge]) as alice,
        Platform(tmp_path / "bob", connection_info=loopback) as bob,
    ):
        await alice.add(bob.ticket(), name="bob", circle="friends")
        await bob.add(alice.ticket(), name="alice", circle="friends")
        yield Bridged(alice, bob, bridge, twin, rules, relay)


def add(topic: str, sender: str, numbers: list[int]) -> int:
    return sum(numbers)


async def test_a_peer_asks_a_twin_by_its_number_and_by_its_name(bridged: Bridged) -> None:
    async with bridged.twin(30) as calculator:
        senders = []

        @calculator.on("calc.add")
        def answer(command: str, sender: object, numbers: list[int]) -> int:
            senders.append(str(sender))
            return sum(numbers)

        ask = bridged.alice.messaging.request
        assert await ask("calc.add", "rmb:30", [1, 2]) == 3
        assert await ask("calc.add", "rmb:calculator", [3, 4], returns=int) == 7
        assert senders == ["10", "10"]


async def test_what_keeps_a_twin_from_answering_is_an_error_of_the_platform(bridged: Bridged) -> None:
    ask = bridged.alice.messaging.request
    async with bridged.twin(30) as calculator:

        @calculator.on("calc.fail")
        def fail(command: str, sender: object, payload: object) -> None:
            raise Refused("not today")

        with pytest.raises(RequestFailed, match="not today") as failed:
            await ask("calc.fail", "rmb:30")
        assert isinstance(failed.value, TwinError)
        assert failed.value.code == HANDLER_FAILED
        with pytest.raises(RequestFailed, match=r"no calc\.other"):
            await ask("calc.other", "rmb:30")
        with pytest.raises(InvalidPayload):
            await ask("calc.add", "rmb:30", [b"bytes inside"])
    with pytest.raises(InvalidKey, match="rmb:nobody is no twin"):
        await ask("calc.add", "rmb:nobody")
    with pytest.raises(RequestTimeout):
        await ask("calc.add", "rmb:30", timeout=0.3)
    with pytest.raises(RequestFailed, match="9999"):
        await ask("calc.add", "rmb:9999")


async def test_only_requests_go_to_twins(bridged: Bridged) -> None:
    messaging = bridged.alice.messaging
    for sending in (messaging.send("chat", "rmb:30", 1), messaging.send("chat", "rmb:30", 1, realtime=True)):
        with pytest.raises(LocalError, match="asked by requests only"):
            await sending
    with pytest.raises(LocalError, match="one reply"):
        await anext(messaging.request_many("chat", "rmb:30"))


async def test_a_stranger_among_twins_reaches_what_is_public(bridged: Bridged) -> None:
    heard = []

    @bridged.alice.messaging.on("public.calc.add")
    def answer(topic: str, sender: str, numbers: list[int]) -> int:
        heard.append((topic, sender))
        return sum(numbers)

    @bridged.alice.messaging.on("friends.calc.mul")
    def secret(topic: str, sender: str, numbers: list[int]) -> int:
        raise AssertionError

    async with bridged.twin(20) as stranger:
        assert await stranger.request(10, "calc.add", [1, 2]) == 3
        assert heard == [("public.calc.add", "rmb:20")]
        for command in ("calc.mul", "transports.nodeInfo", "directory.put", "no such topic", "self.x"):
            with pytest.raises(TwinError):
                await stranger.request(10, command, [1, 2])


async def test_a_friend_among_twins_reaches_what_is_for_friends(bridged: Bridged) -> None:
    heard = []

    @bridged.alice.messaging.on("friends.calc.add")
    def answer(topic: str, sender: str, numbers: list[int], message: Any) -> int:
        heard.append((message.sender, message.scope, message.kind))
        return sum(numbers)

    @bridged.alice.messaging.on("friends.calc.fail")
    def fail(topic: str, sender: str, payload: object) -> None:
        raise ValueError("told to friends")

    async with bridged.twin(30) as friend:
        assert await friend.request(10, "calc.add", [1, 2]) == 3
        assert heard == [("rmb:30", "friends", "request")]
        with pytest.raises(TwinError, match="ValueError: told to friends"):
            await friend.request(10, "calc.fail")


async def test_an_error_is_not_told_to_strangers_unless_it_is_meant_for_them(bridged: Bridged) -> None:
    @bridged.alice.messaging.on("public.fail")
    def fail(topic: str, sender: str, payload: object) -> None:
        raise (Refused if payload else ValueError)("the words")

    async with bridged.twin(20) as stranger:
        with pytest.raises(TwinError) as failed:
            await stranger.request(10, "fail", 0)
        assert "the words" not in str(failed.value)
        with pytest.raises(TwinError, match="the words"):
            await stranger.request(10, "fail", 1)


async def test_a_peer_with_a_twin_number_is_asked_by_who_may(bridged: Bridged) -> None:
    heard = []

    @bridged.bob.messaging.on("friends.calc.add")
    def answer(topic: str, sender: str, numbers: list[int]) -> int:
        heard.append(sender)
        return sum(numbers)

    async with bridged.twin(30) as friend, bridged.twin(20) as stranger:
        assert await friend.request(40, "calc.add", [5, 6]) == 11
        assert heard == [bridged.alice.sign_id]
        with pytest.raises(TwinError, match="may not ask here"):
            await stranger.request(40, "calc.add", [5, 6])
        with pytest.raises(TwinError, match=r"no calc\.other|no reply"):
            await friend.request(40, "calc.other", timeout=2)


@needs_redis
async def test_a_program_with_two_queues_of_redis_asks_a_peer_and_is_asked_by_it(bridged: Bridged) -> None:
    bridged.bob.messaging.on("friends.calc.add", add)
    redis = RedisServer().start()
    await redis.started()
    program = Programs(bridged.relay, redis, 30, 0)
    try:
        await program.start()
        await program.ask("calc.add", b"[5, 6]", 40, ref="mine", shm="application/json")
        said = await program.reply()
        assert (said["ref"], said["src"], base64.b64decode(said["dat"])) == ("mine", "40", b"11")
        asking = asyncio.ensure_future(bridged.alice.messaging.request("echo", "rmb:30", b"bytes"))
        await program.serve("echo", 1)
        assert await asking == b"bytes"
    finally:
        await program.stop()
        await program.redis.aclose()
        redis.remove()


async def test_a_peer_that_is_away_is_told_in_time(bridged: Bridged) -> None:
    await bridged.bob.stop()
    async with bridged.twin(30) as friend:
        with pytest.raises((TwinError, RequestTimeout)):
            await asyncio.wait_for(friend.request(40, "calc.add", [5, 6], timeout=5), 8)


async def test_rules_count_as_soon_as_they_are_written(bridged: Bridged) -> None:
    bridged.alice.messaging.on("friends.calc.add", add)
    async with bridged.twin(20) as stranger:
        with pytest.raises(TwinError):
            await stranger.request(10, "calc.add", [1])
        before = bridged.rules.read_text()
        bridged.rules.write_text(before.replace("friends = [30]", "friends = [20]"))
        await bridged.bridge._rules.look()
        await until(lambda: 20 in bridged.bridge._twins.find(10).friends)  # type: ignore[union-attr]
        assert await stranger.request(10, "calc.add", [1]) == 1
        bridged.rules.write_text(before.partition("[twin.40]")[0])
        await bridged.bridge._rules.look()
        await until(lambda: bridged.bridge._twins.find(40) is None)  # type: ignore[union-attr]
        with pytest.raises(TwinError):
            await stranger.request(10, "calc.add", [1])


async def test_a_handler_that_comes_late_is_waited_for(bridged: Bridged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "SETUP", 60.0)
    async with bridged.twin(30) as friend:
        asking = asyncio.ensure_future(friend.request(10, "calc.add", [1, 2]))
        serving = bridged.bridge._twins.running[10][1]._serving  # type: ignore[union-attr]
        await until(lambda: serving._running)
        bridged.alice.messaging.on("friends.calc.add", add)
        assert await asking == 3


async def test_a_bridge_without_rules_says_what_to_do(tmp_path: Path) -> None:
    for rules, told in ((None, "MM_RMB_BRIDGE"), (tmp_path / "none.toml", "no such file")):
        platform = Platform(tmp_path / "node", connection_info=["tcp://127.0.0.1:0"], services=[RmbBridge(rules)])
        with pytest.raises(LocalError, match=told):
            await platform.start()
        await platform.stop()


async def test_two_bridges_of_one_network_do_not_share_a_node(bridged: Bridged, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        platform = Platform(
            tmp_path / "two", connection_info=["tcp://127.0.0.1:0"],
            services=[RmbBridge(bridged.rules), RmbBridge(bridged.rules)],
        )  # fmt: skip
        stack.push_async_callback(platform.stop)
        with pytest.raises(LocalError, match="another service is the bridge of rmb:"):
            await platform.start()


async def test_the_doctor_says_how_the_twins_are(bridged: Bridged) -> None:
    await until(lambda: not bridged.bridge._twins.here().away)  # type: ignore[union-attr]
    found = [check.text for check in await bridged.bridge.checks()]
    assert found[0] == "twin 10 stands for self"
