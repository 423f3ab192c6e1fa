"""One run: a network grows, records are published and renewed, a part dies, and look-ups are measured."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.records import SignedRecord, make_record, open_record
from mm_services.kademlia.protocol.search import SearchResult
from tests.sim.dht.members import KINDS, Hostile, Member, Pool, Sybil
from tests.sim.dht.network import Network

JOINED_IN: Final = 30.0  # seconds
IDS_A_SYBIL: Final = 5
LASTS: Final = 24 * 3600


@dataclass
class Measured:
    """What the look-ups gave: seconds until the end, seconds until the newest was heard, hops to it."""

    looked_up: int = 0
    newest: int = 0
    times: list[float] = field(default_factory=list)
    hops: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    wrong: int = 0  # anything returned that its owner did not sign under this name
    poison_told: int = 0

    def share(self) -> float:
        return 100 * self.newest / max(1, self.looked_up)

    def percentile(self, percent: float) -> float:
        """In milliseconds."""
        times = sorted(self.times)
        return 1000 * times[max(0, ceil(len(times) * percent / 100) - 1)] if times else 0.0


class Scenario:
    """``dead`` and ``hostile`` are shares of all nodes."""

    def __init__(
        self,
        nodes: int,
        seed: int,
        *,
        dead: float = 0.0,
        hostile: float = 0.0,
        loss: float = 0.0,
        rtt: float = 0.04,
        records: int = 0,
    ) -> None:
        self.network = Network(seed, rtt, loss)
        self.random = self.network.random
        self.pool = Pool(self.network)
        hostile_count = round(nodes * hostile)
        self.honest = [Member(self.network) for _ in range(nodes - hostile_count)]
        self.published: dict[int, SignedRecord] = {}
        self._dead = round(nodes * dead)
        self._owners = [self.random.choice(self.honest) for _ in range(records or nodes)]
        self.hostile = self._hostile(hostile_count)

    def grow(self) -> None:
        """Everybody joins through one of three nodes."""
        seeds = self.honest[:3]
        everybody = [*self.honest, *self.hostile]
        self.random.shuffle(everybody)
        for member in everybody:
            others = [seed for seed in seeds if seed is not member]
            self.network.at(
                self.network.now + JOINED_IN * self.random.random(),
                lambda member=member, others=others: member.join(*self.random.sample(others, 2)),  # type: ignore[misc]
            )
        self.network.run(self.network.now + JOINED_IN + 90)

    def publish(self, seq: int) -> None:
        """Each record by its owner, then a pause."""
        for number, owner in enumerate(self._owners):
            expires = int(self.network.now) + LASTS
            data = make_record(owner.identity, f"record {number}", f"{seq}".encode() * 30, seq, expires)
            record = open_record(data, self.network.now)
            self.published[record.keys[0]] = record
            when = self.network.now + 10 * self.random.random()
            self.network.at(when, lambda o=owner, r=record: o.do(lambda: o.node.put(r.keys[0], r, _nothing)))  # type: ignore[misc]
        self.network.run(self.network.now + 20)

    def kill(self) -> None:
        for member in self.random.sample([*self.honest, *self.hostile], self._dead):
            member.die()

    def look_up(self, count: int) -> Measured:
        """From honest nodes that are alive, one every 20 ms."""
        measured = Measured()
        alive = [member for member in self.honest if member.alive]
        open_ = [count]
        for number in range(count):
            key = self.random.choice(list(self.published))
            member = self.random.choice(alive)
            self.network.at(
                self.network.now + 0.02 * number, lambda m=member, k=key: self._look_up(m, k, measured, open_)
            )  # type: ignore[misc]
        self.network.run(lambda: not open_[0])
        measured.poison_told = sum(member.told for member in self.hostile)
        return measured

    def _look_up(self, member: Member, key: int, measured: Measured, open_: list[int]) -> None:
        began = self.network.now

        def done(found: SearchResult) -> None:
            open_[0] -= 1
            measured.looked_up += 1
            measured.times.append(self.network.now - began)
            measured.asked.append(found.asked)
            measured.hops.append(found.hops)
            if found.record is not None:
                measured.newest += found.record.data == self.published[key].data
                measured.wrong += found.record.sign_key != self.published[key].sign_key

        member.do(lambda: member.node.get(key, done))

    def _hostile(self, count: int) -> list[Hostile]:
        """Of each kind alike; a sybil's host has several ids, made to be close to a record."""
        made: list[Hostile] = []
        targets = list(range(count))
        for number in targets:
            kind = KINDS[number % len(KINDS)]
            if kind is not Sybil:
                made.append(kind(self.network, self.pool))
                continue
            host = self.network.address().host
            for port in range(IDS_A_SYBIL):
                near = self.random.choice(self._targets())
                made.append(
                    kind(
                        self.network,
                        self.pool,
                        address=Address(host, 5000 + port),
                        identity=self.pool.identity_near(near),
                    )
                )
        return made

    def _targets(self) -> list[int]:
        from mm_services.kademlia.protocol.contact import record_key

        return [record_key(owner.identity.sign_key, f"record {number}") for number, owner in enumerate(self._owners)]


def run(nodes: int, seed: int, look_ups: int, **shares: float) -> Measured:
    """The whole story: grow, publish, renew, lose a part, look up."""
    scenario = Scenario(nodes, seed, **shares)  # type: ignore[arg-type]
    scenario.grow()
    scenario.publish(1)
    scenario.publish(2)
    scenario.kill()
    return scenario.look_up(look_ups)


def _nothing(stored: int) -> None: ...


Action = Callable[[], None]
