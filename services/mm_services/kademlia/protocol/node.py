"""A DHT node without I/O: datagrams and time go in, datagrams come out through ``send`` (directory.rst).

datagram -> Node.receive -> responder.py (queries), calls.py (answers) -> search.py, spread.py
Node.get / put / bootstrap -> search.py -> peers.py -> calls.py -> send
Node.due at Node.deadline: retransmissions, and upkeep.py once a minute
"""

from collections.abc import Callable, Iterable
from typing import Final

from mm_services.kademlia.protocol.address import IPV4, IPV6, Address
from mm_services.kademlia.protocol.calls import Send
from mm_services.kademlia.protocol.contact import Contact, K
from mm_services.kademlia.protocol.limits import Rate
from mm_services.kademlia.protocol.peers import Mode, Peers
from mm_services.kademlia.protocol.records import Record, newer
from mm_services.kademlia.protocol.responder import Responder
from mm_services.kademlia.protocol.search import Found, Search
from mm_services.kademlia.protocol.spread import Spread
from mm_services.kademlia.protocol.store import Store
from mm_services.kademlia.protocol.upkeep import Upkeep
from mm_services.kademlia.protocol.wire import MAGIC, Find, Reply, Verdict, parse
from mmplatform.identity.keys import Identity

QUERIES: Final = (200.0, 800.0)  # datagrams a second and at once, of one address
PING_SIZE: Final = 160  # bytes that a check of a stranger takes at most


class Node:
    """``identity`` names it, ``random`` is where numbers that others cannot guess come from."""

    def __init__(
        self,
        identity: Identity,
        send: Send,
        random: Callable[[int], bytes],
        now: float,
        *,
        mode: Mode = "auto",
        families: int = IPV4 | IPV6,
    ) -> None:
        self.peers = Peers(identity, send, random, self._met, mode, families)
        self.peers.now = now
        self.store = Store(self.peers.id)
        self.upkeep = Upkeep(self, random)
        self._responder = Responder(self.peers, self.store, random)
        self._send = send
        self._rate = Rate(*QUERIES)

    # What comes in.

    def receive(self, datagram: bytes, came_from: Address, now: float) -> None:
        """One datagram. Nothing is raised, whatever it holds."""
        peers = self.peers
        peers.now = now
        if not datagram.startswith(MAGIC) or not self._rate.allows(came_from, now):
            return
        message = parse(datagram)
        if isinstance(message, Reply | Verdict):
            call = peers.calls.receive(message, came_from, now)
            if call is not None:
                call.answered(message)
        elif isinstance(message, Find):
            self._answer_find(message, came_from, len(datagram))
        elif message is not None:
            answer = self._responder.store(message, came_from)
            if answer is not None:
                self._send(answer, came_from)

    def due(self, now: float) -> None:
        """Do what has become due."""
        self.peers.now = now
        self.peers.calls.due(now)
        self.upkeep.due(now)

    def deadline(self) -> float:
        """When to call :meth:`due`."""
        call = self.peers.calls.deadline()
        return self.upkeep.deadline if call is None else min(call, self.upkeep.deadline)

    # What we want.

    def get(self, key: int, done: Callable[[Found], None], heard: Callable[[Record], None] | None = None) -> Search:
        """Look for the newest record under ``key``; those of the closest that have an older one, or none, get it."""

        def finished(found: Found) -> None:
            self._repair(key, found)
            done(found)

        search = Search(self.peers, key, finished, heard, self.store.get(key, self.peers.now))
        self.upkeep.once_joined(search.start)
        return search

    def put(self, key: int, record: Record, done: Callable[[int], None]) -> None:
        """Store ``record`` on the k closest to ``key``; ``done`` gets the number that keep it, with us."""

        def finished(found: Found) -> None:
            mine = self._keep_if_close(key, record, found)
            Spread(self.peers, key, record, done).start(found.closest, int(mine))

        self.upkeep.once_joined(Search(self.peers, key, finished, want_record=False).start)

    def bootstrap(self, addresses: Iterable[tuple[Address, bytes | None]], done: Callable[[int], None]) -> None:
        """Ask ``addresses`` (with the key each should have, if known), then find our place from whoever answers.

        ``done`` gets the number of contacts we then know."""
        waiting = list(dict.fromkeys(addresses))
        if not waiting:
            done(self.peers.count)
            return
        left = len(waiting)

        def ended(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self.find_place(done)

        for address, key in waiting:
            self.peers.find(address, key, self.peers.id, ended, ended)

    def find_place(self, done: Callable[[int], None]) -> None:
        """Look for ourselves: our neighbours learn of us on the way, and we of them."""
        Search(self.peers, self.peers.id, lambda found: done(self.peers.count), want_record=False).start()

    # Inside.

    def _answer_find(self, query: Find, came_from: Address, size: int) -> None:
        if query.sender == self.peers.identity.sign_key:
            return
        limit = self._responder.limit(query, came_from, size)
        stranger = Contact(query.sender, came_from) if len(query.sender) == 32 else None
        check = stranger is not None and limit >= 2 * PING_SIZE and self.peers.wants(stranger)
        answer = self._responder.find(query, came_from, limit - PING_SIZE if check else limit)
        if answer is not None:
            self._send(answer, came_from)
        if check and stranger is not None:
            self.peers.check(stranger)

    def _met(self, contact: Contact) -> None:
        self.upkeep.hand_over(contact)

    def _repair(self, key: int, found: Found) -> None:
        record = found.record
        if record is None or record.expires <= self.peers.now:
            return
        self._keep_if_close(key, record, found)
        behind = [contact for contact in found.closest if found.held.get(contact.id, 0) < record.seq + 1]
        Spread(self.peers, key, record, lambda stored: None).start(behind)

    def _keep_if_close(self, key: int, record: Record, found: Found) -> bool:
        """Whether we are one of the k closest ourselves, and so keep the record."""
        own = self.peers.id ^ key
        held = self.store.get(key, self.peers.now)
        close = len(found.closest) < K or own < found.closest[-1].id ^ key
        if not (close or held is not None) or newer(held, record) is held:
            return held is not None and held.rank >= record.rank
        return self.store.put(key, record, None, self.peers.now) == 0
