"""Reads and stores records at the k closest nodes, and repairs nodes that are behind (directory.rst)."""

from collections.abc import Callable

from mm_services.kademlia.protocol.contact import K
from mm_services.kademlia.protocol.joining import Joining
from mm_services.kademlia.protocol.peers import KnownNodes
from mm_services.kademlia.protocol.records import SignedRecord, newer
from mm_services.kademlia.protocol.search import Search, SearchResult
from mm_services.kademlia.protocol.spread import Spread
from mm_services.kademlia.protocol.store import RecordStore


class Replicas:
    """The copies of records on the network; ``store`` has our own share."""

    def __init__(self, peers: KnownNodes, store: RecordStore, joining: Joining) -> None:
        self._peers, self._store, self._joining = peers, store, joining

    def get(
        self, key: int, done: Callable[[SearchResult], None], heard: Callable[[SignedRecord], None] | None = None
    ) -> Search:
        """Look for the newest record under ``key``, and give it to those of the closest nodes that lack it.

        ``heard`` is called with the first valid record and each newer one, ``done`` once with the result.
        """

        def finished(found: SearchResult) -> None:
            self._repair(key, found)
            done(found)

        search = Search(self._peers, key, finished, heard, self._store.get(key, self._peers.now))
        self._joining.once_joined(search.start)
        return search

    def put(self, key: int, record: SignedRecord, done: Callable[[int], None]) -> None:
        """Store ``record`` on the k nodes closest to ``key``; ``done`` gets the number that keep it, us included."""

        def finished(found: SearchResult) -> None:
            mine = self._keep_if_close(key, record, found)
            Spread(self._peers, key, record, done).start(found.closest, int(mine))

        self._joining.once_joined(Search(self._peers, key, finished, want_record=False).start)

    def _repair(self, key: int, found: SearchResult) -> None:
        record = found.record
        if record is None or record.expires <= self._peers.now:
            return
        self._keep_if_close(key, record, found)
        behind = [contact for contact in found.closest if found.held.get(contact.id, 0) < record.seq + 1]
        Spread(self._peers, key, record, lambda stored: None).start(behind)

    def _keep_if_close(self, key: int, record: SignedRecord, found: SearchResult) -> bool:
        """Keep the record when we are one of the k closest ourselves; return whether we do."""
        own = self._peers.id ^ key
        held = self._store.get(key, self._peers.now)
        close = len(found.closest) < K or own < found.closest[-1].id ^ key
        if not (close or held is not None) or newer(held, record) is held:
            return held is not None and held.rank >= record.rank
        return self._store.put(key, record, None, self._peers.now) == 0
