"""What a twin sends, over links that are lost at any moment: each ends once, in order, and little waits."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_transports.rmb.client import departures
from mm_transports.rmb.client.departures import Departures
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.unconfirmed import Sent
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbMessage, RmbRequest, RmbResponse
from mmplatform.errors import Expired, NotRunning

NOW = 1000


class Link:
    """A link that keeps what it is given, in order, until it is confirmed or lost."""

    def __init__(self, name: str) -> None:
        self.name, self.connected = name, False
        self.given: list[str] = []
        self.looks = 0
        self._under_way: list[Sent] = []

    def send(self, sent: Sent, raw: bytes) -> None:
        assert self.connected
        self.given.append(sent.envelope.uid)
        self._under_way.append(sent)

    def unconfirmed(self, uid: str) -> Sent | None:
        return next((sent for sent in self._under_way if sent.envelope.uid == uid), None)

    def look(self) -> None:
        self.looks += 1

    def confirm(self) -> None:
        safe, self._under_way = self._under_way, []
        for sent in safe:
            sent.done(None)

    def lost(self) -> list[Sent]:
        again, self._under_way = self._under_way, []
        return again


class World:
    """Departures over the links ``a`` and ``b``."""

    def __init__(self) -> None:
        self.links = {name: Link(name) for name in "ab"}
        self.told: list[tuple[str, int]] = []
        self.now = float(NOW)
        self.ticks = 0.0
        self.departures = Departures(
            self.links, lambda envelope: bytes(100),  # type: ignore[arg-type]
            lambda uid, error: self.told.append((uid, error.code)), lambda: self.now, lambda: self.ticks,
        )  # fmt: skip

    def up(self, name: str) -> None:
        self.links[name].connected = True
        self.departures.up()

    def down(self, name: str) -> None:
        self.links[name].connected = False
        self.departures.down(self.links[name], self.links[name].lost())  # type: ignore[arg-type]

    async def put(self, uid: str, message: RmbMessage | None = None, ttl: int = 300) -> "asyncio.Future[None]":
        envelope = RmbEnvelope(uid=uid, message=message or RmbResponse(), timestamp=int(self.now), expiration=ttl)
        return await self.departures.put(envelope)

    def says(self, name: str, uid: str) -> None:
        self.departures.told(self.links[name], uid, RmbError(0, "no"))  # type: ignore[arg-type]


async def test_what_waits_for_a_link_leaves_in_order_and_over_the_next_one_when_it_is_lost() -> None:
    world = World()
    futures = [await world.put(str(number)) for number in range(3)]
    world.up("a")
    world.up("b")
    futures.append(await world.put("3"))
    assert world.links["a"].given == ["0", "1", "2", "3"]
    world.down("a")
    assert world.links["b"].given == ["0", "1", "2", "3"]
    world.links["b"].confirm()
    assert all(future.done() and future.exception() is None for future in futures)


async def test_a_link_that_failed_heals_with_time() -> None:
    world = World()
    world.up("a")
    world.up("b")
    world.down("a")
    world.up("a")
    await world.put("0")
    world.ticks += 3601
    world.departures.up()
    await world.put("1")
    assert (world.links["b"].given, world.links["a"].given) == (["0"], ["1"])
    world.departures.close()


async def test_who_sends_waits_above_the_window_and_gives_its_turn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "WINDOW_BYTES", 250)
    world = World()
    world.up("a")
    await world.put("0")
    await world.put("1")
    waits = [asyncio.create_task(world.put(str(number))) for number in (2, 3, 4)]
    late = asyncio.create_task(world.put("late", ttl=10))
    await asyncio.sleep(0)
    assert world.links["a"].given == ["0", "1"]
    waits[0].cancel()
    await asyncio.wait([waits[0]])
    world.now += 11
    for _ in range(3):
        world.links["a"].confirm()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*waits[1:])
    with pytest.raises(Expired):
        await late
    assert world.links["a"].given == ["0", "1", "3", "4"]
    world.departures.close()


async def test_closed_ends_what_waits_and_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "WINDOW", 1)
    world = World()
    first = await world.put("0")
    second = asyncio.create_task(world.put("1"))
    drained = asyncio.create_task(world.departures.drained())
    await asyncio.sleep(0)
    world.departures.close()
    for ends in (first, second):
        with pytest.raises(NotRunning):
            await ends
    await drained
    with pytest.raises(NotRunning):
        await world.put("2")


async def test_a_relay_is_believed_only_of_what_it_has() -> None:
    world = World()
    world.up("a")
    refused, asked = await world.put("refused"), await world.put("asked", RmbRequest("x"))
    world.up("b")
    for uid in ("refused", "asked", "never"):
        world.says("b", uid)
    assert (refused.done(), asked.done(), world.told) == (False, False, [])
    world.says("a", "refused")
    with pytest.raises(TwinError):
        await refused
    world.links["a"].confirm()
    world.says("b", "asked")
    world.says("a", "asked")
    world.says("a", "asked")
    assert world.told == [("asked", 0)]


async def test_the_look_ends_what_has_expired_and_stops_when_nothing_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(departures, "LOOK", 0.0)
    world = World()
    late, safe = await world.put("late", ttl=10), await world.put("safe")
    world.now += 11
    with pytest.raises(Expired):
        await late
    world.up("a")
    world.links["a"].confirm()
    await safe
    for _ in range(3):
        await asyncio.sleep(0)
    looks = world.links["a"].looks
    for _ in range(5):
        await asyncio.sleep(0)
    assert (world.links["a"].looks, world.departures._timer) == (looks, None)


STEPS = st.lists(
    st.sampled_from(["put", "put", "up a", "up b", "down a", "down b", "ok a", "ok b", "refuse", "cancel", "time"]),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_whatever_happens_each_ends_once_and_nothing_is_held(steps: list[str]) -> None:
    asyncio.run(_run(steps))


async def _run(steps: list[str]) -> None:
    world, futures = World(), list[Any]()
    for step in steps:
        what, _, name = step.partition(" ")
        if what == "put":
            futures.append(await world.put(str(len(futures)), RmbRequest("x") if len(futures) % 2 else None, 20))
        else:
            _happens(world, futures, what, name)
    world.up("a")
    for link in world.links.values():
        link.confirm()
    world.now += 300
    world.departures._look()
    await asyncio.wait_for(world.departures.drained(), 5)
    assert all(future.done() for future in futures)
    assert (world.departures._count, world.departures._size) == (0, 0)
    world.departures.close()


def _happens(world: World, futures: list[Any], what: str, name: str) -> None:
    match what:
        case "up":
            world.up(name)
        case "down" if world.links[name].connected:
            world.down(name)
        case "ok":
            world.links[name].confirm()
        case "refuse":
            for link in world.links:
                world.says(link, str(len(futures) - 1))
        case "cancel" if futures:
            futures[len(futures) // 2].cancel()
        case "time":
            world.now += 7
            world.ticks += 7
            world.departures._look()
