"""Two that are killed at any point, and relays that fail, by seed: nothing is lost, all is in order and handled once.

Only what was handled in the instant of a kill, and not yet saved as handled, may come again.
"""

import asyncio
import random

import pytest

from mm_transports.memory import Network
from mmplatform.delivery import letters
from mmplatform.mail import acknowledgements as replies
from mmplatform.mail import incoming, outgoing
from mmplatform.mail import mailer as mail
from tests.support.relays import Disk, Person, Relay, people, shuffled
from tests.support.waiting import pace, until

pytestmark = pytest.mark.slow  # all of it takes many seconds

STEPS = 40


class Life:
    """What happens to two people, drawn from a seed."""

    def __init__(self, seed: int, network: Network | None = None) -> None:
        self.chance = chance = random.Random(seed)
        self.relays = [Relay("one"), Relay("two")]

        def turns() -> int:
            return chance.choice((0, 0, 1, 3, 20))

        self.alice = Person(1, *self.relays, network=network, disk=Disk(turns=turns))
        self.bob = Person(2, *reversed(self.relays), network=network, disk=Disk(turns=turns))
        self.accepted: dict[Person, list[int]] = {self.alice: [], self.bob: []}
        self.offered: dict[Person, int] = {self.alice: 0, self.bob: 0}
        self.network = network
        self.forgot = False  # a relay ended what it should have kept
        self.run_of: dict[tuple[Person, int], int] = {}  # of the sender

    async def step(self) -> None:
        chance = self.chance
        person = chance.choice((self.alice, self.bob))
        match chance.choice(("start", "stop", "kill", "kill", "send", "send", "send", "relay", "time")):
            case "start" if person.node is None:
                await person.start()
                await self.meet()
            case "stop" if person.node is not None:
                await person.stop()
            case "kill" if person.node is not None:
                await self.pass_turns(chance.randrange(30))
                await person.kill()
            case "send" if person.node is not None:
                await self.send(person, chance.choice((1, 2, 30, 700)))
            case "relay":
                self.shake(chance.choice(self.relays))
            case "time":
                await pace(chance.random() / 20)
        await self.pass_turns(chance.choice((0, 3, 50, 400)))

    async def send(self, person: Person, how_many: int) -> None:
        """Some are killed before all of it is accepted."""
        to = self.bob if person is self.alice else self.alice
        first = self.offered[person]
        self.offered[person] += how_many
        self.run_of |= {(person, number): len(person.runs) for number in range(first, first + how_many)}
        tasks = [
            asyncio.create_task(person.up.messaging.send("chat", to.sign_id, number))
            for number in range(first, first + how_many)
        ]
        if self.chance.random() < 0.2:
            await self.pass_turns(self.chance.randrange(4))
            await person.kill()
        for number, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True), first):
            if not isinstance(result, BaseException) and person.node is not None:
                self.accepted[person].append(number)

    def shake(self, relay: Relay) -> None:
        chance = self.chance
        match chance.choice(("well", "down", "deaf", "full", "mixed up", "twice", "silent", "forgets")):
            case "well":
                self.heal(relay)
            case "down":
                relay.up = False
            case "deaf":
                relay.deaf = True
            case "full":
                relay.declined = "overflow"
            case "mixed up":
                relay.order = shuffled(chance.randrange(1000))
            case "twice":
                relay.copies = 2
            case "silent":
                relay.handing_out = False
            case "forgets":
                self.forgot = True
                for peer in list(relay.boxes):
                    relay.end_all(peer, chance.choice(("expired", "unknown", "delivered")))

    def heal(self, relay: Relay) -> None:
        relay.up, relay.deaf, relay.declined, relay.order, relay.copies = True, False, "", list, 1
        relay.handing_out = True
        for peer in list(relay.boxes):
            relay.push(peer)
            relay.tell(peer)

    async def meet(self) -> None:
        """Both are there, on a network: they may find each other."""
        if self.network is not None and self.alice.node is not None and self.bob.node is not None:
            await self.bob.up.add(self.alice.up.ticket())
            await self.alice.up.add(self.bob.up.ticket())

    async def end(self) -> None:
        """All is well at last."""
        for relay in self.relays:
            self.heal(relay)
        for person in (self.alice, self.bob):
            if person.node is None:
                await person.start()
        await self.meet()
        for person in (self.alice, self.bob):
            for peer in person.up.parts.peers.by_id.values():
                person.up.parts.mailer.nudge(peer.sign_id)
        await until(lambda: all(p.up.parts.outbox.queue(q.sign_id).empty for p, q in self.pairs()), 40)

    def pairs(self) -> list[tuple[Person, Person]]:
        return [(self.alice, self.bob), (self.bob, self.alice)]

    async def pass_turns(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)


def check(life: Life, sender: Person, heard: Person) -> None:
    """A relay that ends a letter early may let what a later run of the sender left there pass it, and nothing else."""
    first_times = list(dict.fromkeys(heard.heard))
    assert set(life.accepted[sender]) <= set(first_times), "lost"
    if life.forgot:
        first_times.sort(key=lambda number: life.run_of[sender, number])
    assert first_times == sorted(first_times), "out of order"
    for number, run in enumerate(heard.runs):
        assert len(run) == len(set(run)), "twice in one run"
        again = {payload for later in heard.runs[number + 1 :] for payload in later} & set(run)
        assert not again or number in heard.killed, "again, though nobody was killed"


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_lost_or_comes_twice(seed: int, linked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_PATIENCE", 0.3)
    monkeypatch.setattr(letters, "LONGEST_PATIENCE", 1.0)
    monkeypatch.setattr(outgoing, "LONGEST_PAUSE", 0.3)
    monkeypatch.setattr(replies, "INTERVAL", 0.01)
    monkeypatch.setattr(incoming, "PATIENCE", 0.3)
    monkeypatch.setattr(mail, "ASK_AGAIN", 2.0)
    life = Life(seed, Network() if linked else None)
    async with people(life.alice, life.bob):
        for _ in range(STEPS):
            await life.step()
        await life.end()
        check(life, life.alice, life.bob)
        check(life, life.bob, life.alice)
