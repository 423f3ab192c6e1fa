"""The mailroom: keeps mail for peers that are away, and hands it out when they sign in (docs/protocol/relay.rst).

Deposit -> ``Deposits`` (deposits.py) -> the store -> Stored; ``Pickup`` (pickup.py) -> Mail -> Taken -> the
store ends it -> a note -> Ended to its sender -> Noted. An envelope is in the store, or a note of how it ended is: a
kill at any point repeats a step and loses nothing. Mail for peers of other relays leaves by a federation link; what
other relays bring is checked in from_relays.py.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from mm_relay.mailboxes.deposits import Deposits
from mm_relay.mailboxes.from_relays import FromRelays
from mm_relay.mailboxes.full_boxes import FullMailboxes
from mm_relay.mailboxes.onward import Name, Onward
from mm_relay.mailboxes.pickup import Pickup
from mm_relay.metrics import Metrics
from mm_relay.policy import Policy
from mm_relay.ports import Federation, Post, RelaySession
from mm_relay.stores.contract import MailStore, Note, StoredEnvelope
from mm_transports.relay.protocol.items import (
    RELAY,
    Deposit,
    Forwarded,
    Item,
    Limits,
    MailWaiting,
    Noted,
    Stored,
    Taken,
)  # fmt: skip
from mmplatform.errors import StorageError
from mmplatform.identity.keys import sign_id_of
from mmplatform.logs import short_id

TICK: Final = 1.0  # seconds between two looks at the clock
EXPIRED_AT_ONCE: Final = 32  # envelopes ended in one transaction, and told of in one turn: some milliseconds
EXPIRED_A_TICK: Final = 128  # transactions in one tick
LOST_NUDGES: Final = 32  # readers that look by themselves in a tick, as a nudge between processes may be lost
BORN: Final = 65_536  # envelopes whose delivery is timed

log = logging.getLogger("mm_relay.mailboxes")


class Mailroom:
    """The mailroom; the doors call it with sessions and items, the federation links with the ends of mail.

    ``shared``: the store is that of a cluster; its other processes may store mail for peers signed in here, and end it.
    """

    def __init__(
        self,
        key: bytes,
        store: MailStore,
        post: Post,
        federation: Federation | None,
        limits: Limits,
        now: Callable[[], float],
        metrics: Metrics,
        *,
        policy: Policy | None = None,
        shared: bool = False,
    ) -> None:
        policy = policy or Policy()
        if federation is None:
            policy = policy._replace(relays=frozenset())
        self._key, self._store, self._post, self._federation, self._now = key, store, post, federation, now
        self._metrics, self._shared = metrics, shared
        self._full = FullMailboxes(key, store, limits, policy, post)
        self._deposits = Deposits(
            key, store, limits, policy, now, metrics, self._kept, self._full.crowded, self._gave_way
        )
        self._onward = Onward(post.tell, lambda: asyncio.get_running_loop().time())
        self._pickup = Pickup(store, limits, now, metrics, self._ended)
        self._from_relays = FromRelays(key, store, policy, self._deposits, lambda note: self._spread([note]))
        self._born: dict[tuple[bytes, int], float] = {}
        self._nudged: set[bytes] = set()
        self._timer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to end what expires; the store is open."""
        self._timer = asyncio.get_running_loop().create_task(self._keep_ticking())

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        await self._pickup.close()

    def signed_in(self, session: RelaySession) -> None:
        """Hand a session its notes, then its mail, as its windows allow."""
        self._store.here(session.key, session.place)
        if session.role == RELAY:
            if self._from_relays.signed_in(session) and self._federation is not None:
                self._federation.signed_in(session.address)
        else:
            self._pickup.signed_in(session)

    def signed_out(self, session: RelaySession) -> None:
        """Keep what the session had not taken for the next session of its key."""
        self._from_relays.signed_out(session)
        self._pickup.signed_out(session)

    def receive(self, session: RelaySession, item: Item) -> None:
        """Handle Deposit, Taken and Noted of a peer, and what another relay forwards except live frames."""
        match item:
            case Forwarded():
                self._from_relays.receive(session, item)
            case Deposit() if session.role != RELAY:
                self._deposits.take(session, session.key, item)
            case Taken():
                self._pickup.taken(session, item)
            case Noted():
                self._pickup.noted(session, item)
            case _:
                pass

    def nudged(self, forwarded: Forwarded) -> None:
        """Look into the store, as another process of this relay asks."""
        if not isinstance(forwarded.inner, MailWaiting):
            return
        if forwarded.inner.address and self._federation is not None:
            self._federation.nudged(forwarded.inner.address)
        else:
            self._pickup.wake(forwarded.target)

    def left(self, box: bytes, notes: Sequence[Note]) -> None:
        """Take note that a federation link has ended mail of ``box``, or handed it over (then without notes)."""
        self._full.freed(box, {note.sender for note in notes})
        self._route(notes)

    def passed_on(self, box: bytes, name: Name, expires: int) -> None:
        """Answer the deposit of an envelope that another relay has now."""
        if not self._onward.passed_on(box, name) and self._shared:
            sender, target, mail_id = name  # it was left with another process of this relay, perhaps
            self._post.tell(sender, Stored(target, mail_id, expires))

    def held_up(self, box: bytes, name: Name | None = None) -> None:
        """Answer the deposits of what another relay does not take now, as it is full or cannot be reached."""
        self._onward.held_up(box, name)

    async def tick(self) -> None:
        """End mail that has expired, tell senders of room, and try again what failed; to be called now and then."""
        self._onward.tick()
        expired = await self._expire()
        await self._full.check(all_boxes=self._shared or expired)
        self._pickup.again(LOST_NUDGES if self._shared else 0)
        await self._count()

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            await self.tick()

    async def _expire(self) -> bool:
        ended = 0
        with suppress(StorageError):
            for _ in range(EXPIRED_A_TICK):
                notes = await self._store.expire(int(self._now() * 1000), EXPIRED_AT_ONCE)
                self._route(notes)
                ended += len(notes)
                if len(notes) < EXPIRED_AT_ONCE:
                    break
        return ended > 0

    async def _count(self) -> None:
        with suppress(StorageError):
            usage = await self._store.usage()
            metrics = self._metrics
            metrics.mailbox_count, metrics.mailbox_bytes = usage.envelopes, usage.size
            metrics.mailboxes, metrics.notes = usage.boxes, usage.notes
            self._deposits.counted(usage)
            self._from_relays.counted(usage)

    def _kept(self, box: bytes, mail: StoredEnvelope, via: str) -> None:
        if mail.via:
            if self._federation is not None:
                self._federation.wake(via, mail.place, mail.sender)
            self._onward.kept(box, mail, self._federation is None or self._federation.lost(box))
            return
        self._born[box, mail.number] = self._now()
        if len(self._born) > BORN:
            del self._born[next(iter(self._born))]
        if not self._pickup.wake(box, notes=False, number=mail.number):
            self._nudge(box)

    def _gave_way(self, notes: list[Note]) -> None:
        for note in notes:
            log.debug("mail %s for %s gives way to that of others", short_id(note.id), sign_id_of(note.target))
        self._route(notes)

    def _ended(self, box: bytes, numbers: Sequence[int], notes: list[Note]) -> None:
        for number in numbers:
            born = self._born.pop((box, number), None)
            if born is not None:
                self._metrics.delivered(self._now() - born)
        self.left(box, notes)

    def _route(self, notes: Sequence[Note]) -> None:
        for note in notes:
            self._metrics.ended[note.state] += 1
        self._spread(notes)

    def _spread(self, notes: Iterable[Note]) -> None:
        for note in notes:
            if note.origin:
                if self._federation is not None:
                    self._federation.wake(note.origin)
            elif not self._pickup.wake(note.box, mail=False):
                self._nudge(note.box)

    def _nudge(self, key: bytes) -> None:
        """Ask the process where ``key`` is signed in to look into the store, once a loop turn."""
        if not self._shared:
            return
        if not self._nudged:
            asyncio.get_running_loop().call_soon(self._send_nudges)
        self._nudged.add(key)

    def _send_nudges(self) -> None:
        nudged, self._nudged = self._nudged, set()
        for key in nudged:
            self._post.tell(key, MailWaiting())
