"""What other carriers ask of us, by the protocol of the messenger (``protocol/packets.py``).

Who may ask is said by the rights, before anything is decoded. What one peer asks is done in the order in which it asks,
so many requests at a time, and the next ones are refused.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from mm_services.messenger.carrier import Carrier, refused
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.meeting import FULL
from mm_services.messenger.protocol.packets import (
    Diff,
    Differs,
    Meet,
    PullBlock,
    PullBundles,
    Pulled,
    PulledBlock,
    PushAnswers,
    PushBlock,
    PushBundles,
    Reply,
    Request,
    Say,
)
from mm_services.messenger.protocol.reconcile import answer as compared
from mmplatform.errors import MMError, ProtocolError, QueueFull, Refused
from mmplatform.identity.keys import SignId
from mmplatform.message import Scope
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.results import NOBODY, Finished, HoldCount, Result

AT_ONCE: Final = 32  # requests of one peer that are at work
OFFERED: Final = 0.1  # seconds from a bundle of ours that is asked for until it is offered
MEASURE: Final = 1_000_000  # bytes of ids gone through that count as one bundle


class Answering:
    """The handler of the protocol (:class:`~mmplatform.messaging.dispatch.ProtocolHandler`).

    Args:
        carrier: does what is asked.
        met: called when a peer begins a meeting.
        counted: called with how many bundles were taken of a peer, and given to it.

    """

    def __init__(
        self, carrier: Carrier, met: Callable[[SignId], None], counted: Callable[[SignId, int, int], None]
    ) -> None:
        self._carrier, self._met, self._counted = carrier, met, counted
        self._busy: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True

    def on_request(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Do what a carrier asks; the reply comes later."""
        peer = SignId(sender)
        if not self._open:
            return NOBODY
        if self._carrier.rights.incoming(peer, self._carrier.now(), cost=0).denied:
            return Result(None, Refused("denied"))
        if self._busy[sender] >= AT_ONCE:
            return Result(None, QueueFull("too many requests at once"))
        try:
            request = packets.request(payload)
        except ProtocolError as error:
            return Result(None, Refused(error.reason))
        self._busy[sender] += 1
        task = asyncio.get_running_loop().create_task(self._answer(peer, request, finished), name="mm messenger")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Do nothing: carriers ask, and are answered."""

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Refuse: carriers ask, and are answered."""
        return Result(None, Refused("not-asked"))

    def listens(self, scope: Scope, topic: str) -> bool:
        """Whether a durable message is taken: none is."""
        return False

    def largest(self) -> int:
        """Return the bytes that a stranger's payload may have."""
        return packets.MAX_PACKET

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """Do nothing: what is at work for a peer ends soon."""

    async def end(self, grace: float) -> list[str]:
        """Take nothing new in; end what is at work."""
        self._open = False
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        return []

    async def _answer(self, peer: SignId, request: Request, finished: OnReply) -> None:
        try:
            reply = await self._reply(peer, request)
            finished(packets.encoded(reply))
        except MMError as error:
            finished(Result(None, Refused(error.reason if isinstance(error, ProtocolError) else "failed")))
        finally:
            self._busy[peer] -= 1
            if not self._busy[peer]:
                del self._busy[peer]

    async def _reply(self, peer: SignId, request: Request) -> Reply:
        carrier = self._carrier
        match request:
            case Meet():
                carrier.introduced(peer, request)
                self._met(peer)
                return carrier.introduction()
            case Diff():
                answered = compared(carrier.store.ids(), request.data)
                carrier.rights.incoming(peer, carrier.now(), cost=answered.cost // MEASURE)
                return Differs(answered.data)
            case PushBundles():
                return await self._pushed(peer, request)
            case PushBlock():
                answer = await carrier.offered_block(peer, request.id, request.offset, request.block)
                self._counted(peer, answer.say == Say.TAKEN, 0)
                return PushAnswers([answer])
            case PullBundles():
                return await self._pulled(peer, request)
            case PullBlock():
                return PulledBlock(await self._pulled_block(peer, request))

    async def _pushed(self, peer: SignId, request: PushBundles) -> PushAnswers:
        carrier, count = self._carrier, len(request.parcels)
        permission = carrier.rights.incoming(peer, carrier.now(), cost=count)
        if not permission.allowed:
            return PushAnswers([refused(permission)] * count)
        taken = await carrier.offered(peer, request.parcels)
        self._counted(peer, sum(each.answer.say == Say.TAKEN for each in taken), 0)
        return PushAnswers([each.answer for each in taken])

    async def _pulled(self, peer: SignId, request: PullBundles) -> Pulled:
        parcels, size, looked = [], 0, 0
        self._asked(peer, request.ids)
        for bundle in request.ids:
            if size >= FULL:
                break
            looked += 1
            parcel = await self._carrier.parcel(peer, bundle) if self._carrier.chosen(peer, [bundle]) else None
            if parcel is not None:
                parcels.append(parcel)
                size += len(packets.encoded(parcel))
                if parcel.content:
                    self._gave(peer, bundle)
        self._counted(peer, 0, len(parcels))
        return Pulled(parcels, len(request.ids) - looked)

    async def _pulled_block(self, peer: SignId, request: PullBlock) -> bytes:
        """Return a block; with its last one a large bundle is given, not before: else too few copies were left for the
        others."""
        self._asked(peer, [request.id])
        chosen = self._carrier.chosen(peer, [request.id])
        if not chosen:
            return b""
        block = await self._carrier.store.block(request.id, request.offset)
        if block and request.offset + len(block) == chosen[0][1]:
            self._gave(peer, request.id)
        return block

    def _gave(self, peer: SignId, bundle: bytes) -> None:
        """Take note that all of a bundle is on its way to who asked for it. One of ours is offered as well in a moment:
        the answer tells whether it is on the disk there."""
        self._carrier.gave_pulled(peer, bundle)
        entry, meeting = self._carrier.store.find(bundle), self._carrier.meetings.get(peer)
        if entry is not None and entry.own and meeting is not None:
            asyncio.get_running_loop().call_later(OFFERED, meeting.add, [bundle])

    def _asked(self, peer: SignId, ids: Sequence[bytes]) -> None:
        """Have what a peer asks for not pushed to it as well."""
        if (meeting := self._carrier.meetings.get(peer)) is not None:
            meeting.asked(ids)
