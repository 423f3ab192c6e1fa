"""The conversation with one neighbour over the platform: what we ask it, and what of ours goes to it."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mm_services.messenger.carrier import Carrier
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.meeting import Offered
from mm_services.messenger.protocol.packets import Meet, Parcel, PushAnswer, Reply, Request, Say
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId
from mmplatform.messaging.upstream import Upstream

PROTOCOL: Final = "carry"  # the name of the protocol between carriers
TOPIC: Final = "messenger"
TIMEOUT: Final = 30.0  # seconds for an answer: the other side may have to write it to its disk first


class PeerLine:
    """The connection to one neighbour (:class:`~mm_services.messenger.protocol.meeting.Line`)."""

    def __init__(self, upstream: Upstream, peer: SignId, now: Callable[[], float], random: Callable[[], float]) -> None:
        self._upstream, self._peer = upstream, peer
        self.now, self.random = now, random
        self._news = asyncio.Event()

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Send requests together; return their replies in order. Raises an MMError when one has none."""
        asked = [
            asyncio.ensure_future(
                self._upstream.ask(self._peer, TOPIC, PROTOCOL, packets.encoded(request), TIMEOUT)
            )
            for request in requests
        ]  # fmt: skip
        try:
            return [packets.reply(data) for data in await asyncio.gather(*asked)]
        finally:
            for each in asked:
                each.cancel()

    async def rest(self, until: float) -> None:
        """Return at ``until``, in Unix seconds, or once :meth:`wake` is called."""
        try:
            async with asyncio.timeout(max(0.0, until - self.now())):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def wake(self) -> None:
        """End a rest."""
        self._news.set()

    @staticmethod
    def salt() -> bytes:
        """Return 16 random bytes."""
        return secrets.token_bytes(16)


class CarrierNeighbour:
    """A carrier that we talk to, and what was done with it (:class:`~mm_services.messenger.protocol.meeting.Stock`).

    Args:
        peer: who it is.
        carrier: what we have.
        troubled: called when it does not answer, or answers nonsense.

    """

    def __init__(self, peer: SignId, carrier: Carrier, troubled: Callable[[SignId, MMError], None]) -> None:
        self.peer, self._carrier, self._troubled = peer, carrier, troubled
        self.since = carrier.now()
        self.sent = self.taken = self.errors = 0
        self.trouble = ""

    @property
    def state(self) -> str:
        """What happens with it now: "talking", "met" for one that began, or why it does not answer."""
        meeting = self._carrier.meetings.get(self.peer)
        if self.trouble:
            return self.trouble
        return "meeting" if meeting is not None and meeting.begins and not meeting.met else "talking"

    def ids(self) -> bytes:
        """Return the ids of all bundles that are known, sorted and joined."""
        return self._carrier.store.ids()

    def introduction(self) -> Meet:
        """Return what we say of ourselves."""
        return self._carrier.introduction()

    def introduced(self, meet: Meet) -> None:
        """Take note of what the neighbour says of itself."""
        self._carrier.introduced(self.peer, meet)

    def chosen(self, ids: Iterable[bytes]) -> list[tuple[bytes, int]]:
        """Return those of ``ids`` that go to the neighbour, the most urgent first, with the bytes of their content."""
        return self._carrier.chosen(self.peer, ids)

    async def parcel(self, bundle: bytes) -> Parcel | None:
        """Return a bundle handed on to the neighbour."""
        return await self._carrier.parcel(self.peer, bundle)

    async def block(self, bundle: bytes, offset: int) -> bytes:
        """Return a block of a content; empty when it is not there any more."""
        return await self._carrier.store.block(bundle, offset)

    def answered(self, bundle: bytes, answer: PushAnswer) -> None:
        """Take note of what became of a bundle at the neighbour."""
        self.sent += answer.say == Say.TAKEN
        self._carrier.answered(self.peer, bundle, answer)

    async def offered(self, parcels: Sequence[Parcel]) -> list[Offered]:
        """Take in what was pulled from the neighbour."""
        taken = await self._carrier.offered(self.peer, parcels)
        self.taken += sum(each.answer.say == Say.TAKEN for each in taken)
        return taken

    async def offered_block(self, bundle: bytes, offset: int, block: bytes) -> PushAnswer:
        """Take in a block that was pulled from the neighbour."""
        answer = await self._carrier.offered_block(self.peer, bundle, offset, block)
        self.taken += answer.say == Say.TAKEN
        return answer

    def failed(self, error: MMError) -> None:
        """Take note that the neighbour does not answer, or answers nonsense."""
        self.errors += 1
        self.trouble = f"{type(error).__name__}: {error}"
        self._troubled(self.peer, error)

    def reached(self) -> None:
        """Take note that the neighbour answers."""
        self.trouble = ""
