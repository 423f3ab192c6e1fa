"""The mailroom of a relay among others: processes of its cluster, and other relays."""

from typing import Any

import pytest

from mm_relay.mailboxes import deposits
from mm_relay.mailboxes import from_relays as federated
from mm_relay.mailboxes import pickup as pickup
from mm_relay.policy import Policy
from mm_relay.stores.local import LocalStore
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import (
    RELAY,
    Declined,
    Deposit,
    Ended,
    Forwarded,
    Mail,
    MailWaiting,
    Noted,
    RoomAgain,
    Stored,
    Taken,
)  # fmt: skip
from tests.sim.relay_mail.clock import settle
from tests.sim.relay_mail.office import START, Office, Told, Woken, deposit, key
from tests.support.mailroom import OTHER, arrive, relay, say, tick

THIRD = Office("third")


# Fleets.


async def test_another_process_is_nudged_once_a_turn(office: Office) -> None:
    assert office.mailroom is not None
    office.mailroom._shared = True
    alice = arrive(office, "alice")
    await say(office, alice, *[deposit("bob") for _ in range(5)])
    assert office.post.told == [(key("bob"), MailWaiting())]


async def test_a_nudge_makes_a_reader_look(office: Office) -> None:
    assert office.mailroom is not None
    bob = arrive(office, "bob")
    await settle()
    await office.store.put(key("bob"), _kept("bob"), deposits.Caps())
    office.mailroom.nudged(Forwarded(office.key, key("bob"), MailWaiting()))
    office.mailroom.nudged(Forwarded(office.key, key("bob"), RoomAgain(key("bob"))))
    await settle()
    assert len(bob.heard(Mail)) == 1


async def test_a_lost_nudge_is_made_up_for(office: Office) -> None:
    assert office.mailroom is not None
    bob = arrive(office, "bob")
    await settle()
    await office.store.put(key("bob"), _kept("bob"), deposits.Caps())
    await tick(office)
    assert bob.heard(Mail) == []
    office.mailroom._shared = True
    await tick(office)
    assert len(bob.heard(Mail)) == 1


def _kept(target: str) -> Any:
    return deposits.StoredEnvelope(0, key("alice"), key(target), bytes(16), int(START * 2000), b"mail")


async def test_mail_another_relay_brings_and_the_note_it_gets(office: Office) -> None:
    there, bob = relay(office), arrive(office, "bob")
    sent = deposit("bob")
    await say(office, there, Forwarded(key("alice"), key("bob"), sent))
    assert [(one.target, type(one.inner)) for one in there.heard(Forwarded)] == [(key("alice"), Stored)]
    (mail,) = bob.heard(Mail)
    assert mail.peer == key("alice")
    await say(office, bob, Taken([mail.number]))
    (note,) = await office.store.notes(OTHER.key, 0, 10)
    assert (note.sender, note.origin, note.state) == (key("alice"), OTHER.address, "delivered")


async def test_a_note_another_relay_brings(office: Office) -> None:
    there, alice = relay(office), arrive(office, "alice")
    for number in (3, 4):
        ended = Ended(number, key("bob"), number.to_bytes(16), "delivered" if number == 3 else "nonsense")
        await say(office, there, Forwarded(OTHER.key, key("alice"), ended))
    assert [ended.state for ended in alice.heard(Ended)] == ["delivered", "refused"]
    assert there.forwarded(Noted) == [Noted(3), Noted(4)]


async def test_notes_that_are_not_kept_are_not_answered_nor_what_comes_after_them(office: Office) -> None:
    there = relay(office)

    def told(number: int) -> Forwarded:
        return Forwarded(OTHER.key, key("alice"), Ended(number, key("bob"), number.to_bytes(16), "delivered"))

    await say(office, there, told(1))
    await office.store.close()
    await say(office, there, told(2))
    await office.store.open()
    await say(office, there, told(3))
    assert there.forwarded(Noted) == [Noted(1)]
    await say(office, there, told(2), told(3))
    assert there.forwarded(Noted)[-1] == Noted(3)


async def test_notes_of_relays_are_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(federated, "ACKS", 1)
    there = relay(office)
    for number in (1, 2, 3):
        ended = Ended(number, key("bob"), number.to_bytes(16), "delivered")
        office.receive(there, Forwarded(OTHER.key, key("alice"), ended))
    await settle()
    assert there.forwarded(Noted) == [Noted(1)]
    assert office.mailroom is not None
    office.mailroom._from_relays._policy = Policy(total_notes=1)
    await tick(office)
    await say(office, there, Forwarded(OTHER.key, key("alice"), Ended(2, key("bob"), bytes(16), "delivered")))
    assert there.forwarded(Noted) == []


async def test_a_relay_brings_no_mail_for_a_third(office: Office) -> None:
    there = relay(office)
    await say(office, there, Forwarded(key("alice"), key("bob"), deposit("bob", via=THIRD.address)))
    await say(office, there, Forwarded(key("alice"), key("bob"), deposit("bob", via=office.address)))
    assert [type(one.inner) for one in there.heard(Forwarded)] == [Declined, Stored]


async def test_quotas_of_a_relay_whoever_it_says_the_senders_are() -> None:
    office = await Office(policy=Policy(relay_count=5, relay_bytes=2500), woken=Woken()).open(ticking=False)
    there, third = relay(office), relay(office, THIRD)
    for number in range(7):
        mail = deposit(f"friend {number}")
        await say(office, there, Forwarded(key(f"sender {number}"), mail.peer, mail))
    assert [one.reason for one in there.forwarded(Declined)] == ["quota"] * 2
    for number in range(4):
        mail = deposit(f"enemy {number}", 1000)
        await say(office, third, Forwarded(key(f"sender {number}"), mail.peer, mail))
    assert [one.reason for one in third.forwarded(Declined)] == ["quota"] * 2
    await office.close()


async def test_a_relay_uses_up_nobodys_quota_and_takes_nobodys_name(office: Office) -> None:
    there, alice, bob = relay(office), arrive(office, "alice"), arrive(office, "bob")
    mine = deposit("bob", 100)
    forged = Deposit(mine.peer, mine.id, mine.expires, b"forged")
    await say(office, there, Forwarded(key("alice"), key("bob"), forged))
    await say(office, there, *[Forwarded(key("alice"), key("x"), deposit("x", 400)) for _ in range(19)])
    await say(office, alice, mine)
    assert len(alice.heard(Stored)) == 1
    assert [mail.envelope for mail in bob.heard(Mail)] == [b"forged", mine.envelope]


async def test_relays_that_may_not_federate_or_hide_where_they_are() -> None:
    office = await Office(policy=Policy(relays=frozenset([OTHER.key])), woken=Woken()).open(ticking=False)
    stranger, liar, friend = relay(office, THIRD), Told(OTHER.key, RELAY, THIRD.address), relay(office)
    office.sign_in(liar)
    assert [stranger.ended, liar.ended, friend.ended] == ["denied", "bad-address", ""]
    await say(office, stranger, Forwarded(key("alice"), key("bob"), deposit("bob")))
    await say(office, friend, deposit("bob"), Forwarded(key("alice"), key("bob"), RoomAgain(key("bob"))))
    assert (stranger.said, friend.said) == ([], [])
    office.sign_out(friend)
    await say(office, friend, Forwarded(key("alice"), key("bob"), deposit("bob")))
    assert friend.said == []
    await office.close()


async def test_a_peer_cannot_speak_as_a_relay(office: Office) -> None:
    mallory = arrive(office, "mallory")
    await say(office, mallory, Forwarded(key("alice"), key("bob"), deposit("bob")))
    await say(office, mallory, Forwarded(office.key, key("alice"), Ended(1, key("bob"), bytes(16), "delivered")))
    assert mallory.said == []
    assert (await office.store.usage())[:1] == (0,)


async def test_room_for_what_a_relay_brought(small_office: Office) -> None:
    office = small_office
    there = relay(office)
    for number in range(21):
        await say(office, there, Forwarded(key(f"sender {number}"), key("bob"), deposit("bob", expires=START + 60)))
    assert [one.reason for one in there.forwarded(Declined)] == ["overflow"]
    office.at = START + 61
    await tick(office)
    assert there.heard(Forwarded) == [Forwarded(office.key, key("sender 20"), RoomAgain(key("bob")))]


def test_keys_in_addresses() -> None:
    assert relay_key(OTHER.address) == OTHER.key
    assert relay_key("relay+wss://host/short") == relay_key("") == b""


async def test_g6_the_backlog_survives_a_restart(office: Office) -> None:
    alice = arrive(office, "alice")
    await say(office, alice, *[deposit("bob") for _ in range(3)])
    await office.close()
    await office.open(ticking=True)
    assert isinstance(office.store, LocalStore)
    bob = arrive(office, "bob")
    await settle()
    assert len(bob.heard(Mail)) == 3
