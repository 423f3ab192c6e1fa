"""Who meets whom and when, and what a policy makes of it: a seeded simulation of carriers.

Run as a program, it prints what each policy does with each kind of movement.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mm_services.messenger.protocol.routing import Epidemic, Prophet, Routed, RoutingPolicy, SprayAndWait
from mmplatform.identity.keys import SignId

HOUR = 3600.0
STOP = 1800.0  # seconds that a bus stands in a village
VILLAGES = 4
NODES = [SignId(f"node-{number:02}") for number in range(20)]

Contact = tuple[float, SignId, SignId]
MakePolicy = Callable[[SignId], RoutingPolicy]

POLICIES: dict[str, MakePolicy] = {
    "epidemic": lambda own: Epidemic(),
    "spray": lambda own: SprayAndWait(8),
    "prophet": Prophet,
}


def wandering(seed: int, hours: float, meetings: float = 40.0) -> list[Contact]:
    """Return the contacts of nodes that wander about: any two meet, at any time, so many an hour."""
    rnd, now, found = random.Random(seed), 0.0, []
    while (now := now + rnd.expovariate(meetings / HOUR)) < hours * HOUR:
        found.append((now, *rnd.sample(NODES, 2)))
    return found


def villages(seed: int, hours: float) -> list[Contact]:
    """Return the contacts in four villages in a circle, with a bus between each two neighbouring ones.

    Four live in each village and stay there. A bus stands in one village, then in the other, in turn; those who live
    there come by now and then. Two buses are never in the same village at once.
    """
    rnd, found = random.Random(seed), []
    buses, people = NODES[:VILLAGES], NODES[VILLAGES:]
    homes = [people[village::VILLAGES] for village in range(VILLAGES)]
    for stop in range(int(hours * HOUR / STOP)):
        begins = stop * STOP
        for village, living in enumerate(homes):
            found += [(begins + rnd.uniform(0, STOP), *rnd.sample(living, 2)) for _ in range(2)]
            bus = buses[village if stop % 2 == 0 else village - 1]
            found += [(begins + rnd.uniform(0, STOP), bus, one) for one in living if rnd.random() < 0.4]
    return sorted(found)


class Sent(NamedTuple):
    """A message: who writes it when, to whom."""

    at: float
    sender: SignId
    to: SignId


def messages(seed: int, count: int, begins: float, ends: float, among: list[SignId]) -> list[Sent]:
    rnd = random.Random(seed)
    return sorted(Sent(rnd.uniform(begins, ends), *rnd.sample(among, 2)) for _ in range(count))


@dataclass
class Outcome:
    """What became of all messages."""

    sent: int
    delays: list[float] = field(default_factory=list)
    transmissions: int = 0

    @property
    def ratio(self) -> float:
        return len(self.delays) / self.sent

    @property
    def delay(self) -> float:
        """The mean, in hours."""
        return sum(self.delays) / len(self.delays) / HOUR if self.delays else 0.0


class Carriers:
    """All nodes: what each has, and its policy."""

    def __init__(self, make: MakePolicy, capacity: int) -> None:
        self.policies = {one: make(one) for one in NODES}
        self.held: dict[SignId, dict[bytes, Routed]] = {one: {} for one in NODES}
        self.capacity, self.outcome = capacity, Outcome(0)

    def write(self, message: Sent) -> None:
        name = self.outcome.sent.to_bytes(16)
        self.outcome.sent += 1
        copies = self.policies[message.sender].copies
        self.held[message.sender][name] = Routed(name, (message.to,), int(message.at * 1e6), copies)

    def meet(self, now: float, one: SignId, other: SignId) -> None:
        tables = {peer: self.policies[peer].table(now) for peer in (one, other)}
        for here, there in ((one, other), (other, one)):
            self.policies[here].met(there, now)
            self.policies[here].told(there, tables[there], now)
        for here, there in ((one, other), (other, one)):
            lacking = [bundle for name, bundle in self.held[here].items() if name not in self.held[there]]
            for bundle, copies in self.policies[here].chosen(lacking, there, now)[: self.capacity]:
                self._hand(bundle, copies, here, there, now)

    def _hand(self, bundle: Routed, copies: int, here: SignId, there: SignId, now: float) -> None:
        self.outcome.transmissions += 1
        self.held[here][bundle.id] = bundle._replace(copies=bundle.copies - copies)
        self.held[there][bundle.id] = bundle._replace(copies=copies)
        if there in bundle.recipients:
            self.outcome.delays.append(now - bundle.created / 1e6)


def run(make: MakePolicy, contacts: list[Contact], sent: list[Sent], capacity: int = 1000) -> Outcome:
    """Return what becomes of messages when these meet, with so many bundles a meeting and way."""
    carriers, waiting = Carriers(make, capacity), iter(sent)
    message = next(waiting, None)
    for now, one, other in contacts:
        while message is not None and message.at <= now:
            carriers.write(message)
            message = next(waiting, None)
        carriers.meet(now, one, other)
    return carriers.outcome


def scenarios(seed: int) -> Iterator[tuple[str, list[Contact], list[Sent]]]:
    """Yield both kinds of movement with messages; there are six hours before in which to learn it."""
    yield "wandering", wandering(seed, 30), messages(seed, 100, 6 * HOUR, 18 * HOUR, NODES)
    yield "villages", villages(seed, 30), messages(seed, 100, 6 * HOUR, 18 * HOUR, NODES[VILLAGES:])


def main() -> None:
    print("movement   policy    delivered  mean delay  transmissions a message")
    for number, (name, _, _) in enumerate(scenarios(0)):
        for policy, make in POLICIES.items():
            runs = [run(make, *list(scenarios(seed))[number][1:]) for seed in range(5)]
            ratio, delay = (
                sum(values) / len(runs) for values in zip(*((one.ratio, one.delay) for one in runs), strict=True)
            )
            each = sum(one.transmissions for one in runs) / sum(one.sent for one in runs)
            print(f"{name:10} {policy:9} {ratio:8.0%}  {delay:8.1f} h  {each:8.1f}")


if __name__ == "__main__":
    main()
