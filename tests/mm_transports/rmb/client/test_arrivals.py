"""What comes is handed over once, in order of each twin, or dropped for a reason; each place is told."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mm_transports.rmb.client.arrivals import EnvelopeArrivals
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbRequest
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from tests.support.rmb_scripted import Known, signed
from tests.support.rmb_world import KEYS, NOW

ASKS = RmbRequest("calc.add")
SHAPES = {
    "good": {}, "forged": {"by": 40}, "misdirected": {"destination": TwinAddress(31)}, "expired": {"expiration": 0},
    "unreadable": {"plain": b"1"},
}  # fmt: skip


class Hears:
    """An endpoint that keeps what it was handed."""

    def __init__(self) -> None:
        self.received_all: list[ReceivedEnvelope] = []
        self.refused: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    def received(self, received: ReceivedEnvelope) -> None:
        self.received_all.append(received)

    def repeated(self, source: TwinAddress, uid: str) -> None: ...

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        self.refused.append(error.code)

    def work(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([10, 20, 99]), st.sampled_from(sorted(SHAPES)), st.integers(0, 5)), max_size=20)
)
def test_each_envelope_is_dealt_with_once(came: list[tuple[int, str, int]]) -> None:
    asyncio.run(_each(came))


async def _each(came: list[tuple[int, str, int]]) -> None:
    hears, told = Hears(), Counter[int]()
    registry = CachedRegistry(Known(), lambda: 0.0)
    arrivals = EnvelopeArrivals(
        TwinAddress(30), hears, registry, PayloadKeys(KEYS[30], lambda size: bytes(size)), False, lambda: NOW
    )
    for place, (twin, shape, number) in enumerate(came):
        fields: dict[str, Any] = {"by": min(twin, 40), **SHAPES[shape]}
        envelope = signed(str(twin), "30", ASKS, f"{shape}{number}", **fields)
        arrivals.heard(envelope, 100, lambda place=place: told.update([place]))  # type: ignore[misc]
        await asyncio.sleep(0)
    await asyncio.gather(*hears.tasks)
    for received in hears.received_all:
        received.taken()
    good = list(dict.fromkeys((twin, f"{shape}{n}") for twin, shape, n in came if shape == "good" and twin != 99))
    for twin in (10, 20):  # in order, and once
        handed = [received.uid for received in hears.received_all if received.source.twin == twin]
        assert handed == [uid for source, uid in good if source == twin]
    assert told == Counter(range(len(came)))
    expected = Counter("unknown" if twin == 99 else shape for twin, shape, _ in came)
    repeats = expected.pop("good", 0) - len(good)
    assert (arrivals.dropped, arrivals.repeats) == (expected, repeats)
