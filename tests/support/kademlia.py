"""Small networks for the tests of single machines."""

from typing import Any

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, node_id
from mm_services.kademlia.protocol.records import SignedRecord, make_record, open_record
from mm_services.kademlia.protocol.search import SearchResult
from mmplatform.identity.keys import Identity
from tests.sim.dht.members import Member
from tests.sim.dht.network import START, Network

NOW = START


def identity(number: int) -> Identity:
    return Identity.from_seed(number.to_bytes(32, "big"))


def address(number: int) -> Address:
    """Each in a network of its own."""
    return Address(bytes([20 + (number >> 16), number >> 8 & 255, number & 255, 1]), 4000)


def contact(number: int) -> Contact:
    return Contact(number.to_bytes(32, "big"), address(number))


def record(
    owner: Identity, name: str = "name", value: bytes = b"value", seq: int = 1, expires: int = int(NOW) + 3600
) -> SignedRecord:
    return open_record(make_record(owner, name, value, seq, expires), NOW)


class World:
    """Members that all joined through the first."""

    def __init__(self, count: int, seed: int = 1, **options: Any) -> None:
        self.network = Network(seed, **options)
        self.members = [Member(self.network) for _ in range(count)]
        for member in self.members[1:]:
            member.join(self.members[0])
        self.network.run(self.network.now + 5)

    def run(self, seconds: float) -> None:
        self.network.run(self.network.now + seconds)

    def put(self, member: Member, what: SignedRecord) -> int:
        stored: list[int] = []
        member.do(lambda: member.node.put(what.keys[0], what, stored.append))
        self.network.run(lambda: bool(stored))
        return stored[0]

    def get(self, member: Member, key: int) -> SearchResult:
        found: list[SearchResult] = []
        member.do(lambda: member.node.get(key, found.append))
        self.network.run(lambda: bool(found))
        return found[0]

    def holders(self, key: int) -> list[Member]:
        return [m for m in self.members if m.node.store.get(key, self.network.now) is not None]


__all__ = ["NOW", "Contact", "Member", "World", "address", "contact", "identity", "node_id", "record"]
