"""Puts a record on the nodes closest to its key, and counts those that took it (directory.rst, "Storing"). Pure."""

from collections.abc import Callable, Iterable

from mm_services.kademlia.protocol.contact import Contact
from mm_services.kademlia.protocol.peers import KnownNodes
from mm_services.kademlia.protocol.records import SignedRecord
from mm_services.kademlia.protocol.wire import STORED, Answer, Query, Store, Verdict, key_bytes, pack


class Spread:
    """Stores one record; ``done(stored)`` is called once, with the number of nodes that keep it."""

    def __init__(self, peers: KnownNodes, key: int, record: SignedRecord, done: Callable[[int], None]) -> None:
        self._peers, self._key, self._record, self._done = peers, key, record, done
        self._open = 0
        self._stored = 0

    def start(self, contacts: Iterable[Contact], stored: int = 0) -> None:
        """Ask ``contacts`` to keep the record; ``stored`` is how many keep it already."""
        self._stored = stored
        self._open = 1
        for contact in contacts:
            token = self._peers.token(contact.address)
            if token:
                self._open += 1
                self._ask(contact, token)
        self._ended()

    def _ask(self, contact: Contact, token: bytes) -> None:
        query = Store(b"", token, key_bytes(self._key), self._record.data)

        def answered(answer: Answer) -> None:
            self._stored += isinstance(answer, Verdict) and answer.verdict == STORED
            self._ended()

        def failed() -> None:
            self._peers.tables[contact.address.family].strike(contact.id, contact.address)
            self._ended()

        if self._peers.calls.start(contact.address, query, _pack, self._peers.now, answered, failed) is None:
            self._ended()

    def _ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._done(self._stored)


def _pack(query: Query) -> bytes:
    return pack(query)
