"""Twins over relays that end and come back, and twins that end and come back, over real relays."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mm_services.rmb import serving
from mm_services.rmb.twin import Twin
from mm_transports.rmb.client import twin_link
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.twins.registry import TwinRegistry
from mm_transports.testing import MemoryNodes
from mmplatform.errors import NotRunning
from mmplatform.plugins.check import Check
from tests.support.rmb_scripted import Known
from tests.support.rmb_world import KEYS, RmbRelay, rmb
from tests.support.waiting import pace, until

__all__ = ["rmb"]

Relays = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin_link, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(twin_link, "LONGEST_PAUSE", 0.1)


def twin_at(number: int, *relays: RmbRelay, registry: TwinRegistry | None = None, **options: Any) -> Twin:
    urls = [f"ws://{relay.host}/" for relay in relays]
    return Twin(KEYS[number], number, registry=registry or Known(), relays=urls, now=relays[0].clock, **options)


def counting(twin: Twin) -> Counter[int]:
    calls: Counter[int] = Counter()

    @twin.on("echo")
    def echo(command: str, sender: TwinAddress, payload: Any) -> Any:
        calls[payload] += 1
        return payload

    return calls


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
async def test_connections_that_are_lost_at_random_lose_nothing_and_repeat_nothing(rmb: Relays, count: int) -> None:
    first: RmbRelay = await rmb("0")
    relays = [first, *[await rmb(str(number), clock=first.clock) for number in range(1, count)]]
    alice, bob = twin_at(10, *relays, session="desk"), twin_at(30, *relays)
    calls = counting(bob)
    chance, drops = random.Random(count), Counter[bool]()

    async def drop() -> None:
        while True:
            await pace(chance.random() * 0.1)
            link = chance.choice([link for twin in (alice, bob) for link in twin._endpoint._links.values()])
            if link._socket is not None:
                link._socket.abort("a cable is pulled")
                drops[True] += 1

    async with alice, bob:
        pulling = asyncio.create_task(drop())
        for start in range(0, 600, 100):
            asked = asyncio.gather(*(alice.request(30, "echo", number, 60) for number in range(start, start + 100)))
            assert await asked == list(range(start, start + 100))
            await until(lambda: drops[True] > start / 50)  # noqa: B023 - it is awaited here
        pulling.cancel()
    assert calls == Counter(range(600))
    if count == 1:
        assert list(calls) == sorted(calls)  # one relay keeps the order


@pytest.mark.slow
async def test_a_thousand_requests_in_flight_over_a_restart_of_the_relay(rmb: Relays) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_at(10, relay, session="desk"), twin_at(30, relay)
    calls = counting(bob)
    async with alice, bob:
        await bob.connected()
        asked = asyncio.gather(*(alice.request(30, "echo", number, 60) for number in range(1000)))
        await until(lambda: len(calls) > 100)
        await relay.server.stop()
        await rmb(listen=relay.host)
        assert await asked == list(range(1000))
    assert calls == Counter(range(1000))


async def test_the_other_relay_carries_on_when_one_ends(rmb: Relays) -> None:
    one: RmbRelay = await rmb("one")
    two: RmbRelay = await rmb("two", clock=one.clock)
    alice, bob = twin_at(10, one, two), twin_at(30, one, two)
    calls = counting(bob)
    async with alice, bob:
        await until(lambda: not any(alice.relays.values()) and not any(bob.relays.values()))
        assert await alice.request(30, "echo", 1, 10) == 1
        await one.server.stop()
        await until(lambda: any(alice.relays.values()) and any(bob.relays.values()))
        assert await alice.request(30, "echo", 2, 10) == 2
        assert [state for name, state in alice.relays.items() if name == two.host] == [""]
    assert calls == Counter([1, 2])


async def test_a_request_whose_handler_did_not_end_comes_again(rmb: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "GRACE", 0.01)
    relay: RmbRelay = await rmb()
    alice = twin_at(10, relay)
    began = asyncio.Event()

    async def never(command: str, sender: TwinAddress, payload: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    async with alice:
        first = twin_at(30, relay)
        first.on("echo")(never)
        async with first:
            asked = asyncio.create_task(alice.request(30, "echo", 1, 20))
            await began.wait()
        bob = twin_at(30, relay)
        calls = counting(bob)
        async with bob:
            assert await asked == 1
            assert calls == Counter([1])


async def test_a_handler_that_ends_soon_is_waited_for(rmb: Relays) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_at(10, relay), twin_at(30, relay)
    began, goes_on = asyncio.Event(), asyncio.Event()

    @bob.on("wait")
    async def wait(command: str, sender: TwinAddress, payload: Any) -> str:
        began.set()
        await goes_on.wait()
        return "done"

    async with alice:
        async with bob:
            asked = asyncio.create_task(alice.request(30, "wait", timeout=20))
            await began.wait()
            asyncio.get_running_loop().call_later(0.05, goes_on.set)
        assert await asked == "done"
    with pytest.raises(NotRunning):
        await alice.request(30, "wait")


async def test_who_asks_much_does_not_hold_up_who_asks_little(rmb: Relays) -> None:
    relay: RmbRelay = await rmb()
    alice, carol, bob = twin_at(10, relay), twin_at(40, relay), twin_at(30, relay, at_once=1)
    order: list[int] = []
    goes_on = asyncio.Event()

    @bob.on("job")
    async def job(command: str, sender: TwinAddress, payload: Any) -> None:
        order.append(sender.twin)
        await goes_on.wait()

    async with alice, carol, bob:
        many = [asyncio.create_task(alice.request(30, "job", number, 20)) for number in range(20)]
        await until(lambda: len(bob._serving._waiting) == 19)
        one = asyncio.create_task(carol.request(30, "job", timeout=20))
        await until(lambda: len(bob._serving._waiting) == 20)
        goes_on.set()
        await asyncio.gather(*many, one)
    assert order.index(40) <= 2


async def test_a_twin_says_how_it_is(rmb: Relays) -> None:
    relay: RmbRelay = await rmb()
    bob = twin_at(30, relay)

    async def state() -> str:
        (check,) = await bob.checks()
        assert isinstance(check, Check)
        return f"{check.text}"

    assert await state() == "it does not run"
    async with bob:
        await bob.connected()
        assert await state() == "twin 30 is connected"
        await relay.server.stop()
        await until(lambda: bob.away)
        assert relay.host in await state()


async def test_a_twin_is_a_service_of_a_platform(rmb: Relays, memory_nodes: MemoryNodes) -> None:
    relay: RmbRelay = await rmb()
    bob = twin_at(30, relay)
    calls = counting(bob)
    alice = twin_at(10, relay)
    async with memory_nodes.node(1, services=[bob]) as platform:
        assert platform.service(Twin) is bob
        async with alice:
            assert await alice.request(30, "echo", 1, 10) == 1
    assert calls == Counter([1])
    assert [check.text for check in await bob.checks()] == ["it does not run"]
    with pytest.raises(NotRunning, match="make another one"):
        await bob.__aenter__()


async def test_who_waits_for_an_answer_is_told_that_the_twin_stops(rmb: Relays) -> None:
    relay: RmbRelay = await rmb()
    async with twin_at(10, relay) as alice:
        await alice.connected()
        asked = asyncio.create_task(alice.request(40, "echo", 1, 60))
        await until(lambda: alice._pending)
    with pytest.raises(NotRunning):
        await asked
