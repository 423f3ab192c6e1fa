"""What a node does by itself, once a minute (directory.rst, "Upkeep"). Pure."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import ID_BITS, Contact, K
from mm_services.kademlia.protocol.records import open_record
from mm_services.kademlia.protocol.search import Found, Search
from mm_services.kademlia.protocol.spread import Spread
from mm_services.kademlia.protocol.store import Held
from mmplatform.errors import InvalidRecord

if TYPE_CHECKING:
    from mm_services.kademlia.protocol.node import Node

TICK: Final = 60.0  # seconds
FIRST_RETRY: Final = 1.0  # after a bootstrap that found nobody; doubles up to a tick
REFRESH: Final = 1800.0  # a bucket that nothing passed for so long is looked up
SILENT: Final = 900.0  # a contact not heard of for so long is asked
PUBLISH: Final = 1800.0  # our own records are stored again
SPREAD: Final = 3600.0  # records of others that nobody stored for so long are
BATCH: Final = 8  # records passed on in one tick
HAND_OVER: Final = 64  # records given to one newcomer

Make = Callable[[float], bytes]
Seeds = list[tuple[Address, bytes | None]]


class Publication:
    """A record of ours, stored ``every`` so many seconds. ``make(now)`` gives its present bytes."""

    __slots__ = ("due", "every", "make", "stored")

    def __init__(self, make: Make, every: float) -> None:
        self.make, self.every = make, every
        self.due = 0.0
        self.stored = 0  # nodes that kept it last time


class Upkeep:
    """The chores of one node."""

    def __init__(self, node: "Node", random: Callable[[int], bytes]) -> None:
        self.seeds: Seeds = []
        self.publications: dict[str, Publication] = {}
        self._node, self._random = node, random
        self.deadline = node.peers.now + TICK
        self._retry = FIRST_RETRY
        self._joining = False
        self._waiting: list[Callable[[], None]] = []

    def join(self, seeds: Iterable[tuple[Address, bytes | None]] = ()) -> None:
        """Find our place, with these addresses as well; tried again while nobody answers."""
        self.seeds = list(dict.fromkeys([*seeds, *self.seeds]))[:64]
        if not self._joining and (self.seeds or self._node.peers.count):
            self._joining = True
            self._node.bootstrap(self.seeds, self._joined)

    def once_joined(self, action: Callable[[], None]) -> None:
        """At once, or when the first nodes have answered: before, there is nobody to ask."""
        if self._joining and not self._node.peers.count:
            self._waiting.append(action)
        else:
            action()

    def publish(
        self, name: str, make: Make, every: float = PUBLISH, done: Callable[[int], None] | None = None
    ) -> Publication:
        """Keep a record of ours on the network, under all of its keys; ``done`` is told on how many nodes it is."""
        publication = self.publications[name] = Publication(make, min(every, PUBLISH))
        self._publish(publication, done)
        return publication

    def due(self, now: float) -> None:
        if now < self.deadline:
            return
        node = self._node
        self.deadline = now + TICK
        node.store.sweep(now)
        if not node.peers.count:
            self._rejoin(now)
            return
        for publication in list(self.publications.values()):
            if publication.due <= now:
                self._publish(publication)
        for table in node.peers.tables.values():
            for number in table.stale(now, REFRESH)[:1]:
                self._look_up(self._id_in(number))
            for entry in table.oldest(2):
                if entry.seen + SILENT <= now:
                    node.peers.check(entry.contact)
        for held in node.store.unspread(now - SPREAD)[:BATCH]:
            self._spread(held)

    def hand_over(self, contact: Contact) -> None:
        """A newcomer gets the records it is one of the k closest to, from the closest of those who have them."""
        node = self._node
        given = 0
        for held in node.store.all():
            if held.record.expires <= node.peers.now or not node.peers.is_closest(held.key, contact.id):
                continue
            near = node.peers.closest(held.key, K)
            if contact.id ^ held.key <= near[-1].id ^ held.key:
                Spread(node.peers, held.key, held.record, _nothing).start([contact])
                given += 1
                if given >= HAND_OVER:
                    return

    def _joined(self, count: int) -> None:
        self._joining = False
        now = self._node.peers.now
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
        if not count:
            self.deadline = min(self.deadline, now + self._retry)
            return
        self._retry = FIRST_RETRY
        for publication in self.publications.values():
            self._publish(publication)
        for table in self._node.peers.tables.values():
            for number in table.stale(now, REFRESH):
                self._look_up(self._id_in(number))

    def _rejoin(self, now: float) -> None:
        self._retry = min(TICK, 2 * self._retry)
        self.deadline = now + self._retry if self.seeds else now + TICK
        self.join()

    def _publish(self, publication: Publication, done: Callable[[int], None] | None = None) -> None:
        node = self._node
        publication.due = node.peers.now + publication.every
        data = publication.make(node.peers.now)
        try:
            record = open_record(data, node.peers.now)
        except InvalidRecord:
            return  # it has expired
        left = len(record.keys)

        def stored(count: int) -> None:
            nonlocal left
            left -= 1
            publication.stored = count
            if not left and done is not None:
                done(count)

        for key in record.keys:
            node.put(key, record, stored)

    def _spread(self, held: Held) -> None:
        """Its publisher is silent, or we are not among the closest any more; the date in the record does not change."""
        held.refreshed = self._node.peers.now
        self._node.put(held.key, held.record, _nothing)

    def _look_up(self, target: int) -> None:
        def done(found: Found) -> None:
            """Whoever answered is in the table."""

        Search(self._node.peers, target, done, want_record=False).start()

    def _id_in(self, number: int) -> int:
        """A random id that shares ``number`` bits with ours."""
        own = self._node.peers.id
        below = ID_BITS - 1 - number
        return (own >> below ^ 1) << below | int.from_bytes(self._random(32), "big") & ((1 << below) - 1)


def _nothing(stored: int) -> None:
    """Nobody waits for the number."""
