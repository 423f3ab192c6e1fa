"""Mail over relays as a transport: left, taken, declined, lost on its way; and what relays may not say."""

import asyncio
from typing import Any

import pytest

from mm_relay.ports import RelaySession
from mm_transports.relay import mail as mail_client
from mm_transports.relay import multiplexer as multiplexer
from mm_transports.relay.protocol.items import (
    Closed,
    Declined,
    Deposit,
    Ended,
    Forwarded,
    Item,
    Mail,
    Noted,
    Open,
    Pause,
    Present,
    Resume,
    RoomAgain,
    Stored,
    Taken,
)  # fmt: skip
from mmplatform.errors import MailDeclined, MailHeldUp, MailUncertain, Unreachable
from tests.support.relay_nodes import ALICE, BOB, CARA, LATER, MAIL_ID, RELAY, Node
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("at_once")


# Mail.


async def test_mail_is_left_taken_and_its_end_is_told(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    assert await alice.deposit(relay, BOB) == LATER
    await until(lambda: bob.mail)
    envelope, taken = bob.mail[0]
    assert envelope == b"sealed"
    taken(True)
    taken(False)  # once is enough
    await until(lambda: alice.ended)
    assert alice.ended == [(BOB.sign_id, MAIL_ID, "delivered")]
    await until(lambda: Noted(1) in relay.said)
    assert relay.mail[BOB.sign_key] == {}
    await alice.deposit(relay, BOB, b"j" * 16)
    await until(lambda: len(bob.mail) == 2)
    bob.mail[1][1](False)
    await until(lambda: len(alice.ended) == 2)
    assert alice.ended[1] == (BOB.sign_id, b"j" * 16, "refused")


async def test_mail_that_is_held_up_on_its_way_is_told(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair

    def hold_up(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit):
            session.tell(Stored(item.peer, item.id, item.expires - 7, held_up=True))
        return isinstance(item, Deposit)

    relay.intercept = hold_up
    with pytest.raises(MailHeldUp) as caught:
        await alice.deposit(relay, BOB)
    assert caught.value.until == LATER - 7


async def test_mail_is_dated_by_the_clock_of_the_relay(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    ahead = 20 * 86_400_000
    alice.relay._homes[relay.identity.sign_id].client.skew = ahead / 1000
    assert await alice.deposit(relay, BOB) == LATER
    assert [item.expires for item in relay.said if isinstance(item, Deposit)] == [LATER + ahead]


async def test_mail_that_expires_by_a_clock_not_known_yet_is_dated_anew(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    client = alice.relay._homes[relay.identity.sign_id].client
    client.skew = 0.0  # as with the first items, which do not wait for the welcome

    def expire(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit) and item.expires == LATER:
            client.skew = 20 * 86_400.0
            session.tell(Declined(item.peer, item.id, "expired"))
            return True
        return False

    relay.intercept = expire
    assert await alice.deposit(relay, BOB) == LATER


async def test_what_is_taken_in_one_turn_is_told_at_once(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await asyncio.gather(*(alice.deposit(relay, BOB, bytes([n]) * 16) for n in range(20)))
    await until(lambda: len(bob.mail) == 20)
    for _, taken in bob.mail:
        taken(True)
    await until(lambda: len(alice.ended) == 20)
    assert [item.numbers for item in relay.said if isinstance(item, Taken)] == [list(range(1, 21))]
    await until(lambda: Noted(20) in relay.said)
    assert [item for item in relay.said if isinstance(item, Noted)] == [Noted(20)]


async def test_mail_in_hand_is_not_given_twice_and_what_was_taken_meanwhile_is_told(
    relay: Tiny, pair: tuple[Node, Node]
) -> None:
    alice, bob = pair
    await alice.deposit(relay, BOB, b"1" * 16)
    await alice.deposit(relay, BOB, b"2" * 16)
    await until(lambda: len(bob.mail) == 2)
    await relay.stop()
    await until(lambda: not bob.relay._homes[RELAY.sign_id].client.open)
    bob.mail[0][1](True)  # the relay cannot hear it
    await relay.start()
    await until(lambda: [1] in [item.numbers for item in relay.said if isinstance(item, Taken)])
    bob.mail[1][1](True)
    await until(lambda: [2] in [item.numbers for item in relay.said if isinstance(item, Taken)])
    assert len(bob.mail) == 2


async def test_a_relay_that_began_anew_gives_numbers_again(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await alice.deposit(relay, BOB)
    await until(lambda: bob.mail)
    bob.mail[0][1](True)
    relay.sessions[BOB.sign_key].tell(Mail(1, CARA.sign_key, b"another"))
    await until(lambda: len(bob.mail) == 2)
    assert bob.mail[1][0] == b"another"


async def test_declined(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair

    def decline(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit):
            session.tell(Declined(item.peer, item.id, "overflow", 2500))
        return True

    relay.intercept = decline
    with pytest.raises(MailDeclined) as caught:
        await alice.deposit(relay, BOB)
    assert (caught.value.reason, caught.value.retry) == ("overflow", 2.5)
    relay.sessions[ALICE.sign_key].tell(RoomAgain(BOB.sign_key))
    await until(lambda: alice.rooms == [BOB.sign_id])


async def test_why_mail_is_declined_steers_no_terminal(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    hostile = "\x1b[2J\x9b\u202e\r\nforged"
    relay.intercept = lambda session, item: session.tell(Declined(item.peer, item.id, hostile, 0)) or True  # type: ignore
    with pytest.raises(MailDeclined) as caught:
        await alice.deposit(relay, BOB)
    assert caught.value.reason == "\\x1b[2J\\x9b\\u202e\\r\\nforged"
    assert "\x1b" not in str(caught.value)


async def test_too_large_is_known_here(nodes: Any) -> None:
    strict = await Tiny(RELAY, mail=100).start()
    alice = nodes(ALICE)
    await alice.home(strict)
    with pytest.raises(MailDeclined, match="too-large"):
        await alice.deposit(strict, BOB, envelope=bytes(101))
    assert strict.said == []
    await strict.stop()


async def test_a_loss_while_mail_is_under_way(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    both = [asyncio.create_task(alice.deposit(relay, BOB)) for _ in range(2)]
    await until(lambda: relay.said)
    await relay.stop()
    for task in both:
        with pytest.raises(MailUncertain):
            await task
    assert len(relay.said) == 1  # the same twice is one deposit
    await until(lambda: not alice.relay._homes[RELAY.sign_id].client.open)
    with pytest.raises(Unreachable) as caught:
        await alice.deposit(relay, BOB)
    assert caught.type is Unreachable
    relay.intercept = lambda session, item: False
    await relay.start()
    await until(lambda: alice.rooms == [BOB.sign_id])  # worth another try
    assert await alice.deposit(relay, BOB) == LATER


async def test_a_guest_that_never_got_there_is_certain(nodes: Any) -> None:
    tiny = await Tiny(RELAY).start()
    await tiny.stop()
    with pytest.raises(Unreachable) as caught:
        await nodes(ALICE).deposit(tiny, BOB)
    assert caught.type is Unreachable


async def test_no_answer(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_client, "ANSWER_TIMEOUT", 0.02)
    alice, _ = pair
    relay.intercept = lambda session, item: True
    with pytest.raises(MailUncertain, match="no answer"):
        await alice.deposit(relay, BOB)
    relay.sessions[ALICE.sign_key].tell(Stored(BOB.sign_key, MAIL_ID, LATER))  # late
    relay.intercept = lambda session, item: False
    assert await alice.deposit(relay, BOB, b"k" * 16) == LATER


async def test_deposits_take_turns(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_client, "MAX_PENDING_DEPOSITS", 2)
    alice, _ = pair
    held: list[tuple[RelaySession, Deposit]] = []

    def hold(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit):
            held.append((session, item))
        return True

    relay.intercept = hold
    tasks = [asyncio.create_task(alice.deposit(relay, BOB, bytes([n]) * 16)) for n in range(5)]
    for _ in tasks:
        await until(lambda: held)
        assert len(held) <= 2
        session, item = held.pop(0)
        session.tell(Stored(item.peer, item.id, item.expires + 5))
    assert await asyncio.gather(*tasks) == [LATER] * 5
    waiting = [asyncio.create_task(alice.deposit(relay, BOB, bytes([n]) * 16)) for n in range(3)]
    await until(lambda: len(held) == 2)
    waiting[2].cancel()
    await asyncio.gather(waiting[2], return_exceptions=True)
    waiting[0].cancel()  # what is under way stays so
    await until(waiting[0].done)
    for session, item in held:
        session.tell(Stored(item.peer, item.id, item.expires))
    assert await waiting[1] == LATER


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([Deposit(BOB.sign_key, MAIL_ID, 1, b"")], "does not say Deposit"),
        ([Taken([1])], "does not say Taken"),
        ([Noted(1)], "does not say Noted"),
        ([Forwarded(BOB.sign_key, ALICE.sign_key, Present(BOB.sign_key))], "does not say Forwarded"),
        ([Ended(1, BOB.sign_key, MAIL_ID, "eaten")], "cannot end"),
        ([Mail(n, BOB.sign_key, b"") for n in range(4)], "flood"),
        ([Mail(n, BOB.sign_key, bytes(600)) for n in range(2)], "flood"),
    ],
)
async def test_what_a_relay_may_not_say(
    relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, items: list[Item], reason: str
) -> None:
    monkeypatch.setattr(mail_client, "IN_HAND", 3)
    monkeypatch.setattr(mail_client, "IN_HAND_BYTES", 1000)
    alice, _ = pair
    for item in items:
        relay.sessions[ALICE.sign_key].tell(item)
    await until(lambda: alice.relay.troubles()[relay.address])
    assert reason in alice.relay.troubles()[relay.address]
    assert not alice.relay._homes[RELAY.sign_id].client.open


async def test_what_a_relay_says_of_nothing_we_know_changes_nothing(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    session = relay.sessions[ALICE.sign_key]
    for item in (
        Closed(CARA.sign_key, 0, "gone"), Closed(CARA.sign_key, 9, "gone"), Pause(CARA.sign_key), Resume(BOB.sign_key),
        Stored(CARA.sign_key, MAIL_ID, 1), Declined(CARA.sign_key, MAIL_ID, "quota"),
        Open(ALICE.sign_key, 5, b"from ourselves"),
    ):  # fmt: skip
        session.tell(item)
    await alice.dial(relay, BOB)
    await bob.came.get()
    await until(lambda: Closed(ALICE.sign_key, 5, "denied") in relay.said)
    assert alice.relay._homes[RELAY.sign_id].client.up
