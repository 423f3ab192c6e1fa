"""A DHT node without I/O: datagrams and time go in, datagrams come out through ``send`` (directory.rst).

datagram -> Node.receive -> responder.py (queries), calls.py (answers) -> search.py, spread.py
Node.get / put -> replicas.py -> search.py -> peers.py -> calls.py -> send
Node.due at Node.deadline: retransmissions, and upkeep.py once a minute, which joins (joining.py) while nobody is known
"""

from collections.abc import Callable
from typing import Final

from mm_services.kademlia.protocol.address import IPV4, IPV6, Address
from mm_services.kademlia.protocol.calls import Send
from mm_services.kademlia.protocol.contact import Contact
from mm_services.kademlia.protocol.joining import Joining
from mm_services.kademlia.protocol.limits import Rate
from mm_services.kademlia.protocol.peers import KnownNodes, Mode
from mm_services.kademlia.protocol.records import SignedRecord
from mm_services.kademlia.protocol.replicas import Replicas
from mm_services.kademlia.protocol.responder import QueryResponder
from mm_services.kademlia.protocol.search import Search, SearchResult
from mm_services.kademlia.protocol.store import RecordStore
from mm_services.kademlia.protocol.upkeep import Upkeep
from mm_services.kademlia.protocol.wire import MAX_DATAGRAM, UNPROVEN_FACTOR, Find, FindReply, Query, Verdict, parse
from mmplatform.identity.keys import Identity

QUERIES: Final = (200.0, 800.0)  # queries of one address a second, and at once: with a token, and as many without
SPARE: Final = (2000.0, 2000.0)  # queries without a token beyond that which are answered, of all addresses together
ANYBODY: Final = Address(bytes(4), 0)  # who pays for what can be spared
PING_SIZE: Final = 160  # bytes of the datagram that checks a stranger, at most


class Node:
    """A whole DHT node. ``random(size)`` gives bytes that others cannot guess; times are Unix seconds."""

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
        self.peers = KnownNodes(identity, send, random, self._met, mode, families)
        self.peers.now = now
        self.store = RecordStore(self.peers.id)
        self.joining = Joining(self.peers)
        self._replicas = Replicas(self.peers, self.store, self.joining)
        self.upkeep = Upkeep(self.peers, self.store, self.joining, self._replicas, random)
        self._responder = QueryResponder(self.peers, self.store, random)
        self._send = send
        self._proven, self._unproven, self._spare = Rate(*QUERIES), Rate(*QUERIES), Rate(*SPARE)

    # What comes in.

    def receive(self, datagram: bytes, came_from: Address, now: float) -> None:
        """Take one datagram; raises nothing, whatever it holds.

        Anybody can write the address of another as the source of a query. So an answer to a question of ours, which has
        its number, and a query with a token pass whatever else seems to come from their address.
        """
        peers = self.peers
        peers.now = now
        message = parse(datagram)
        if isinstance(message, FindReply | Verdict):
            call = peers.calls.receive(message, came_from, now)
            if call is not None:
                call.answered(message)
        elif message is not None:
            proven = self._responder.proves(message.token, came_from)
            limit = self._limit(proven, came_from, len(datagram))
            if limit:
                self._answer(message, came_from, limit, proven)

    def due(self, now: float) -> None:
        """Do the work that has become due."""
        self.peers.now = now
        self.peers.calls.due(now)
        self.upkeep.due(now)

    def deadline(self) -> float:
        """Return when to call :meth:`due`."""
        call = self.peers.calls.deadline()
        return self.upkeep.deadline if call is None else min(call, self.upkeep.deadline)

    # What we want.

    def get(
        self, key: int, done: Callable[[SearchResult], None], heard: Callable[[SignedRecord], None] | None = None
    ) -> Search:
        """Look for the newest record under ``key``: see :meth:`Replicas.get`."""
        return self._replicas.get(key, done, heard)

    def put(self, key: int, record: SignedRecord, done: Callable[[int], None]) -> None:
        """Store a record under ``key``: see :meth:`Replicas.put`."""
        self._replicas.put(key, record, done)

    # Inside.

    def _limit(self, proven: bool, came_from: Address, size: int) -> int:
        """Return how long the answer to a query of ``size`` bytes may be, 0 for none.

        Without a token the address may be a victim's. One that is used up already, by itself or by somebody who writes
        it, still gets the answers of its own length that can be spared, and with one of them the token.
        """
        now = self.peers.now
        if proven:
            return MAX_DATAGRAM if self._proven.allows(came_from, now) else 0
        if self._unproven.allows(came_from, now):
            return min(MAX_DATAGRAM, UNPROVEN_FACTOR * size)
        return size if self._spare.allows(ANYBODY, now) else 0

    def _answer(self, query: Query, came_from: Address, limit: int, proven: bool) -> None:
        if isinstance(query, Find):
            self._answer_find(query, came_from, limit)
            return
        answer = self._responder.store(query, came_from, proven)
        if answer is not None:
            self._send(answer, came_from)

    def _answer_find(self, query: Find, came_from: Address, limit: int) -> None:
        if query.sender == self.peers.identity.sign_key:
            return
        stranger = Contact(query.sender, came_from) if len(query.sender) == 32 else None
        check = stranger is not None and limit >= 2 * PING_SIZE and self.peers.wants(stranger)
        answer = self._responder.find(query, came_from, limit - PING_SIZE if check else limit)
        if answer is not None:
            self._send(answer, came_from)
        if check and stranger is not None:
            self.peers.check(stranger)

    def _met(self, contact: Contact) -> None:
        self.upkeep.hand_over(contact)
