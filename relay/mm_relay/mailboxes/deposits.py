"""Keeps or declines deposits (docs/protocol/relay.rst, "Mail").

Each envelope costs one future of the store and no task; the deposits of one loop turn share one commit.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.policy import Policy
from mm_relay.ports import INNER, InnerDeposit, RelaySession
from mm_relay.stores.contract import Caps, MailStore, Note, OverQuota, StoredEnvelope, Usage
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import MAX_MAIL, RELAY, Declined, Deposit, Forwarded, Limits, Stored
from mmplatform.errors import StorageError
from mmplatform.identity.keys import sign_id_of
from mmplatform.logs import short_id
from mmplatform.text import escaped

RETRY: Final = {"overflow": 60_000, "quota": 60_000, "storage": 5_000}
"""Milliseconds after which another try is worth it; RoomAgain comes earlier."""
PENDING_PER_KEY: Final = 4 * 1024 * 1024  # bytes of deposits of one key that wait for the disk
PENDING_PER_PLACE: Final = 6 * 1024 * 1024  # of all keys at one network address: the disk's thread has as much again
OVERHEAD: Final = 512  # bytes of memory that an envelope takes beside its content
SHARE: Final = 8  # a sender has at most this part of a box, an eighth
ONE_RELAY: Final = 3  # a sender has at most a third of its room for mail that waits for one other relay
ADDRESS_SHARE: Final = 4  # all senders at one address have at most a quarter of a box
LATELY: Final = 30 * 24 * 3600 * 1000  # milliseconds for which somebody who was here counts as known
PENDING: Final = 256 * 1024 * 1024  # bytes of all deposits that wait for the disk

log = logging.getLogger("mm_relay.mailboxes")


class Deposits:
    """Takes deposits.

    ``kept(box, mail, via)`` is called for each that is stored, and answers those that go on to another relay, ``via``;
    ``crowded(box, sender, target, session)`` for each that found no room, ``gave_way(notes)`` with what had to make
    room for others.
    """

    def __init__(
        self,
        key: bytes,
        store: MailStore,
        limits: Limits,
        policy: Policy,
        now: Callable[[], float],
        metrics: Metrics,
        kept: Callable[[bytes, StoredEnvelope, str], None],
        crowded: Callable[[bytes, bytes, bytes, RelaySession], None],
        gave_way: Callable[[list[Note]], None],
    ) -> None:
        self._key, self._store, self._limits, self._policy, self._now = key, store, limits, policy, now
        self._metrics, self._on_kept, self._on_crowded, self._on_gave_way = metrics, kept, crowded, gave_way
        own = caps_of(limits, policy, limits.recipient_bytes, limits.recipient_count)
        self._own_caps = own
        self._federation_caps = _of_one_relay(caps_of(limits, policy, policy.relay_bytes, policy.relay_count), limits)
        self._relay_caps = own._replace(origin_bytes=policy.relay_bytes, origin_count=policy.relay_count)
        self._pending: Counter[bytes] = Counter()  # by the key and by the place of a session; their lengths differ
        self._all_pending = 0
        self._total = 0

    def take(self, session: RelaySession, sender: bytes, deposit: Deposit, origin: str = "") -> None:
        """Keep a deposit, or answer why not; ``origin`` is the address of the relay that brings it for ``sender``."""
        now = int(self._now() * 1000)
        longest = self._limits.mail_ttl
        expires = min(deposit.expires, now + longest) if longest else deposit.expires
        relay = relay_key(deposit.via) if deposit.via else self._key
        reason = self._objection(session, sender, deposit, relay, origin) if expires > now else "expired"
        if reason:
            self._decline(session, sender, deposit, reason)
            return
        away = relay != self._key
        via = deposit.via if away else ""
        mail = StoredEnvelope(
            0, sender, deposit.peer, deposit.id, expires, deposit.envelope, origin, via, session.place
        )
        self._put(session, relay if away else deposit.peer, mail, deposit)

    def counted(self, usage: Usage) -> None:
        """Take note of what the store holds now."""
        self._total = usage.size

    def _put(self, session: RelaySession, box: bytes, mail: StoredEnvelope, deposit: Deposit) -> None:
        size = len(mail.envelope) + OVERHEAD
        caps = self._relay_caps if mail.origin else self._federation_caps if mail.via else self._own_caps
        if self._policy.total_bytes and self._total * 2 > self._policy.total_bytes:
            caps = caps._replace(here_since=int(self._now() * 1000) - LATELY)
        self._pending[session.key] += size
        self._pending[session.place] += size
        self._all_pending += size
        done = partial(self._done, session, box, mail.sender, deposit)
        self._store.put(box, mail, caps, self._on_gave_way).add_done_callback(done)

    def _done(
        self, session: RelaySession, box: bytes, sender: bytes, deposit: Deposit, future: asyncio.Future[StoredEnvelope]
    ) -> None:
        self._release(session, len(deposit.envelope) + OVERHEAD)
        error = StorageError("the store is closing") if future.cancelled() else future.exception()
        if isinstance(error, OverQuota):
            if error.reason != "storage":
                self._on_crowded(box, sender, deposit.peer, session)
            self._decline(session, sender, deposit, error.reason)
        elif error is not None:
            self._metrics.store_errors += 1
            self._decline(session, sender, deposit, "storage")
        else:
            mail = future.result()
            self._metrics.stored += 1
            self._metrics.stored_bytes += len(mail.envelope)
            self._total += len(mail.envelope)
            self._log(sender, deposit, "is kept")
            if not mail.via:
                self._answer(session, sender, Stored(deposit.peer, deposit.id, mail.expires))
            self._on_kept(box, mail, deposit.via)

    def _objection(self, session: RelaySession, sender: bytes, deposit: Deposit, relay: bytes, origin: str) -> str:
        if self._limits.mail and len(deposit.envelope) > self._limits.mail:
            return "too-large"
        if not relay:
            return "unreachable"
        if deposit.peer.startswith(INNER) and not isinstance(deposit, InnerDeposit):
            return "denied"
        if not (self._policy.serves(sender) and self._policy.serves(deposit.peer)):
            return "denied"
        if relay != self._key and (origin or not self._policy.reaches(deposit.via)):  # and no third relay
            return "denied"
        return "" if self._has_room(session, len(deposit.envelope)) else "storage"

    def _has_room(self, session: RelaySession, size: int) -> bool:
        pending, total = self._pending[session.key], self._policy.total_bytes
        if pending and pending + size > PENDING_PER_KEY:
            return False
        there = self._pending[session.place] if session.place else 0
        if there and there + size > PENDING_PER_PLACE:
            return False
        return self._all_pending + size <= PENDING and not (total and self._total + size > total)

    def _release(self, session: RelaySession, size: int) -> None:
        self._all_pending -= size
        for each in (session.key, session.place):
            self._pending[each] -= size
            if not self._pending[each]:
                del self._pending[each]

    def _decline(self, session: RelaySession, sender: bytes, deposit: Deposit, reason: str) -> None:
        self._metrics.declined[reason] += 1
        self._log(sender, deposit, f"is declined: {reason}")
        self._answer(session, sender, Declined(deposit.peer, deposit.id, reason, RETRY.get(reason, 0)))

    @staticmethod
    def _log(sender: bytes, deposit: Deposit, what: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            name, size, key = short_id(deposit.id), len(deposit.envelope), sign_id_of(deposit.peer)
            text = "mail %s of %s for %s, %d bytes, %s"
            log.debug(text, name, sign_id_of(sender), key, size, escaped(what), extra={"peer": key})

    def _answer(self, session: RelaySession, sender: bytes, said: Stored | Declined) -> None:
        session.tell(Forwarded(self._key, sender, said) if session.role == RELAY else said)


def _of_one_relay(caps: Caps, limits: Limits) -> Caps:
    """Return ``caps`` of the box of another relay, which may be dead: what a sender leaves for it takes a part of the
    room that the sender has for everybody."""
    size, count = caps.sender_bytes, caps.sender_count
    if size:
        size = max(size // ONE_RELAY, limits.mail or MAX_MAIL)
        caps = caps._replace(share_bytes=min(caps.share_bytes or size, size))
    if count:
        count = max(count // ONE_RELAY, 1)
        caps = caps._replace(share_count=min(caps.share_count or count, count))
    return caps


def caps_of(limits: Limits, policy: Policy, box_bytes: int, box_count: int) -> Caps:
    """Return what may wait in a box of this size, and what of that one sender and one address may leave there.

    A share has room for at least one envelope, or a small box would take none of those that the relay allows.
    """

    def part(whole: int, parts: int, least: int) -> int:
        return max(whole // parts, least) if whole else 0

    longest = limits.mail or MAX_MAIL
    return Caps(
        box_bytes, box_count, limits.sender_bytes, limits.sender_count,
        share_bytes=part(box_bytes, SHARE, longest), share_count=part(box_count, SHARE, 1),
        place_bytes=policy.address_bytes, place_count=policy.address_count,
        place_share_bytes=part(box_bytes, ADDRESS_SHARE, longest), place_share_count=part(box_count, ADDRESS_SHARE, 1),
        gives_way=True,
    )  # fmt: skip
