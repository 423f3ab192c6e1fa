"""A carrier: takes bundles in, keeps them, and hands them on (docs/protocol/messenger.rst, "What a carrier takes").

In: what a neighbour offers passes the rights of the neighbour, of the sender and of the recipients, the clock and the
room, and the proofs last, as they cost most; it counts once it is on disk. Out: the policy chooses what goes to a
neighbour.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from mm_services.messenger.protocol import blocks, content, hops, receipts
from mm_services.messenger.protocol.header import Header, Kind, expiry
from mm_services.messenger.protocol.limits import BLOCK, MAX_CONTENT, VERSION
from mm_services.messenger.protocol.meeting import Meeting, Offered
from mm_services.messenger.protocol.packets import Meet, Parcel, PushAnswer, Say
from mm_services.messenger.protocol.rights import Permission, Rights
from mm_services.messenger.protocol.routing import Routed, RoutingPolicy
from mm_services.messenger.store.entry import BundleEntry, Head
from mm_services.messenger.store.partials import UnderWayElsewhere
from mm_services.messenger.store.quotas import NoRoom
from mm_services.messenger.store.store import BundleStore
from mmplatform.errors import MMError, ProtocolError, StorageError
from mmplatform.identity.keys import Identity, SignId, raw_key, sign_id_of

LONGEST: Final = 30 * 24 * 3600.0  # seconds that a bundle of others is kept at most
MOST_UNDER_WAY: Final = 1024  # large bundles of which it is remembered how many copies we may hand on
MOST_MEETS: Final = 256  # carriers of which it is remembered what they say of themselves
NO_ROOM_PAUSE: Final = 60_000  # milliseconds until what there was no room for may be offered again
BUSY_PAUSE: Final = 2_000  # milliseconds until what another neighbour is about to give us may be
FAULT_PAUSE: Final = 30_000  # milliseconds until what could not be written may be
FUTURE_PAUSE: Final = 3_600_000

_ANSWERS: Final = {
    "too-many-hops": PushAnswer(Say.TOO_MANY_HOPS), "too-big": PushAnswer(Say.TOO_BIG),
    "expired": PushAnswer(Say.EXPIRED), "future": PushAnswer(Say.FUTURE, FUTURE_PAUSE),
}  # fmt: skip


class Watcher(Protocol):
    """Is told what happens to bundles."""

    def came(self, entry: BundleEntry) -> None:
        """Take note of a bundle that is on our disk, and new."""

    def took(self, bundle: bytes, peer: SignId) -> None:
        """Take note that ``peer`` has a bundle of ours on its disk."""

    def received(self, bundle: bytes, peer: SignId, state: int) -> None:
        """Take note of what a recipient says of a bundle that we wrote."""


class Refusal(Exception):
    """What is answered to who offers a bundle that is not taken."""

    def __init__(self, answer: PushAnswer) -> None:
        super().__init__(Say(answer.say).name)
        self.answer = answer


class _Judged(NamedTuple):
    """A bundle that is offered: its header where that can be read, until when it is kept, and what is answered when it
    is not taken."""

    parcel: Parcel
    header: Header | None
    until: float
    answer: PushAnswer | None


class Carrier:
    """The bundles of one node, and whom they go to.

    Args:
        identity: our keys.
        store: where bundles are kept.
        rights: who may give us what, and whom we give anything.
        policy: whom a bundle goes to.
        watcher: is told what came and what went.
        now: gives the Unix time in seconds.
        keeps: whether bundles for others are kept.
        largest: bytes of a content that is taken.

    """

    def __init__(
        self,
        identity: Identity,
        store: BundleStore,
        rights: Rights,
        policy: RoutingPolicy,
        watcher: Watcher,
        now: Callable[[], float],
        keeps: bool = True,
        largest: int = MAX_CONTENT,
    ) -> None:
        self.identity, self.store, self.rights, self.policy = identity, store, rights, policy
        self._watcher, self.now, self.keeps, self.largest = watcher, now, keeps, largest
        self.own = identity.sign_id
        self.meetings: dict[SignId, Meeting] = {}
        self._taking: set[bytes] = set()  # bundles that are on their way to the disk
        self._copies: dict[bytes, int] = {}  # told with large bundles that are under way
        self.meets: dict[SignId, Meet] = {}  # what neighbours say of themselves

    # Our own bundles.

    async def post(self, header: Header, data: bytes) -> BundleEntry:
        """Keep a bundle of ours, and hand it on; returns once it is on disk. Raises StorageError, or NoRoom."""
        head = Head(header.encode(), [], blocks.hashes_of(data))
        entry = await self.store.add(
            header, head, data, giver=self.own, expires=header.created / 1e6 + header.lifespan,
            for_us=self.own in header.recipients, own=True,
        )  # fmt: skip
        if self.policy.copies:
            self.store.set_copies(entry.id, self.policy.copies)
        self.offer(entry)
        return entry

    def offer(self, entry: BundleEntry) -> None:
        """Have a bundle that is new pushed to the neighbours that it goes to."""
        for meeting in self.meetings.values():
            meeting.add([entry.id])

    # Neighbours.

    def introduction(self) -> Meet:
        """Return what we say of ourselves."""
        table = [(raw_key(peer), likely) for peer, likely in self.policy.table(self.now()).items()]
        return Meet(VERSION, self.keeps, self.largest, True, table)

    def introduced(self, peer: SignId, meet: Meet) -> None:
        """Take note of what a neighbour says of itself."""
        self.policy.told(peer, {sign_id_of(key): likely for key, likely in meet.table}, self.now())
        self.meets[peer] = meet
        if len(self.meets) > MOST_MEETS:
            del self.meets[next(iter(self.meets))]

    def left(self, peer: SignId) -> None:
        """Forget a neighbour that is none any more."""
        self.meetings.pop(peer, None)
        self.meets.pop(peer, None)

    # What neighbours offer.

    async def offered(self, peer: SignId, parcels: Sequence[Parcel]) -> list[Offered]:
        """Take in bundles of ``peer``; return what has become of each once it is on disk."""
        judged = []
        for parcel in parcels:
            judged.append(self._judged(peer, parcel))
            await asyncio.sleep(0)  # the proofs of all together, a signature for each hop, can take half a second
        return list(await asyncio.gather(*(self._kept(peer, each) for each in judged)))

    async def offered_block(self, peer: SignId, bundle: bytes, offset: int, block: bytes) -> PushAnswer:
        """Take in a block of a bundle of ``peer`` that GO_ON was answered for."""
        try:
            done = await self.store.append(bundle, peer, offset, block)
        except (MMError, UnderWayElsewhere) as error:
            return _answer_to(error)
        if isinstance(done, int):
            return PushAnswer(Say.GO_ON, done)
        if copies := self._copies.pop(bundle, 0):
            self.store.set_copies(bundle, copies)
        await self._came(done)
        return PushAnswer(Say.TAKEN)

    def _judged(self, peer: SignId, parcel: Parcel) -> "_Judged":
        """Return whether a bundle is taken, or what is answered in its place."""
        header = None
        try:
            header = Header.unproven(parcel.header)
            return _Judged(parcel, header, self._check(peer, header, parcel), None)
        except Refusal as refusal:
            return _Judged(parcel, header, 0.0, refusal.answer)
        except MMError as error:
            return _Judged(parcel, header, 0.0, _answer_to(error))

    def _check(self, peer: SignId, header: Header, parcel: Parcel) -> float:
        """Return until when a bundle is kept. Raises Refusal, NoRoom or ProtocolError for one that is not taken; what
        costs least is looked at first."""
        now = self.now()
        if self.store.knows(header.id) or self._has_arrived(header):
            raise Refusal(PushAnswer(Say.HAVE_IT))
        if header.id in self._taking:
            raise Refusal(PushAnswer(Say.BUSY, BUSY_PAUSE))
        for_us = self._is_for_us(header)
        if header.length > self.largest or not (for_us or self.keeps):
            raise Refusal(PushAnswer(Say.TOO_BIG if header.length > self.largest else Say.DENIED))
        self._charge(header, for_us, now, cost=0)
        until = expiry(header, parcel.age / 1000, now)
        self.store.room(header, peer, own=False)
        blocks.check_hashes(header, parcel.hashes)
        if header.length <= BLOCK:
            blocks.check_block(header, parcel.hashes, 0, parcel.content)
        header.prove()
        hops.check(header, parcel.hops, peer, self.own)
        self._charge(header, for_us, now, cost=1)  # now that it is the word of its sender
        return until if for_us else min(until, now + LONGEST)

    async def _kept(self, peer: SignId, judged: "_Judged") -> Offered:
        """Keep a bundle that is taken; return what has become of it once it is on disk."""
        header, answer = judged.header, judged.answer
        if header is None or answer is not None:
            return Offered(header.id if header else b"", header.length if header else 0, answer or PushAnswer(Say.BAD))
        if header.id in self._taking:  # pushed by one while it is pulled from another: it comes once
            return Offered(header.id, header.length, PushAnswer(Say.BUSY, BUSY_PAUSE))
        self._taking.add(header.id)
        try:
            return Offered(header.id, header.length, await self._keep(peer, header, judged.parcel, judged.until))
        except (MMError, UnderWayElsewhere) as error:
            return Offered(header.id, header.length, _answer_to(error))
        finally:
            self._taking.discard(header.id)

    async def _keep(self, peer: SignId, header: Header, parcel: Parcel, until: float) -> PushAnswer:
        if self.store.knows(header.id):  # since it was judged
            return PushAnswer(Say.HAVE_IT)
        head, for_us = Head(parcel.header, parcel.hops, parcel.hashes), self._is_for_us(header)
        if header.length > BLOCK:
            offset = await self.store.begin(header, head, giver=peer, expires=until, for_us=for_us)
            self._remember_copies(header.id, parcel.copies)
            return PushAnswer(Say.GO_ON, offset)
        entry = await self.store.add(
            header, head, parcel.content, giver=peer, expires=until, for_us=for_us, own=False
        )  # fmt: skip
        if parcel.copies:
            self.store.set_copies(entry.id, parcel.copies)
        await self._came(entry)
        return PushAnswer(Say.TAKEN)

    def _remember_copies(self, bundle: bytes, copies: int) -> None:
        """Keep how many copies of a large bundle we may hand on until it is here."""
        self._copies.pop(bundle, None)
        if copies:
            self._copies[bundle] = copies
            if len(self._copies) > MOST_UNDER_WAY:
                del self._copies[next(iter(self._copies))]

    def _is_for_us(self, header: Header) -> bool:
        return self.own in header.recipients or not header.recipients

    def _charge(self, header: Header, for_us: bool, now: float, cost: int) -> None:
        """Raise a Refusal for a sender of whom, or a recipient for whom, we take nothing, or nothing now; with a
        ``cost`` of 0 it counts for nobody."""
        if header.sender == self.own:
            return
        permission = self.rights.sender(header.sender, now, cost)
        if permission.allowed and not for_us:
            permission = self.rights.recipients(header.recipients, now, cost)
        if not permission.allowed:
            raise Refusal(refused(permission))

    def _has_arrived(self, header: Header) -> bool:
        """Whether all recipients say that they have it."""
        if not header.recipients:
            return False
        received = self.store.receipts(header.id)
        return all(peer in received for peer in header.recipients)

    async def _came(self, entry: BundleEntry) -> None:
        """Hand on what is new, and read it if it is a receipt."""
        if entry.kind == Kind.RECEIPT:
            await self._read_receipt(entry)
        self._watcher.came(entry)
        self.offer(entry)

    async def _read_receipt(self, entry: BundleEntry) -> None:
        """Note which bundles a recipient has; those that all of their recipients have need not be carried any more."""
        found = await self.store.read(entry.id)
        if found is None:
            return
        try:
            data = content.opened(Header.unproven(found[0].header), found[1], self.identity, ())
            named = receipts.decoded(data)
        except ProtocolError:
            return  # who signed it has said nothing
        for each in named:
            carried = self.store.find(each.id)
            if carried is not None and not receipts.counts(entry, carried):
                continue
            self.store.note_receipt(each.id, entry.sender, each.state, entry.expires)
            if entry.sender in self.store.own_receipts(each.id):  # it may be gone: "read" comes after "received"
                self._watcher.received(each.id, entry.sender, each.state)
            if carried is not None and set(carried.recipients) <= self.store.receipts(each.id).keys():
                self.store.forget(each.id)

    # What goes to a neighbour.

    def chosen(self, peer: SignId, ids: Iterable[bytes]) -> list[tuple[bytes, int]]:
        """Return those of ``ids`` that go to ``peer``, the most urgent first, with the bytes of their content."""
        now, meet = self.now(), self.meets.get(peer)
        if self.rights.outgoing(peer, now, cost=0).denied:
            return []
        found = []
        for bundle in ids:
            entry = self.store.find(bundle)
            if entry is None or peer in (entry.giver, entry.sender) or entry.expires <= now:
                continue
            is_for_peer = peer in entry.recipients
            takes = meet is None or meet.keeps or is_for_peer or not entry.recipients
            if not takes or (meet is not None and entry.size > meet.largest):
                continue
            if self.policy.hands(self._routed(entry), peer, now) is not None:
                found.append((not is_for_peer, entry.created, bundle, entry.size))
        return [(bundle, size) for _, _, bundle, size in sorted(found)]

    async def parcel(self, peer: SignId, bundle: bytes) -> Parcel | None:
        """Return a bundle handed on to ``peer``; None when it is not there, or has been there, or may go no further."""
        entry = self.store.find(bundle)
        if entry is None:
            return None
        found = await self.store.read(bundle) if entry.size <= BLOCK else None
        head = found[0] if found is not None else await self.store.head(bundle)
        now = self.now()
        if head is None or entry.expires <= now or not self.rights.outgoing(peer, now).allowed:
            return None
        header = Header.unproven(head.header)
        try:
            handed = hops.handed(header, head.hops, self.identity, peer)
        except ProtocolError:
            return None
        age = max(0.0, header.lifespan - (entry.expires - now)) if entry.giver != self.own else self._age(header, now)
        copies = self.policy.hands(self._routed(entry), peer, now) or 0
        return Parcel(head.header, handed, int(age * 1000), head.hashes, found[1] if found is not None else b"", copies)

    def answered(self, peer: SignId, bundle: bytes, answer: PushAnswer) -> None:
        """Take note of what became of a bundle at ``peer``."""
        entry = self.store.find(bundle)
        if entry is None or answer.say not in (Say.TAKEN, Say.HAVE_IT):
            return
        if answer.say == Say.TAKEN:
            self.gave(peer, entry)
        if entry.own:
            self._watcher.took(bundle, peer)

    def gave(self, peer: SignId, entry: BundleEntry) -> None:
        """Count the copies of a bundle that ``peer`` has got."""
        given = self.policy.hands(self._routed(entry), peer, self.now())
        if given:
            self.store.set_copies(entry.id, max(0, (self.store.copies(entry.id) or 0) - given))

    def gave_pulled(self, peer: SignId, bundle: bytes) -> None:
        """Count the copies of a bundle that ``peer`` pulls."""
        entry = self.store.find(bundle)
        if entry is not None:
            self.gave(peer, entry)

    def _routed(self, entry: BundleEntry) -> Routed:
        return Routed(entry.id, entry.recipients, entry.created, self.store.copies(entry.id) or 0)

    @staticmethod
    def _age(header: Header, now: float) -> float:
        return max(0.0, now - header.created / 1e6)


def refused(permission: Permission) -> PushAnswer:
    """Return what is answered to who may not, or not yet."""
    return PushAnswer(Say.DENIED) if permission.denied else PushAnswer(Say.RATE, int(permission.pause * 1000) + 1)


def _answer_to(error: Exception) -> PushAnswer:
    """Return what is answered when a bundle could not be taken for ``error``."""
    if isinstance(error, UnderWayElsewhere):
        return PushAnswer(Say.BUSY, BUSY_PAUSE)
    if isinstance(error, NoRoom):
        return PushAnswer(Say.NO_ROOM, NO_ROOM_PAUSE)
    if isinstance(error, StorageError):
        return PushAnswer(Say.NO_ROOM, FAULT_PAUSE)
    return _ANSWERS.get(error.reason, PushAnswer(Say.BAD)) if isinstance(error, ProtocolError) else PushAnswer(Say.BAD)
