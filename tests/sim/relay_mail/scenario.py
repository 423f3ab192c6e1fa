"""One troubled life of two relays and their people, and what must be true at its end."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.sim.relay_mail.clock import run
from tests.sim.relay_mail.office import LIMITS, START, Lines, Office
from tests.sim.relay_mail.people import Person, Sent

TTL = LIMITS.mail_ttl / 1000


class Outcome(NamedTuple):
    seed: int
    accepted: int
    declined: Counter[str]
    ends: Counter[str]
    repeated: int  # ends told a second time: what was handed in twice because an answer was lost
    wrong: list[str]


class Life:
    """``trouble``: relays are killed, links cut, sessions lost; without it everybody only writes and reads."""

    def __init__(self, seed: int, *, steps: int = 200, people: int = 6, trouble: bool = True) -> None:
        self.seed, self.steps, self.trouble = seed, steps, trouble
        self.random = random.Random(seed)
        self.lines = Lines(seed)
        self.offices = [Office(name, self.lines) for name in ("x", "y")]
        self.people = [Person(f"person {n}", self.offices[n % 2], self.random) for n in range(people)]
        self.wrong: list[str] = []

    def run(self) -> Outcome:
        return run(self._live())

    async def _live(self) -> Outcome:
        for office in self.offices:
            await office.open()
        for person in self.people:
            person.arrive()
        for _ in range(self.steps):
            await asyncio.sleep(self.random.random() * 2)
            await self.random.choices(*zip(*self._actions(), strict=True))[0]()
            await self._check_quotas()
        await self._calm()
        self._judge()
        for office in self.offices:
            await office.close()
        sent = [one for person in self.people for one in person.sent.values()]
        ended = [one for one in sent if one.ends]
        return Outcome(
            self.seed,
            sum(one.accepted for one in sent),
            Counter(one.declined for one in sent if one.declined),
            Counter(one.ends[0][1] for one in ended),
            sum(len(one.ends) - 1 for one in ended),
            self.wrong,
        )

    def _actions(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        calm: list[tuple[Callable[[], Awaitable[None]], float]] = [(self._write, 10)]
        if not self.trouble:
            return calm
        return [*calm, (self._vanish, 3), (self._arrive, 3), (self._kill, 1), (self._cut, 1), (self._jump, 0.3)]

    async def _write(self) -> None:
        source, target = self.random.sample(self.people, 2)
        for _ in range(self.random.randrange(1, 6)):
            size = 1100 if self.random.random() < 0.02 else self.random.randrange(10, 1000)
            lifetime = self.random.choice([30.0, 600.0, 2 * TTL])
            source.write(target, size, START + asyncio.get_running_loop().time() + lifetime)

    async def _vanish(self) -> None:
        person = self.random.choice(self.people)
        person.vanish(noticed=self.random.random() < 0.7)
        person.taking = self.random.random() < 0.8

    async def _arrive(self) -> None:
        person = self.random.choice(self.people)
        person.vanish(noticed=self.random.random() < 0.5)
        person.arrive()

    async def _kill(self) -> None:
        office = self.random.choice(self.offices)
        for person in self.people:
            if person.home is office:
                person.vanish(noticed=False)
        await office.close()
        await asyncio.sleep(self.random.random() * 20)
        await office.open()

    async def _cut(self) -> None:
        x, y = self.offices
        self.lines.cut(x.key, y.key)
        asyncio.get_running_loop().call_later(self.random.random() * 100, self.lines.mend, x.key, y.key)

    async def _jump(self) -> None:
        await asyncio.sleep(self.random.random() * 900)

    async def _calm(self) -> None:
        """Everything works again; one person never comes back. Then as long as mail and its notes can take."""
        self.lines.mend(*(office.key for office in self.offices))
        for person in self.people:
            person.vanish(noticed=False)
            person.taking = person is not self.people[0]
            person.arrive()
        await asyncio.sleep(3 * TTL)

    async def _check_quotas(self) -> None:
        """G4"""
        for person in self.people:
            if person.home.store is not None:
                count, size = await person.home.store.filled(person.key)
                if count > LIMITS.recipient_count or size > LIMITS.recipient_bytes:
                    self.wrong.append(f"G4: the box of {person.name} has {count} envelopes of {size} bytes")

    def _judge(self) -> None:
        for person in self.people:
            for sent in person.sent.values():
                self._judge_one(person, sent)
            if not self.trouble:
                self.wrong += [
                    f"G14: {person.name} {order}" for order in person.order.values() if order != sorted(order)
                ]
        for office in self.offices:
            if (office.metrics.mailbox_count, office.metrics.notes) != (0, 0):
                self.wrong.append(f"the store of {office.address} is not empty at the end")

    def _judge_one(self, person: Person, sent: Sent) -> None:
        """G1, G3, G5 and G10 for one envelope."""
        target = next(one for one in self.people if one.key == sent.item.peer)
        name = f"{person.name} to {target.name} {sent.item.id.hex()[-6:]}"
        taken, refused = target.taken.get(sent.item.envelope, 0), sent.item.envelope in target.refused
        if not sent.accepted:
            if not sent.declined:
                self.wrong.append(f"G3: {name}: never answered")
            return
        if not sent.ends:
            self.wrong.append(f"G3: {name}: accepted, and never ended")
            return
        state = sent.ends[0][1]
        if state == "delivered" and not taken:
            self.wrong.append(f"G1: {name}: said to be delivered, but nobody took it")
        if state == "refused" and not refused and len(sent.item.envelope) <= LIMITS.mail:
            self.wrong.append(f"G3: {name}: said to be refused by nobody")
        if state not in ("delivered", "expired", "refused", "overflow"):
            self.wrong.append(f"G3: {name}: ended as {state!r}")
        if sent.local and sent.deposits == 1 and len(sent.ends) != 1:
            self.wrong.append(f"G3: {name}: ended {sent.ends}")
        if not self.trouble and (len(sent.ends) != 1 or taken > 1):
            self.wrong.append(f"G2: {name}: ended {sent.ends}, taken {taken} times")
