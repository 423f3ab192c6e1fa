"""Who is in the simulated DHT: honest nodes, and four kinds of hostile ones (design: poison, garbage, old, sybil)."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, K, node_id, prove
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.records import make_record
from mm_services.kademlia.protocol.wire import (
    Find,
    FindReply,
    Proof,
    Store,
    Verdict,
    address_of,
    pack,
    pack_reply,
    parse,
    place,
)
from mmplatform.identity.keys import Identity
from tests.sim.dht.network import Network


class Member:
    """A node with an address on the virtual network, and its one timer."""

    machine: Callable[..., Node] = Node

    def __init__(
        self, network: Network, address: Address | None = None, identity: Identity | None = None, **options: Any
    ) -> None:
        self.network = network
        self.address = address or network.address()
        self.identity = identity or Identity.from_seed(network.draw(32))
        self.node = self.machine(self.identity, self.send, network.draw, network.now, **options)
        self.node.peers.own = frozenset([self.address])
        self._wakes = float("inf")
        network.endpoints[self.address] = self
        self.wake()

    @property
    def id(self) -> int:
        return self.node.peers.id

    @property
    def alive(self) -> bool:
        return self.network.endpoints.get(self.address) is self

    def die(self) -> None:
        del self.network.endpoints[self.address]

    def send(self, data: bytes, to: Address) -> None:
        self.network.send(data, to, self.address)

    def receive(self, datagram: bytes, came_from: Address, now: float) -> None:
        self.node.receive(datagram, came_from, now)
        self.wake()

    def join(self, *seeds: "Member") -> None:
        self.do(lambda: self.node.upkeep.join([(seed.address, None) for seed in seeds]))

    def do(self, action: Callable[[], Any]) -> Any:
        """Something of the application."""
        self.node.peers.now = self.network.now
        result = action()
        self.wake()
        return result

    def wake(self) -> None:
        deadline = self.node.deadline()
        if deadline < self._wakes:
            self._wakes = deadline
            self.network.at(deadline, lambda: self._due(deadline))

    def _due(self, deadline: float) -> None:
        if deadline != self._wakes or not self.alive:
            return
        self._wakes = float("inf")
        self.node.due(self.network.now)
        self.wake()


class Hostile(Member):
    """Joins like everybody, says it keeps what it is given, and answers what it likes. ``forged``: how many lies."""

    def __init__(self, network: Network, pool: "Pool", **options: Any) -> None:
        super().__init__(network, **options)
        self.pool = pool
        self.first: dict[int, bytes] = {}  # what it was given to begin with
        self.told = 0

    def receive(self, datagram: bytes, came_from: Address, now: float) -> None:
        message = parse(datagram)
        if isinstance(message, Store):
            self.first.setdefault(int.from_bytes(message.target, "big"), message.record)
            self.send(pack(Verdict(message.tx, 0)), came_from)
        elif isinstance(message, Find) and (message.count or self.network.random.random() < 0.5):
            self.told += 1
            answer = self.answer(message, came_from, 3 * len(datagram))
            if answer is not None:
                self.send(answer, came_from)
        else:
            super().receive(datagram, came_from, now)

    def answer(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        raise NotImplementedError

    def reply(
        self, query: Find, came_from: Address, limit: int, record: bytes, held: int, contacts: list[Contact]
    ) -> bytes | None:
        """A reply that proves its sender."""
        proof = Proof(*prove(self.identity, address_of(query.to), self.network.now))
        reply = FindReply(
            query.tx, self.identity.sign_key, place(came_from), b"\x07" * 8, proof, held, record, [], False
        )
        return pack_reply(reply, contacts, limit)


class Poisoner(Hostile):
    """Forged records, and contacts that lead nowhere, closer than anybody else's."""

    def answer(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        target = int.from_bytes(query.target, "big")
        forged = [
            make_record(self.identity, "poison", b"evil", 2**53 - 1, int(self.network.now) + 3600),
            self.first.get(target, b"")[:-1] + b"\x00",
            b"\xc1" * 40,
        ]
        record = self.network.random.choice(forged) if self.network.random.random() < 0.5 else b""
        return self.reply(query, came_from, limit, record, 2**53 - 1, self.pool.near(target))


class Garbler(Hostile):
    """Datagrams that are damaged, truncated or noise."""

    def answer(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        good = self.reply(query, came_from, limit, b"", 0, []) or b""
        kind = self.network.random.randrange(3)
        if kind == 0:
            return self.network.draw(200)
        if kind == 1:
            return good[: self.network.random.randrange(len(good))]
        place_ = self.network.random.randrange(4, len(good))
        return good[:place_] + self.network.draw(1) + good[place_ + 1 :]


class Hoarder(Hostile):
    """Always the first record it was given, however old, and honest contacts."""

    def answer(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        target = int.from_bytes(query.target, "big")
        self.node.peers.now = self.network.now
        record = self.first.get(target, b"")
        return self.reply(
            query, came_from, limit, record, 1 if record else 0, self.node.peers.closest(target, K, came_from)
        )


class Sybil(Hostile):
    """Many ids on one host; names only its own kind, and keeps nothing."""

    def __init__(self, network: Network, pool: "Pool", **options: Any) -> None:
        super().__init__(network, pool, **options)
        pool.sybils.append(self)

    def answer(self, query: Find, came_from: Address, limit: int) -> bytes | None:
        target = int.from_bytes(query.target, "big")
        kin = sorted(self.pool.sybils, key=lambda member: member.id ^ target)[:K]
        return self.reply(query, came_from, limit, b"", 0, [Contact(one.identity.sign_key, one.address) for one in kin])


class Pool:
    """Keys that nobody holds, sorted, so that some are close to any target; and the sybils that know each other."""

    def __init__(self, network: Network, size: int = 20_000) -> None:
        self.network = network
        self.sybils: list[Sybil] = []
        self._keys = sorted((node_id(key), key) for key in (network.draw(32) for _ in range(size)))

    def near(self, target: int) -> list[Contact]:
        where = bisect_left(self._keys, (target, b""))
        keys = [key for _, key in self._keys[max(0, where - K // 2) : where + K // 2]]
        return [Contact(key, self.network.address()) for key in keys]

    def identity_near(self, target: int, tries: int = 200) -> Identity:
        """What somebody finds who makes so many keys."""
        found = (Identity.from_seed(self.network.draw(32)) for _ in range(tries))
        return min(found, key=lambda identity: node_id(identity.sign_key) ^ target)


Kind = type[Hostile]
KINDS: tuple[Kind, ...] = (Poisoner, Garbler, Hoarder, Sybil)
