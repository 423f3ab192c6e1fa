"""Runs one look-up: asks as lookup.py says, keeps the newest valid record, ends when the k closest have answered.

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

FEW: Final = 8  # a reply that was cut and names fewer contacts is asked for again
ASK_AGAIN: Final = 2  # times


@dataclass(slots=True)
class SearchResult:
    """How a look-up ended. ``held``: by the id of each honest node, 1 + seq of the record it has, or 0."""

    record: SignedRecord | None = None
    closest: list[Contact] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    asked: int = 0
    hops: int = 0


class Search:
    """One look-up: calls ``heard(record)`` for the first valid record and each newer one, ``done(found)`` once.

    ``known`` is the record we hold ourselves; it is heard at once, and the look-up goes on.
    """

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
            self._heard(self._found.record)  # we hold this record; the nodes that are asked tell of newer ones only
        known = self._peers.closest(self.target, self._k)
        self._lookup = Lookup(self.target, self._peers.id, known, self._k, self._alpha)
        for table in self._peers.tables.values():
            table.touch(self.target, self._peers.now)
        self._go_on()

    def cancel(self) -> None:
        """Call nobody any more; open queries end by themselves, for the sake of the routing table."""
        self.over = True

    def _go_on(self) -> None:
        if self._going:
            return  # asking an unusable address fails at once, within the loop below
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
            self._lookup.answered(contact, ())  # the contact sent a forged record: the nodes it names are ignored
        elif reply.cut and len(reply.contacts) < FEW and again < ASK_AGAIN:
            self._ask(contact, again + 1)
            return
        else:
            self._lookup.answered(contact, self._peers.named(reply, contact))
        self._go_on()

    def _take(self, contact: Contact, reply: FindReply) -> bool:
        """Keep the record if it is the newest; return False when it is not what its sender claims."""
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
