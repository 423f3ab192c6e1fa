"""One look-up under way: asks as lookup.py says, keeps the newest valid record, ends when the k closest have answered.

directory.rst, "Look-ups". Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mm_services.kademlia.protocol.contact import Contact, K
from mm_services.kademlia.protocol.lookup import ALPHA, Lookup
from mm_services.kademlia.protocol.peers import NEVER, KnownNodes
from mm_services.kademlia.protocol.records import SignedRecord, newer, open_record
from mm_services.kademlia.protocol.wire import FindReply
from mmplatform.errors import InvalidRecord

FEW: Final = 8  # contacts in a reply that was cut, below which it is asked for the rest
ASK_AGAIN: Final = 2


@dataclass(slots=True)
class SearchResult:
    """How a look-up ended. ``held``: 1 + seq, or 0, by node id, of the closest who answered honestly."""

    record: SignedRecord | None = None
    closest: list[Contact] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    asked: int = 0
    hops: int = 0


class Search:
    """``done(found)`` is called once, ``heard(record)`` for the first valid record and for each newer one.

    ``known``: what we hold ourselves. It is heard at once, and the look-up goes on."""

    def __init__(
        self,
        peers: KnownNodes,
        target: int,
        done: Callable[[SearchResult], None],
        heard: Callable[[SignedRecord], None] | None = None,
        known: SignedRecord | None = None,
        *,
        want_record: bool = True,
        k: int = K,
        alpha: int = ALPHA,
    ) -> None:
        self.target = target
        self.over = self._going = False
        self._peers, self._done, self._heard, self._want = peers, done, heard, want_record
        self._found = SearchResult(known)
        self._k, self._alpha = k, alpha
        self._lookup = Lookup(target, peers.id, (), k, alpha)

    def start(self) -> None:
        if self._heard is not None and self._found.record is not None:
            self._heard(self._found.record)  # we hold it ourselves; those who are asked only tell of newer ones
        known = self._peers.closest(self.target, self._k)
        self._lookup = Lookup(self.target, self._peers.id, known, self._k, self._alpha)
        for table in self._peers.tables.values():
            table.touch(self.target, self._peers.now)
        self._go_on()

    def cancel(self) -> None:
        """Nobody is told anything any more; open questions end by themselves, for the routing table's sake."""
        self.over = True

    def _go_on(self) -> None:
        if self._going:
            return  # an address that cannot be reached fails while it is asked
        self._going = True
        while not self.over and (contact := self._lookup.next()) is not None:
            self._ask(contact)
        self._going = False
        if not self.over and self._lookup.done:
            self.over = True
            self._found.closest = [c for c in self._lookup.closest() if c.id in self._found.held]
            self._found.asked = self._lookup.asked
            self._done(self._found)

    def _ask(self, contact: Contact, again: int = 0) -> None:
        best = self._found.record
        after = NEVER if not self._want else (0 if best is None else min(best.seq + 1, NEVER))

        def answered(proven: Contact, reply: FindReply) -> None:
            if not self.over:
                self._answered(proven, reply, again)

        def late() -> None:
            if not self.over:
                self._lookup.late(contact)
                self._go_on()

        def failed() -> None:
            if not self.over:
                self._lookup.failed(contact)
                self._go_on()

        self._peers.find(contact.address, contact.sign_key, self.target, answered, failed, late, after=after)

    def _answered(self, contact: Contact, reply: FindReply, again: int) -> None:
        if not self._take(contact, reply):
            self._lookup.answered(contact, ())  # it sent a forged record: what it names is not looked at
        elif reply.cut and len(reply.contacts) < FEW and again < ASK_AGAIN:
            self._ask(contact, again + 1)
            return
        else:
            self._lookup.answered(contact, self._peers.named(reply, contact))
        self._go_on()

    def _take(self, contact: Contact, reply: FindReply) -> bool:
        """Keep the record if it is the newest. False: it is not what its sender claims."""
        if reply.record:
            try:
                record = open_record(reply.record, self._peers.now)
            except InvalidRecord as error:
                return str(error).startswith("expired")  # clocks differ
            if self.target not in record.keys:
                return False
            self._keep(record, contact)
        self._found.held[contact.id] = max(reply.held, self._found.held.get(contact.id, 0))
        return True

    def _keep(self, record: SignedRecord, contact: Contact) -> None:
        best = newer(self._found.record, record)
        if best is not self._found.record:
            self._found.record = best
            self._found.hops = self._lookup.hops(contact)
            if self._heard is not None:
                self._heard(record)
