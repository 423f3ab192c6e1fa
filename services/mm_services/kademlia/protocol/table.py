"""The routing table: proven contacts in buckets by shared prefix, and the true k closest (directory.rst, "Routing").

Bucket ``b`` holds nodes that share exactly ``b`` leading bits with us. Seen from a target that shares ``p`` bits with
us, every node of bucket ``p`` is closer than every node of the buckets above ``p`` together, these are closer than
bucket ``p - 1``, that is closer than bucket ``p - 2``, and so on: sorting one group at a time gives the exact order.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from mm_services.kademlia.protocol.address import Address, network_of
from mm_services.kademlia.protocol.contact import ID_BITS, Contact, K, prefix_length

SPARES: Final = 8  # contacts that wait for a place in a bucket
STRIKES: Final = 2  # unanswered exchanges, of three datagrams each, after which a contact is dropped
PER_NETWORK: Final = 2  # contacts of one public network in one bucket


class TableEntry:
    """A contact that proved its key at its address."""

    __slots__ = ("contact", "seen", "strikes")

    def __init__(self, contact: Contact, seen: float) -> None:
        self.contact = contact
        self.seen = seen
        self.strikes = 0


class KBucket:
    """The contacts of one bucket and its spares, by id, the longest unseen first."""

    __slots__ = ("entries", "spares", "touched")

    def __init__(self) -> None:
        self.entries: dict[int, TableEntry] = {}
        self.spares: dict[int, TableEntry] = {}
        self.touched = 0.0


class Table:
    """Contacts of one address family."""

    def __init__(self, own: int) -> None:
        self.own = own
        self._buckets: dict[int, KBucket] = {}

    def __len__(self) -> int:
        return sum(len(bucket.entries) for bucket in self._buckets.values())

    def __contains__(self, node: object) -> bool:
        return isinstance(node, int) and self.entry(node) is not None

    def __iter__(self) -> Iterator[TableEntry]:
        for bucket in self._buckets.values():
            yield from bucket.entries.values()

    def entry(self, node: int) -> TableEntry | None:
        bucket = self._buckets.get(prefix_length(self.own, node))
        return bucket.entries.get(node) if bucket is not None else None

    def has_room(self, contact: Contact) -> bool:
        """Whether ``contact`` is new and would be taken in, so that proving it is worth a datagram."""
        if contact.id == self.own or contact.id in self:
            return False
        bucket = self._buckets.get(prefix_length(self.own, contact.id))
        if bucket is None:
            return True
        shaky = len(bucket.entries) < K or any(entry.strikes for entry in bucket.entries.values())
        return shaky and self._admits(bucket, contact)

    def add(self, contact: Contact, now: float) -> bool:
        """Take in a proven contact that answered; return True when it is new, else it is refreshed or kept as a spare.

        A new address replaces the old one: the proof is for the new one.
        """
        if contact.id == self.own:
            return False
        bucket = self._buckets.setdefault(prefix_length(self.own, contact.id), KBucket())
        known = bucket.entries.pop(contact.id, None)
        if known is None and not self._admits(bucket, contact):
            return False
        entry = TableEntry(contact, now)
        if known is not None or len(bucket.entries) < K or self._evict(bucket):
            bucket.entries[contact.id] = entry
            bucket.spares.pop(contact.id, None)
            return known is None
        bucket.spares.pop(contact.id, None)
        bucket.spares[contact.id] = entry
        if len(bucket.spares) > SPARES:
            del bucket.spares[next(iter(bucket.spares))]
        return False

    def strike(self, node: int, address: Address) -> None:
        """Count an exchange with ``node`` at ``address`` that ended without an answer; drop it after too many."""
        bucket = self._buckets.get(prefix_length(self.own, node))
        entry = bucket.entries.get(node) if bucket is not None else None
        if bucket is None or entry is None or entry.contact.address != address:
            return
        entry.strikes += 1
        if entry.strikes >= STRIKES:
            del bucket.entries[node]
            if bucket.spares:
                spare = bucket.spares.popitem()[1]
                bucket.entries[spare.contact.id] = spare

    def closest(self, target: int, count: int, wanted: Callable[[Contact], bool] | None = None) -> list[Contact]:
        """Return the ``count`` wanted contacts closest to ``target``, closest first."""
        found: list[Contact] = []
        for group in self._groups(target):
            near = [entry.contact for entry in group if wanted is None or wanted(entry.contact)]
            near.sort(key=lambda contact: contact.id ^ target)
            found += near[: count - len(found)]
            if len(found) >= count:
                break
        return found

    def is_closest(self, target: int, but: int) -> bool:
        """Whether no contact, except the node ``but``, is closer to ``target`` than we are."""
        shared, distance = prefix_length(self.own, target), self.own ^ target
        bucket = self._buckets.get(shared)
        if bucket is not None and bucket.entries.keys() - {but}:
            return False  # each of them is closer
        deeper = (b.entries for number, b in self._buckets.items() if number > shared)
        return not any(node ^ target < distance and node != but for entries in deeper for node in entries)

    def touch(self, target: int, now: float) -> None:
        """Take note that a look-up passed the bucket of ``target``."""
        bucket = self._buckets.get(prefix_length(self.own, target))
        if bucket is not None:
            bucket.touched = now

    def stale(self, now: float, age: float) -> list[int]:
        """Return the buckets, up to the deepest with contacts, that no look-up passed for ``age`` seconds."""
        deepest = max((number for number, bucket in self._buckets.items() if bucket.entries), default=-1)
        old = []
        for number in range(min(deepest + 1, ID_BITS)):
            bucket = self._buckets.setdefault(number, KBucket())
            if bucket.touched + age <= now:
                old.append(number)
        return old

    def oldest(self, count: int) -> list[TableEntry]:
        """Return the ``count`` contacts that were not heard of for the longest time."""
        return sorted(self, key=lambda entry: entry.seen)[:count]

    def _groups(self, target: int) -> Iterator[Iterable[TableEntry]]:
        shared = prefix_length(self.own, target)
        numbers = sorted(self._buckets, reverse=True)
        if shared in self._buckets:
            yield self._buckets[shared].entries.values()
        yield [entry for n in numbers if n > shared for entry in self._buckets[n].entries.values()]
        for number in numbers:
            if number < shared:
                yield self._buckets[number].entries.values()

    def _admits(self, bucket: KBucket, contact: Contact) -> bool:
        network = network_of(contact.address.host)
        if network is None:
            return True
        same = sum(network_of(entry.contact.address.host) == network for entry in bucket.entries.values())
        return same < PER_NETWORK

    def _evict(self, bucket: KBucket) -> bool:
        """Make room by dropping a contact that left an exchange unanswered; return whether there was one."""
        shaky = next((node for node, entry in bucket.entries.items() if entry.strikes), None)
        if shaky is not None:
            del bucket.entries[shaky]
        return shaky is not None
