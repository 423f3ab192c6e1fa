"""Mail of days: messages that travel in one envelope, and relays that say how many they have taken."""

import asyncio
from collections.abc import Iterable

from benchmarks.relay_process import RelayProcess
from mmplatform import Delivery, Platform


async def at_once(sender: Platform, to: str, numbers: Iterable[int]) -> list[Delivery]:
    """Send numbers in one turn of the loop, so that they share an envelope: a relay that keeps it keeps all of them."""
    return await asyncio.gather(*(sender.messaging.send("chat", to, number) for number in numbers))


async def kept_by(relay: RelayProcess, count: float) -> bool:
    """Whether a relay has taken so many envelopes."""
    return await relay.metric("mm_relay_stored_total") >= count
