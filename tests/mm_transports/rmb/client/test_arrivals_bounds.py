"""What waits for a registry is bounded, and charged for what it takes; what nobody has signed does not wait."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_transports.rmb.client import arrivals
from mm_transports.rmb.client.arrivals import OVERHEAD, UNKNOWN_BYTES, EnvelopeArrivals
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest, RmbResponse
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.registry import Key
from tests.support.rmb_scripted import Known, signed
from tests.support.rmb_values import ENVELOPES
from tests.support.rmb_world import KEYS, NOW
from tests.support.waiting import until

ASKS = RmbRequest("calc.add")


class Slow(Known):
    """A registry that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def find(self, key: Key) -> TwinInfo | None:
        found = await super().find(key)
        await self.answers.wait()
        return found


class Hears:
    """An endpoint that lists what it is told."""

    def __init__(self) -> None:
        self.received_: list[ReceivedEnvelope] = []
        self.refused: list[tuple[str, int]] = []
        self.taken: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.registry = Slow()
        self.arrivals = EnvelopeArrivals(
            TwinAddress(30), self, CachedRegistry(self.registry, lambda: 0.0), PayloadKeys(KEYS[30], bytes), False,
            lambda: NOW,
        )  # fmt: skip

    def hear(self, *envelopes: RmbEnvelope, size: int = 200) -> None:
        for envelope in envelopes:
            place = len(self.taken) + 1
            self.arrivals.heard(envelope, size, lambda place=place: self.taken.append(place))  # type: ignore[misc]

    def received(self, received: ReceivedEnvelope) -> None:
        self.received_.append(received)

    def repeated(self, source: TwinAddress, uid: str) -> None: ...

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        self.refused.append((uid, error.code))

    def work(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine, name=name))


@pytest.fixture
async def hears() -> AsyncIterator[Hears]:
    made = Hears()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_those_of_a_twin_that_is_looked_up_stay_in_order(hears: Hears) -> None:
    hears.hear(*(signed("10", "30", ASKS, str(number)) for number in range(20)))
    assert hears.received_ == []
    hears.registry.answers.set()
    await until(lambda: len(hears.received_) == 20)
    assert [received.uid for received in hears.received_] == [str(number) for number in range(20)]
    assert hears.registry.asked == [10]
    assert hears.taken == []  # they are in the hands of the application
    for received in hears.received_:
        received.taken()
    assert len(hears.taken) == 20


async def test_what_nobody_has_signed_is_not_worth_a_look_up(hears: Hears) -> None:
    unsigned = signed("10", "30", ASKS, "a")
    for signature in (None, b""):
        unsigned.signature = signature
        hears.hear(unsigned)
    assert (hears.arrivals.dropped, len(hears.taken), hears.tasks) == ({"forged": 2}, 2, [])
    assert hears.registry.asked == []


async def test_what_waits_for_a_look_up_is_charged_for_the_memory_that_it_takes(
    hears: Hears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bytes on the wire are a kilobyte here."""
    monkeypatch.setattr(arrivals, "UNKNOWN_BYTES", 100 * OVERHEAD)
    assert UNKNOWN_BYTES // OVERHEAD < 20_000
    stranger = signed("99", "30", RmbResponse(), "", by=20)
    hears.hear(*[stranger] * 200, size=8)
    assert hears.arrivals.dropped == {"unknown": 101}
    hears.registry.answers.set()
    await until(lambda: hears.arrivals.dropped == {"unknown": 200})  # there is no such twin
    hears.hear(*[stranger] * 99, size=8)  # what it was charged is given back
    assert hears.arrivals.dropped["unknown"] <= 299
    await until(lambda: len(hears.taken) == 299)


async def test_of_too_many_twins_the_last_are_dropped(hears: Hears, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "UNKNOWN", 8)
    monkeypatch.setattr(arrivals, "SEEKERS", 2)
    for number in range(100, 112):
        hears.hear(signed(str(number), "30", ASKS, "a", by=20))
    assert (len(hears.tasks), hears.arrivals.dropped) == (2, {"unknown": 4})
    hears.registry.answers.set()
    await until(lambda: hears.arrivals.dropped == {"unknown": 12})
    await until(lambda: all(task.done() for task in hears.tasks))


@settings(max_examples=50, deadline=None)
@given(st.lists(ENVELOPES, max_size=8))
def test_whatever_comes_is_dealt_with_once_and_reaches_nobody_unsigned(came: list[RmbEnvelope]) -> None:
    async def run() -> None:
        hears = Hears()
        hears.registry.answers.set()
        heard = [envelope for envelope in came if envelope.source is not None]
        hears.hear(*heard)
        async with asyncio.timeout(5):
            await asyncio.gather(*hears.tasks)
        assert len(hears.taken) == len(heard)
        assert hears.received_ == []

    asyncio.run(run())
