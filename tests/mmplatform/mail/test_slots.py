"""Letters under way are shared out: a relay that is dead takes few of them, so that mail for others is not held up."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mmplatform.mail import slots as module
from mmplatform.mail.slots import OF_UNPROVEN, Slots
from mmplatform.plugins.mail_carrier import MailCarrier
from tests.support.relays import Mailbox, Person, Relay, people
from tests.support.waiting import until

DEAD = 70  # peers whose relay is dead: four letters of each are more than may be under way to all


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def begun(*waiting: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    return [asyncio.ensure_future(each) for each in waiting]


async def test_an_unproven_relay_has_few_and_others_have_theirs_at_once() -> None:
    slots = Slots(lambda relay: relay == "good")
    dead = begun(*(slots.take("dead") for _ in range(OF_UNPROVEN + 2)))
    good = begun(*(slots.take("good") for _ in range(OF_UNPROVEN + 2)))
    await turns()
    assert [task.done() for task in dead] == [True] * OF_UNPROVEN + [False] * 2
    assert all(task.done() for task in good)
    slots.give_back("dead")
    await turns()
    assert [task.done() for task in dead].count(False) == 1
    slots.give_back("dead")
    await asyncio.gather(*dead)
    assert slots._waiting == {}


async def test_a_relay_that_has_kept_a_letter_has_more() -> None:
    proven: set[str] = set()
    slots = Slots(lambda relay: relay in proven)
    tasks = begun(*(slots.take("r") for _ in range(OF_UNPROVEN * 3)))
    await turns()
    assert sum(task.done() for task in tasks) == OF_UNPROVEN
    proven.add("r")
    slots.give_back("r")
    await asyncio.gather(*tasks)


async def test_the_sum_is_bounded_and_room_goes_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 6)
    slots = Slots(lambda relay: True)
    tasks = begun(*(slots.take(relay) for relay in "aaabbbccc"))
    await turns()
    assert sum(task.done() for task in tasks) == 6
    slots.give_back("a")
    slots.give_back("b")
    slots.give_back("b")
    await asyncio.gather(*tasks)


async def test_a_turn_that_is_given_up_goes_to_the_next() -> None:
    slots = Slots(lambda relay: False)
    for _ in range(OF_UNPROVEN):
        await slots.take("r")
    first, second = begun(slots.take("r"), slots.take("r"))
    await turns()
    slots.give_back("r")
    first.cancel()  # in the turn in which it was called
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert slots._waiting == {}


async def test_letters_for_a_dead_relay_hold_up_no_letter_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay takes what it is told and does not answer; a deposit may take half a minute."""
    dead, good = Relay("dead"), Relay("good")
    alice, bob = Person(1, good), Person(2, good)
    away = [Person(number, dead) for number in range(100, 100 + DEAD)]
    deposit = Mailbox.deposit

    async def hang(mailbox: Mailbox, address: str, *arguments: Any) -> int:
        if address == dead.address:
            await asyncio.Event().wait()
        return await deposit(mailbox, address, *arguments)

    monkeypatch.setattr(Mailbox, "deposit", hang)
    assert issubclass(Mailbox, MailCarrier)
    async with people(alice, bob, *away):
        node = await alice.start()
        large = "x" * 60_000
        for person in away:
            for _ in range(4):
                await node.messaging.send("chat", person.sign_id, large)
        mailer = node.parts.mailer
        await until(lambda: mailer._slots._taken[dead.address] == OF_UNPROVEN)
        await until(lambda: len(mailer._outgoing) == DEAD)
        delivery = await node.messaging.send("chat", bob.sign_id, "not held up")
        await until(lambda: delivery.state == "relayed", 5)
