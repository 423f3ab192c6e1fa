"""Answers the queries of others: for contacts, records, and to keep a record ("Answers", "Tokens and quotas").

Pure: a query goes in, the bytes of the answer come out.
"""

from collections.abc import Callable

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import prove
from mm_services.kademlia.protocol.limits import Rate, Tokens
from mm_services.kademlia.protocol.peers import KnownNodes
from mm_services.kademlia.protocol.records import open_record
from mm_services.kademlia.protocol.store import RecordStore
from mm_services.kademlia.protocol.wire import (
    BAD_TOKEN,
    INVALID,
    Find,
    FindReply,
    Proof,
    Verdict,
    address_of,
    pack,
    pack_reply,
    place,
)
from mm_services.kademlia.protocol.wire import Store as StoreQuery
from mmplatform.errors import InvalidRecord

STORES: tuple[float, float] = (20.0, 100.0)  # records that one address may store a second, and at once


class QueryResponder:
    """Answers from the tables and the store."""

    def __init__(self, peers: KnownNodes, store: RecordStore, random: Callable[[int], bytes]) -> None:
        self.tokens = Tokens(random)
        self._peers, self._store = peers, store
        self._stores = Rate(*STORES)

    def find(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        """Return the answer to a Find, at most ``limit`` bytes; None when not even an empty one fits."""
        peers = self._peers
        asked_at = address_of(query.to)
        target = int.from_bytes(query.target, "big")
        record = self._store.get(target, peers.now)
        proof = None
        if query.prove and asked_at in peers.own:
            proof = Proof(*prove(peers.identity, asked_at, peers.now))
        reply = FindReply(
            tx=query.tx,
            sender=peers.identity.sign_key,
            you=place(came_from),
            token=self.tokens.token(came_from, peers.now),
            proof=proof,
            held=record.seq + 1 if record is not None else 0,
            record=record.data if record is not None and record.seq >= query.after else b"",
            contacts=[],
            cut=False,
        )
        contacts = peers.closest(target, query.count, came_from, query.families) if query.count else []
        return pack_reply(reply, contacts, limit)

    def proves(self, token: bytes, came_from: Address) -> bool:
        """Whether ``token`` proves that ``came_from`` hears what is sent there."""
        return self.tokens.good(token, came_from, self._peers.now)

    def store(self, query: StoreQuery, came_from: Address, proven: bool) -> bytes | None:
        """Return the answer to a Store, None when the sender is too fast. Cheap checks come before the signature.

        ``proven``: whether the token of ``query`` is good.
        """
        now = self._peers.now
        if not proven:
            return pack(Verdict(query.tx, BAD_TOKEN))
        if not self._stores.allows(came_from, now):
            return None
        target = int.from_bytes(query.target, "big")
        try:
            record = open_record(query.record, now)
        except InvalidRecord:
            return pack(Verdict(query.tx, INVALID))
        if target not in record.keys:
            return pack(Verdict(query.tx, INVALID))
        return pack(Verdict(query.tx, self._store.put(target, record, came_from, now)))
