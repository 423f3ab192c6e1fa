"""Two gateways on two databases of one Redis, over a real relay: JSON in, JSON out, whatever dies."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_services.rmb.gateway.redis_queues import Kind, QueuesAway
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.rmb_programs import Programs
from tests.support.rmb_world import RmbRelay
from tests.support.waiting import until

pytestmark = needs_redis


@pytest.fixture
async def two(rmb: Any, redis: RedisServer) -> AsyncIterator[tuple[Programs, Programs]]:
    relay: RmbRelay = await rmb()
    both = Programs(relay, redis, 10, 0), Programs(relay, redis, 30, 1)
    for one in both:
        await one.start()
    yield both
    for one in both:
        await one.stop()
        await one.redis.aclose()


async def test_a_program_asks_and_another_answers(two: Any) -> None:
    alice, bob = two
    await alice.ask("calc.add", b"[1,2]", 30, ref="mine", tag="t", shm="application/json")
    asked = await bob.reply("msgbus.calc.add")
    assert (asked["src"], asked["cmd"], asked["dat"], asked["tag"]) == ("10", "calc.add", "WzEsMl0=", "t")
    assert asked["ret"] == "msgbus.system.reply"
    await bob.redis.lpush(asked["ret"], json.dumps({"ref": asked["ref"], "dst": asked["src"], "dat": "Mw=="}))
    said = await alice.reply()
    assert (said["ref"], said["src"], said["dat"], said.get("err")) == ("mine", "30", "Mw==", None)
    await alice.ask("calc.add", b"[1]", 30)
    asked = await bob.reply("msgbus.calc.add")
    failed = {"ref": asked["ref"], "dst": asked["src"], "dat": "", "err": {"code": 7, "message": "no"}}
    await bob.redis.lpush("msgbus.system.reply", json.dumps(failed))
    assert (await alice.reply())["err"] == {"code": 7, "message": "no"}
    await nothing_is_left(alice, bob)


async def nothing_is_left(*programs: Programs) -> None:
    async def empty() -> bool:
        return not any([await one.redis.keys(f"msgbus.mm.{one.number}.taken.*") for one in programs])

    await until(empty)


async def test_one_request_to_several_twins_has_an_answer_of_each(two: Any) -> None:
    alice, bob = two
    serving = asyncio.create_task(bob.serve("echo", 1))
    await alice.ask("echo", b"x", 30, 99, ref="bulk")
    said = {one["src"]: one for one in [await alice.reply(), await alice.reply()]}
    assert said["30"]["dat"] == "eA=="
    assert said[""]["err"] == {"code": 103, "message": said[""]["err"]["message"]}
    assert "no twin 99" in said[""]["err"]["message"]
    await serving


async def test_a_thousand_requests_are_answered(two: Any) -> None:
    alice, bob = two
    serving = asyncio.create_task(bob.serve("echo", 1000))
    for number in range(1000):
        await alice.ask("echo", b"%d" % number, 30, ref=f"{number}")
    said = [await alice.reply() for _ in range(1000)]
    assert {one["ref"]: base64.b64decode(one["dat"]) for one in said} == {f"{n}": b"%d" % n for n in range(1000)}
    await serving
    await nothing_is_left(alice, bob)


@pytest.mark.parametrize(
    ("said", "code"),
    [({"dst": []}, 100), ({"dat": "*"}, 101), ({"exp": 1, "now": 5}, 102), ({"dst": [99]}, 103)],
)
async def test_what_cannot_be_sent_is_answered_with_its_code(two: Any, said: dict[str, Any], code: int) -> None:
    alice, _ = two
    await alice.ask("calc.add", b"", 30, ref="mine", **said)
    answer = await alice.reply()
    assert (answer["src"], answer["now"], answer["ref"], answer["err"]["code"]) == ("", 0, "mine", code)
    await nothing_is_left(alice)


async def test_what_nobody_can_read_is_dropped(two: Any) -> None:
    alice, bob = two
    await alice.redis.lpush("msgbus.system.local", b"\xff", b"{}", b"[]")
    await alice.redis.lpush("msgbus.system.reply", b"\xff", b"{}", json.dumps({"ref": "x", "dst": "nobody"}))
    await alice.ask("rmb.version", b"", 30, ref="version")
    assert json.loads(base64.b64decode((await alice.reply())["dat"])) == "1.2.3"
    await alice.ask("rmb.other", b"", 30, ref="other")
    assert (await alice.reply())["err"]["code"] == 255
    await nothing_is_left(alice, bob)


async def test_a_gateway_that_ends_and_comes_back_has_lost_nothing(two: Any) -> None:
    alice, bob = two
    await bob.stop()
    for number in range(50):
        await alice.ask("echo", b"%d" % number, 30, ref=f"{number}")
    await alice.stop()
    for number in range(50, 100):
        await alice.ask("echo", b"%d" % number, 30, ref=f"{number}")
    await alice.start()
    await bob.start()
    serving = asyncio.create_task(bob.serve("echo", 100))
    assert {(await alice.reply())["ref"] for _ in range(100)} == {f"{number}" for number in range(100)}
    await serving
    await nothing_is_left(alice, bob)


async def test_what_redis_took_and_did_not_say_is_found(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it is killed between the taking and its word of it."""
    alice, bob = two
    assert alice.gateway is not None
    queues, unsaid = alice.gateway._queues, list[Any]()
    take = queues.take

    async def once(kind: Kind) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = await take(kind)
        if found and not unsaid:
            unsaid.extend(found)
            raise QueuesAway("killed")
        return found

    monkeypatch.setattr(queues, "take", once)
    serving = asyncio.create_task(bob.serve("echo", 3))
    await alice.ask("echo", b"warm", 30, ref="warm")  # is taken by the call that waits already
    assert (await alice.reply())["ref"] == "warm"
    await alice.ask("echo", b"first", 30, ref="first")
    await until(lambda: unsaid)
    await alice.ask("echo", b"second", 30, ref="second")
    assert {(await alice.reply())["ref"] for _ in range(2)} == {"first", "second"}
    await serving
    await nothing_is_left(alice, bob)


async def test_a_redis_that_is_killed_and_comes_back_has_lost_nothing(two: Any, redis: RedisServer) -> None:
    alice, bob = two
    for number in range(100):
        await alice.ask("echo", b"%d" % number, 30, ref=f"{number}")
    redis.kill()
    redis.start()
    await redis.started()
    serving = asyncio.create_task(bob.serve("echo", 100))
    assert {(await alice.reply())["ref"] for _ in range(100)} == {f"{number}" for number in range(100)}
    await serving
    await nothing_is_left(alice, bob)
