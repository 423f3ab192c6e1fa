"""Keeps records for others: the newest of each key, until it expires, within quotas.

directory.rst, "Tokens and quotas". Pure: time is an argument.
"""

from collections import Counter
from heapq import heapify, heappop, heappush, nlargest
from typing import Final

from mm_services.kademlia.protocol.address import Address, payer_of
from mm_services.kademlia.protocol.records import SignedRecord
from mm_services.kademlia.protocol.wire import FULL, OLDER, STORED

MAX_RECORDS: Final = 4096
PER_KEY: Final = 32  # records of one signer
PER_PAYER: Final = 512  # records that came first from one payer
MAKE_ROOM: Final = 16  # one of so many places is made free at once


class Held:
    """One record that is kept; ``refreshed``: Unix seconds when it was last stored or spread."""

    __slots__ = ("key", "payer", "record", "refreshed")

    def __init__(self, key: int, record: SignedRecord, payer: bytes, refreshed: float) -> None:
        self.key, self.record, self.payer, self.refreshed = key, record, payer, refreshed


class RecordStore:
    """The records kept; when there are too many, those closest to ``own`` stay."""

    def __init__(self, own: int, max_records: int = MAX_RECORDS) -> None:
        self._own, self._max = own, max_records
        self._held: dict[int, Held] = {}
        self._ends: list[tuple[int, int]] = []  # heap of (expires, key)
        self._signers: Counter[bytes] = Counter()
        self._payers: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: int, now: float) -> SignedRecord | None:
        """Return the record under ``key``, None when there is none or it has expired."""
        held = self._held.get(key)
        return held.record if held is not None and held.record.expires > now else None

    def put(self, key: int, record: SignedRecord, came_from: Address | None, now: float) -> int:
        """Keep a proven record that belongs under ``key``; return STORED, OLDER or FULL.

        ``came_from`` is charged for the record; None when it comes from this node.
        """
        self.sweep(now)
        held = self._held.get(key)
        if held is not None:
            if record.rank < held.record.rank:
                return OLDER
            if record.rank > held.record.rank:
                held.record = record
                self._expect(record.expires, key)
            held.refreshed = now
            return STORED
        payer = payer_of(came_from) if came_from is not None else b""
        if self._signers[record.sign_key] >= PER_KEY or (payer and self._payers[payer] >= PER_PAYER):
            return FULL
        if len(self._held) >= self._max and not self._make_room(key):
            return FULL
        self._held[key] = Held(key, record, payer, now)
        self._signers[record.sign_key] += 1
        self._payers[payer] += 1
        self._expect(record.expires, key)
        return STORED

    def sweep(self, now: float) -> None:
        """Drop records that have expired."""
        while self._ends and self._ends[0][0] <= now:
            key = heappop(self._ends)[1]
            held = self._held.get(key)
            if held is not None and held.record.expires <= now:
                self._drop(key)

    def unspread(self, before: float) -> list[Held]:
        """Return the records that nobody stored or spread since ``before``."""
        return [held for held in self._held.values() if held.refreshed < before]

    def all(self) -> list[Held]:
        return list(self._held.values())

    def _make_room(self, key: int) -> bool:
        """Drop the farthest records, many at once, so that a flood does not make every STORE look at every record."""
        farthest = nlargest(max(1, self._max // MAKE_ROOM), self._held, key=lambda held: held ^ self._own)
        if key ^ self._own >= farthest[-1] ^ self._own:
            return False
        for far in farthest:
            self._drop(far)
        return True

    def _drop(self, key: int) -> None:
        held = self._held.pop(key)
        for counter, name in ((self._signers, held.record.sign_key), (self._payers, held.payer)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def _expect(self, expires: int, key: int) -> None:
        heappush(self._ends, (expires, key))
        if len(self._ends) > 4 * self._max:  # a record leaves an entry each time it is renewed
            self._ends = [(held.record.expires, key) for key, held in self._held.items()]
            heapify(self._ends)
