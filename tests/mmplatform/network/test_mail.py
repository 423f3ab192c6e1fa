"""Mail between two platforms over a relay that is scripted: nobody is there at the same time unless a test says so."""

import asyncio
from typing import Any

from tests.mmplatform.network.helpers import until
from tests.mmplatform.network.relays import Person, Relay, people


async def sent(person: Person, to: Person, *payloads: Any, **options: Any) -> list[Any]:
    return [await person.up.messaging.send("chat", to.sign_id, payload, **options) for payload in payloads]


async def test_a_message_to_somebody_who_is_away_is_relayed_then_delivered() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, "hi")
        await until(lambda: delivery.state == "relayed")
        assert await alice.up.delivery(delivery.id) == "relayed"
        [waiting] = await alice.up.outbox.waiting()
        assert (waiting.state, waiting.why) == ("relayed", "")
        assert not await alice.up.outbox.cancel(delivery.id)
        await bob.start()
        outcome = await delivery
        assert outcome.state == "delivered"
        assert bob.heard == ["hi"]
        await until(lambda: not relay.waiting(alice.sign_id) and not relay.waiting(bob.sign_id))
    assert alice.errors == bob.errors == []


async def test_ten_thousand_for_somebody_away_and_the_sender_gone_when_they_are_read() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        deliveries = await asyncio.gather(
            *(alice.up.messaging.send("chat", bob.sign_id, number) for number in range(10_000))
        )
        await until(lambda: deliveries[-1].state == "relayed")
        ids = [delivery.id for delivery in deliveries]
        await alice.stop()
        letters = relay.deposits
        await bob.start()
        await until(lambda: len(bob.heard) == 10_000 and not relay.waiting(bob.sign_id))
        assert bob.heard == list(range(10_000))
        await bob.stop()
        await alice.start()
        await until(lambda: alice.up.outbox.box(bob.sign_id).empty)
        assert {await alice.up.delivery(name) for name in ids} == {"delivered"}
        assert len(alice.up.outbox.box(bob.sign_id).letters) == 0
        assert relay.deposits < letters * 3
    assert letters < 100


async def test_what_was_relayed_is_not_deposited_again_after_a_restart() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, 1, 2, 3)
        await until(lambda: all(letter.state == 2 for letter in alice.up.outbox.box(bob.sign_id).letters))
        before = relay.deposits
        for _ in range(2):
            await alice.stop()
            await alice.start()
        [last] = await sent(alice, bob, 4)
        await until(lambda: last.state == "relayed")
        assert relay.deposits == before + 1
        await bob.start()
        await until(lambda: bob.heard == [1, 2, 3, 4])


async def test_both_write_and_are_never_there_together() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        for turn in range(6):
            me, other = (alice, bob) if turn % 2 == 0 else (bob, alice)
            await me.start()
            deliveries = await sent(me, other, *range(turn * 10, turn * 10 + 10))
            await until(lambda d=deliveries: d[-1].state == "relayed")
            await until(lambda me=me: not relay.waiting(me.sign_id))
            await me.stop()
        await alice.start()
        await until(lambda: alice.up.outbox.box(bob.sign_id).empty and not relay.waiting(alice.sign_id))
        await alice.stop()
        await bob.start()
        await until(lambda: bob.up.outbox.box(alice.sign_id).empty and not relay.waiting(bob.sign_id))
    assert bob.heard == [*range(10), *range(20, 30), *range(40, 50)]
    assert alice.heard == [*range(10, 20), *range(30, 40), *range(50, 60)]
