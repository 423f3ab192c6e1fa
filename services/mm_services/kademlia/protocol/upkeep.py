"""Does the chores of a node once a minute (directory.rst, "Upkeep"). Pure."""

from collections.abc import Callable, Iterable
from typing import Final

from mm_services.kademlia.protocol.contact import ID_BITS, Contact, K
from mm_services.kademlia.protocol.joining import Joining, Seed
from mm_services.kademlia.protocol.peers import KnownNodes
from mm_services.kademlia.protocol.records import open_record
from mm_services.kademlia.protocol.replicas import Replicas
from mm_services.kademlia.protocol.search import Search, SearchResult
from mm_services.kademlia.protocol.spread import Spread
from mm_services.kademlia.protocol.store import Held, RecordStore
from mmplatform.errors import InvalidRecord

TICK: Final = 60.0  # seconds
FIRST_RETRY: Final = 1.0  # seconds after a bootstrap that found nobody; doubles up to a tick
REFRESH: Final = 1800.0  # seconds without a look-up after which a bucket is looked up
SILENT: Final = 900.0  # seconds of silence after which a contact is asked
PUBLISH: Final = 1800.0  # seconds after which our own records are stored again
SPREAD: Final = 3600.0  # seconds after which records that nobody stored again are passed on
BATCH: Final = 8  # records passed on in one tick
HAND_OVER: Final = 64  # records given to one newcomer

Make = Callable[[float], bytes]


class Publication:
    """A record of ours that is stored ``every`` so many seconds. ``make(now)`` gives its present bytes."""

    __slots__ = ("due", "every", "make", "stored")

    def __init__(self, make: Make, every: float) -> None:
        self.make, self.every = make, every
        self.due = 0.0
        self.stored = 0  # nodes that kept it last time


class Upkeep:
    """The chores of one node."""

    def __init__(
        self,
        peers: KnownNodes,
        store: RecordStore,
        joining: Joining,
        replicas: Replicas,
        random: Callable[[int], bytes],
    ) -> None:
        self.publications: dict[str, Publication] = {}
        self._peers, self._store, self._joining, self._replicas = peers, store, joining, replicas
        self._random = random
        self.deadline = peers.now + TICK
        self._retry = FIRST_RETRY

    def join(self, seeds: Iterable[Seed] = ()) -> None:
        """Find our place, asking ``seeds``, too; again and again while nobody answers."""
        self._joining.join(seeds, self._joined)

    def publish(
        self, name: str, make: Make, every: float = PUBLISH, done: Callable[[int], None] | None = None
    ) -> Publication:
        """Keep a record of ours on the network, under all of its keys; ``done`` gets the number of its holders."""
        publication = self.publications[name] = Publication(make, min(every, PUBLISH))
        self._publish(publication, done)
        return publication

    def due(self, now: float) -> None:
        if now < self.deadline:
            return
        self.deadline = now + TICK
        self._store.sweep(now)
        if not self._peers.count:
            self._rejoin(now)
            return
        for publication in list(self.publications.values()):
            if publication.due <= now:
                self._publish(publication)
        for table in self._peers.tables.values():
            for number in table.stale(now, REFRESH)[:1]:
                self._look_up(self._id_in(number))
            for entry in table.oldest(2):
                if entry.seen + SILENT <= now:
                    self._peers.check(entry.contact)
        for held in self._store.unspread(now - SPREAD)[:BATCH]:
            self._spread(held)

    def hand_over(self, contact: Contact) -> None:
        """Give a newcomer the records it is one of the k closest to, when we are the closest that has them."""
        peers, given = self._peers, 0
        for held in self._store.all():
            if held.record.expires <= peers.now or not peers.is_closest(held.key, contact.id):
                continue
            near = peers.closest(held.key, K)
            if contact.id ^ held.key <= near[-1].id ^ held.key:
                Spread(peers, held.key, held.record, _nothing).start([contact])
                given += 1
                if given >= HAND_OVER:
                    return

    def _joined(self, count: int) -> None:
        now = self._peers.now
        if not count:
            self.deadline = min(self.deadline, now + self._retry)
            return
        self._retry = FIRST_RETRY
        for publication in self.publications.values():
            self._publish(publication)
        for table in self._peers.tables.values():
            for number in table.stale(now, REFRESH):
                self._look_up(self._id_in(number))

    def _rejoin(self, now: float) -> None:
        self._retry = min(TICK, 2 * self._retry)
        self.deadline = now + self._retry if self._joining.seeds else now + TICK
        self.join()

    def _publish(self, publication: Publication, done: Callable[[int], None] | None = None) -> None:
        now = self._peers.now
        publication.due = now + publication.every
        data = publication.make(now)
        try:
            record = open_record(data, now)
        except InvalidRecord:
            return  # the record has expired
        left = len(record.keys)

        def stored(count: int) -> None:
            nonlocal left
            left -= 1
            publication.stored = count
            if not left and done is not None:
                done(count)

        for key in record.keys:
            self._replicas.put(key, record, stored)

    def _spread(self, held: Held) -> None:
        """Pass a record on whose publisher is silent, or to which we are no longer close; its expiry stays."""
        held.refreshed = self._peers.now
        self._replicas.put(held.key, held.record, _nothing)

    def _look_up(self, target: int) -> None:
        def done(found: SearchResult) -> None:
            """Do nothing: the nodes that answered are in the table."""

        Search(self._peers, target, done, want_record=False).start()

    def _id_in(self, number: int) -> int:
        """Return a random id that shares ``number`` leading bits with ours."""
        own = self._peers.id
        below = ID_BITS - 1 - number
        return (own >> below ^ 1) << below | int.from_bytes(self._random(32), "big") & ((1 << below) - 1)


def _nothing(stored: int) -> None:
    """Do nothing: nobody waits for the number."""
