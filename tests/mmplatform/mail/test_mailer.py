"""Mail between two platforms over a relay that is scripted: nobody is there at the same time unless a test says so."""

import asyncio
import time

import pytest

from mm_transports.memory import Network
from mmplatform.delivery import letters
from mmplatform.durable import inspection
from mmplatform.errors import Expired, RequestTimeout
from mmplatform.mail import packing
from mmplatform.message import Delivery
from tests.support.relays import Person, Relay, people, sent, shuffled
from tests.support.waiting import until


async def queued(person: Person, delivery: Delivery) -> inspection.QueuedMessage:
    """What the outbox of ``person`` says of one message."""
    [found] = [each async for each in inspection.queued(person.up.parts.outbox) if each.id == delivery.id]
    return found


async def test_a_message_to_somebody_who_is_away_is_relayed_then_delivered() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, "hi")
        await until(lambda: delivery.state == "relayed")
        assert await alice.up.delivery(delivery.id) == "relayed"
        waiting = await queued(alice, delivery)
        assert (waiting.state, waiting.why) == ("relayed", "")
        assert not await inspection.cancel(alice.up.parts.outbox, delivery.id)
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
        await until(lambda: alice.up.parts.outbox.queue(bob.sign_id).empty)
        assert {await alice.up.delivery(name) for name in ids} == {"delivered"}
        assert len(alice.up.parts.outbox.queue(bob.sign_id).letters) == 0
        assert relay.deposits < letters * 3
    assert letters < 100


async def test_what_was_relayed_is_not_deposited_again_after_a_restart() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, 1, 2, 3)
        await until(lambda: all(letter.state == 2 for letter in alice.up.parts.outbox.queue(bob.sign_id).letters))
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
        await until(lambda: alice.up.parts.outbox.queue(bob.sign_id).empty and not relay.waiting(alice.sign_id))
        await alice.stop()
        await bob.start()
        await until(lambda: bob.up.parts.outbox.queue(alice.sign_id).empty and not relay.waiting(bob.sign_id))
    assert bob.heard == [*range(10), *range(20, 30), *range(40, 50)]
    assert alice.heard == [*range(10, 20), *range(30, 40), *range(50, 60)]


async def test_a_relay_that_mixes_everything_up_and_repeats_it() -> None:
    relay = Relay(order=shuffled(7), copies=2, window=1000)
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        for number in range(300):
            await sent(alice, bob, [number, "x" * 3000])
        await until(
            lambda: alice.up.parts.outbox.queue(bob.sign_id).letters.gap(2, alice.up.parts.epoch, 1, 300) is None
        )
        await until(lambda: len(relay.waiting(bob.sign_id)) > 10)
        await bob.start()
        await alice.up.flush(timeout=20)
        assert [number for number, _ in bob.heard] == list(range(300))
        await until(lambda: not relay.waiting(bob.sign_id))


async def test_mail_and_a_link_bring_the_same_message_and_it_is_handled_once() -> None:
    relay, network = Relay(handing_out=False), Network()
    alice, bob = Person(1, relay, network=network), Person(2, relay, network=network)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, 1, 2)
        await until(lambda: len(relay.waiting(bob.sign_id)) >= 1)
        await bob.start()
        await bob.up.add(alice.up.ticket())
        await bob.up.connect(alice.sign_id)
        deliveries = await sent(alice, bob, 3)
        await alice.up.flush(timeout=20)
        deposits = relay.deposits
        relay.handing_out = True
        relay.push(bob.sign_id)
        await until(lambda: not relay.waiting(bob.sign_id))
        [last] = await sent(alice, bob, 4)
        await last
        assert bob.heard == [1, 2, 3, 4]
        assert relay.deposits == deposits  # with a link up nothing is mailed, acknowledgements neither
        assert deliveries[0].state == "delivered"


async def test_mail_stops_while_there_is_a_link_and_goes_on_when_it_is_lost() -> None:
    relay, network = Relay(), Network()
    alice, bob = Person(1, relay, network=network), Person(2, relay, network=network)
    async with people(alice, bob):
        await alice.start()
        await bob.start()
        await bob.up.add(alice.up.ticket())
        await bob.up.connect(alice.sign_id)
        [first] = await sent(alice, bob, 1)
        await first
        assert relay.deposits == 0
        await bob.stop()
        [second] = await sent(alice, bob, 2)
        await until(lambda: second.state == "relayed")
    assert bob.heard == [1]


async def test_realtime_messages_and_requests_are_never_mailed() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, "durable")
        dropped = await alice.up.messaging.send("chat", bob.sign_id, "now", realtime=True)
        with pytest.raises(RequestTimeout):
            await alice.up.messaging.request("ask", bob.sign_id, timeout=0.2)
        await bob.start()
        await alice.up.flush(timeout=10)
        assert dropped.state == "dropped"
    assert bob.heard == ["durable"]


# Relays that fail.


async def test_the_next_relay_is_taken_when_the_first_is_dead() -> None:
    dead, good = Relay("dead", up=False), Relay("good")
    alice, bob = Person(1, good), Person(2, dead, good)
    async with people(alice, bob):
        await alice.start()
        deliveries = await sent(alice, bob, 1, 2, 3)
        await until(lambda: deliveries[-1].state == "relayed")
        assert dead.deposits == 0
        assert {letter.relay for letter in alice.up.parts.outbox.queue(bob.sign_id).letters} == {good.address}
        await bob.start()
        await alice.up.flush(timeout=10)
    assert bob.heard == [1, 2, 3]


@pytest.mark.parametrize("reason", ["overflow", "quota", "denied", "storage", "too-large"])
async def test_what_is_declined_says_why_and_is_resumed(reason: str) -> None:
    relay = Relay(declined=reason, retry=3600)
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: alice.up.parts.outbox.queue(bob.sign_id).why)
        waiting = await queued(alice, delivery)
        assert waiting.state == delivery.state == "waiting"
        assert reason in waiting.why
        relay.declined = ""
        alice.up.parts.mailer.nudge(bob.sign_id)
        await until(lambda: delivery.state == "relayed")
        waiting = await queued(alice, delivery)
        assert waiting.why == ""


async def test_what_was_declined_can_be_cancelled() -> None:
    relay = Relay(declined="overflow")
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        first, second = await sent(alice, bob, 1, 2)
        await until(lambda: alice.up.parts.outbox.queue(bob.sign_id).why)
        assert await inspection.cancel(alice.up.parts.outbox, first.id)
        relay.declined = ""
        await until(lambda: second.state == "relayed")
        await bob.start()
        await second
        assert first.state == "cancelled"
    assert bob.heard == [2]


async def test_a_relay_whose_answer_is_lost_keeps_the_letter_once() -> None:
    relay = Relay(deaf=True)
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: relay.deposits >= 4)
        assert not await inspection.cancel(alice.up.parts.outbox, delivery.id)  # it may be there
        await alice.stop()
        relay.deaf = False
        await alice.start()
        await until(lambda: all(letter.state == 2 for letter in alice.up.parts.outbox.queue(bob.sign_id).letters))
        assert len(relay.waiting(bob.sign_id)) == 2, "one a lane: that alice has added him, and the message"
        await bob.start()
        await alice.up.flush(timeout=10)
    assert bob.heard == [1]


@pytest.mark.parametrize("state", ["expired", "refused", "overflow", "unknown"])
async def test_what_a_relay_does_not_keep_after_all_is_mailed_again(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "FIRST_PATIENCE", 0.3)
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        first, second = await sent(alice, bob, 1, 2)
        await until(lambda: second.state == "relayed")
        names = {kept.id for kept in relay.waiting(bob.sign_id)}
        relay.end_all(bob.sign_id, state)
        await until(lambda: relay.waiting(bob.sign_id))
        assert not names & {kept.id for kept in relay.waiting(bob.sign_id)}
        await bob.start()
        await asyncio.gather(first, second)
    assert bob.heard == [1, 2]


async def test_a_relay_that_says_delivered_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_PATIENCE", 0.05)
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: delivery.state == "relayed")
        relay.end_all(bob.sign_id, "delivered")
        assert delivery.state == "relayed"
        await until(lambda: relay.deposits == 2)
        await bob.start()
        await delivery
    assert bob.heard == [1]


async def test_a_relay_that_forgot_everything_is_found_out_when_its_time_is_up() -> None:
    relay = Relay(ttl_ms=300)
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: delivery.state == "relayed")
        relay.boxes.clear()
        await until(lambda: relay.waiting(bob.sign_id))
        await bob.start()
        await delivery
    assert bob.heard == [1]


async def test_a_relay_that_keeps_nothing_for_long_is_not_asked_all_the_time() -> None:
    relay = Relay(ttl_ms=50)
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        began = time.monotonic()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: delivery.state == "relayed")
        await until(lambda: relay.deposits > 2)  # a letter a lane
        assert time.monotonic() - began > 0.9


async def test_a_sender_without_a_relay_is_not_acknowledged_by_mail_but_keeps_its_messages() -> None:
    relay = Relay()
    alice, bob = Person(1), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: delivery.state == "relayed")
        await bob.start()
        await until(lambda: not relay.waiting(bob.sign_id))
        assert bob.heard == [1]
        assert delivery.state == "relayed"


async def test_a_dead_relay_of_a_sender_does_not_fill_the_box_of_the_recipient() -> None:
    relay, dead = Relay(), Relay("dead", up=False)
    alice, bob = Person(1, dead), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, 1, 2)
        await until(lambda: relay.waiting(bob.sign_id))
        await bob.start()
        await until(lambda: bob.heard == [1, 2] and not relay.waiting(bob.sign_id))


# What ends otherwise than delivered.


async def test_what_expires_in_the_relay_is_not_handled() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [short] = await sent(alice, bob, "short", expire_after=0.3)
        [long] = await sent(alice, bob, "long")
        await until(lambda: long.state == "relayed" and short.done)
        with pytest.raises(Expired):
            await short
        await bob.start()
        await long
        assert await alice.up.delivery(short.id) == "expired"
    assert bob.heard == ["long"]


async def test_a_message_larger_than_mail_stops_its_lane_and_says_why() -> None:
    relay, network = Relay(), Network()
    alice, bob = Person(1, relay, network=network), Person(2, relay, network=network)
    async with people(alice, bob):
        await alice.start()
        before, large, after = await sent(alice, bob, "before", "x" * 1_200_000, "after")
        [other] = await sent(alice, bob, "other", priority="high")
        await until(lambda: before.state == other.state == "relayed")
        waiting = {each.id: each async for each in inspection.queued(alice.up.parts.outbox)}
        assert waiting[large.id].state == waiting[after.id].state == "waiting"
        assert "too large for mail" in waiting[large.id].why
        assert "too large for mail" in waiting[after.id].why
        await bob.start()
        await bob.up.add(alice.up.ticket())
        await bob.up.connect(alice.sign_id)
        await alice.up.flush(timeout=20)
    assert sorted(len(payload) for payload in bob.heard) == [5, 5, 6, 1_200_000]
    assert [payload[:5] for payload in bob.heard if payload != "other"] == ["befor", "xxxxx", "after"]


async def test_the_largest_message_that_mail_takes() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, b"x" * (packing.LARGEST - 70), "after")
        await bob.start()
        await alice.up.flush(timeout=20)
    assert [len(payload) for payload in bob.heard] == [packing.LARGEST - 70, 5]
