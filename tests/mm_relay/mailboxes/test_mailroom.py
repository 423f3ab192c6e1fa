"""The mailroom of one relay: what it keeps, whom it gives it, what it says of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_relay.mailboxes import deposits
from mm_relay.mailboxes import from_relays as federated
from mm_relay.mailboxes import full_boxes as rooms
from mm_relay.mailboxes import pickup as pickup
from mm_relay.policy import Policy
from mm_relay.stores.contract import Note
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
from mmplatform.errors import StorageError
from tests.sim.relay_mail.clock import settle
from tests.sim.relay_mail.office import LIMITS, START, Office, Told, Woken, deposit, key

OTHER = Office("other")
THIRD = Office("third")


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office(woken=Woken())
    office.at = START
    yield await office.open(ticking=False)
    await office.close()


def arrive(office: Office, name: str) -> Told:
    session = Told(key(name))
    office.sign_in(session)
    return session


async def say(office: Office, session: Told, *items: Any) -> None:
    for item in items:
        office.receive(session, item)
    await settle()


async def tick(office: Office) -> None:
    assert office.mailroom is not None
    await office.mailroom.tick()
    await settle()


def names(mails: list[Mail]) -> list[bytes]:
    return [bytes(mail.envelope).partition(b".")[0] for mail in mails]


# Deposits.


async def test_mail_for_somebody_away_waits_and_its_sender_hears_of_every_step(office: Office) -> None:
    alice = arrive(office, "alice")
    sent = deposit("bob")
    await say(office, alice, sent)
    assert alice.heard(Stored) == [Stored(sent.peer, sent.id, int((START + 3600) * 1000))]
    bob = arrive(office, "bob")
    await settle()
    (mail,) = bob.heard(Mail)
    assert mail == Mail(mail.number, alice.key, sent.envelope)
    await say(office, bob, Taken([mail.number]))
    (ended,) = alice.heard(Ended)
    assert (ended.peer, ended.id, ended.state) == (sent.peer, sent.id, "delivered")
    await say(office, alice, Noted(ended.number))
    usage = await office.store.usage()
    assert (usage.envelopes, usage.notes) == (0, 0)
    assert office.metrics.stored == 1
    assert office.metrics.delivery_count == 1


async def test_stored_is_said_after_the_disk_and_not_before(office: Office) -> None:
    alice = arrive(office, "alice")
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    office.storage.write = lambda rows, *, sync=True: held  # type: ignore[method-assign]
    await say(office, alice, deposit("bob"))
    assert alice.said == []
    held.set_result(None)
    await settle()
    assert len(alice.heard(Stored)) == 1


async def test_g5_the_time_to_live_is_the_shorter_one(office: Office) -> None:
    alice = arrive(office, "alice")
    await say(office, alice, deposit("bob", expires=START + 60), deposit("bob", expires=START + 99_999))
    assert [stored.expires for stored in alice.heard(Stored)] == [(int(START) + 60) * 1000, (int(START) + 3600) * 1000]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (deposit("bob", 1001), "too-large"),
        (deposit("bob", expires=START), "expired"),
        (deposit("bob", via="relay+wss://nonsense"), "unreachable"),
    ],
)
async def test_what_is_never_kept(office: Office, sent: Deposit, reason: str) -> None:
    alice = arrive(office, "alice")
    await say(office, alice, sent)
    assert alice.heard(Declined) == [Declined(sent.peer, sent.id, reason, 0)]
    assert office.metrics.declined == {reason: 1}


async def test_a_relay_without_links_does_not_federate() -> None:
    office = await Office().open(ticking=False)
    alice, other = arrive(office, "alice"), relay(office)
    await say(office, alice, deposit("bob", via=OTHER.address))
    assert [one.reason for one in alice.heard(Declined)] == ["denied"]
    assert other.ended == "denied"
    await office.close()


async def test_mail_for_a_peer_of_another_relay_goes_into_the_box_of_that_relay(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob", via=OTHER.address))
    assert len(alice.heard(Stored)) == 1
    assert bob.heard(Mail) == []
    assert await office.store.boxes(b"", 9) == [(OTHER.key, OTHER.address)]
    assert office.woken is not None
    assert office.woken.woken == [OTHER.address]


async def test_a_via_that_leads_here_is_no_detour(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob", via=office.address))
    assert len(bob.heard(Mail)) == 1


async def test_who_is_denied_neither_sends_nor_receives() -> None:
    office = await Office(policy=Policy(denied=frozenset([key("mallory")]))).open(ticking=False)
    mallory, alice = arrive(office, "mallory"), arrive(office, "alice")
    await say(office, mallory, deposit("alice"))
    await say(office, alice, deposit("mallory"))
    assert [declined.reason for session in (mallory, alice) for declined in session.heard(Declined)] == ["denied"] * 2
    await office.close()


@pytest.mark.parametrize(("size", "fit"), [(10, 15), (1000, 8)])
async def test_g4_quotas_of_a_sender_are_exact(office: Office, size: int, fit: int) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, *[deposit(f"friend {number}", size) for number in range(20)])
    assert len(alice.heard(Stored)) == fit
    assert [(one.reason, one.retry) for one in alice.heard(Declined)] == [("quota", 60_000)] * (20 - fit)
    await say(office, bob, deposit("carol", 1000))
    assert len(bob.heard(Stored)) == 1


@pytest.mark.parametrize(("size", "fit"), [(10, 20), (1000, 10)])
async def test_g4_quotas_of_a_box_are_exact(office: Office, size: int, fit: int) -> None:
    senders = [arrive(office, f"sender {number}") for number in range(30)]
    for sender in senders:
        await say(office, sender, deposit("bob", size))
    assert [len(sender.heard(Stored)) for sender in senders] == [1] * fit + [0] * (30 - fit)
    assert {one.reason for sender in senders for one in sender.heard(Declined)} == {"overflow"}


async def test_the_same_deposit_twice_is_kept_once(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    sent = deposit("bob")
    await say(office, alice, sent, sent)
    assert len(alice.heard(Stored)) == 2
    assert len(bob.heard(Mail)) == 1


async def test_a_store_that_fails_declines_and_loses_nothing(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    (mail,) = bob.heard(Mail)
    good = office.storage.write

    def bad(rows: Any, *, sync: bool = True) -> "asyncio.Future[None]":
        raise StorageError("the disk is gone")

    office.storage.write = bad  # type: ignore[method-assign]
    await say(office, alice, deposit("bob"))
    assert [(one.reason, one.retry) for one in alice.heard(Declined)] == [("storage", 5_000)]
    await say(office, bob, Taken([mail.number]))
    await tick(office)
    assert alice.heard(Ended) == []
    office.storage.write = good  # type: ignore[method-assign]
    await tick(office)
    assert [ended.state for ended in alice.heard(Ended)] == ["delivered"]


async def test_a_closed_store_declines(office: Office) -> None:
    alice = arrive(office, "alice")
    await office.store.close()
    await say(office, alice, deposit("bob"))
    assert [one.reason for one in alice.heard(Declined)] == ["storage"]
    await tick(office)
    await office.store.open()


async def test_what_waits_for_the_disk_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deposits, "PENDING_PER_KEY", 3 * (10 + deposits.OVERHEAD))
    alice, carol = arrive(office, "alice"), arrive(office, "carol")
    await say(office, alice, *[deposit("bob") for _ in range(5)])
    assert [one.reason for one in alice.heard(Declined)] == ["storage"] * 2
    await say(office, alice, deposit("bob"))
    await say(office, carol, deposit("bob"))
    assert (len(alice.heard(Stored)), len(carol.heard(Stored))) == (4, 1)


async def test_the_store_in_all_is_bounded() -> None:
    office = await Office(policy=Policy(total_bytes=2500)).open(ticking=False)
    alice = arrive(office, "alice")
    for number in range(3):
        await say(office, alice, deposit(f"friend {number}", 1000))
    assert [one.reason for one in alice.heard(Declined)] == ["storage"]
    await tick(office)
    assert office.metrics.mailbox_bytes == 2000
    await office.close()


# Pickup.


async def test_mail_comes_in_order_within_the_window_and_goes_on_after_taken(office: Office) -> None:
    alice = arrive(office, "alice")
    sent = [deposit("bob", 20) for _ in range(11)]
    await say(office, alice, *sent)
    bob = arrive(office, "bob")
    await settle()
    seen: list[bytes] = []
    while mails := bob.heard(Mail):
        assert len(mails) <= LIMITS.window_count
        seen += [mail.envelope for mail in mails]
        await say(office, bob, Taken([mail.number for mail in mails]))
    assert seen == [one.envelope for one in sent]
    assert len(alice.heard(Ended)) == 11


async def test_the_window_counts_bytes_too(office: Office) -> None:
    senders = [arrive(office, f"sender {number}") for number in range(6)]
    for sender in senders:
        await say(office, sender, deposit("bob", 1000 if sender is not senders[2] else 900))
    office.limits = LIMITS
    bob = arrive(office, "bob")
    await settle()
    assert sum(len(mail.envelope) for mail in bob.heard(Mail)) <= LIMITS.window_bytes


async def test_g14_out_of_order_acknowledgements_keep_the_order(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, *[deposit("bob", name=1000 + number) for number in range(8)])
    first = bob.heard(Mail)
    await say(office, bob, Taken([first[2].number]), Taken([first[0].number]), Taken([first[3].number]))
    assert names(first + bob.heard(Mail)) == [b"%d" % (1000 + number) for number in range(7)]


async def test_g1_a_session_that_ends_halfway_leaves_the_rest_in_order_for_the_next(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, *[deposit("bob", name=2000 + number) for number in range(6)])
    mails = bob.heard(Mail)
    await say(office, bob, Taken([mails[1].number]))
    office.sign_out(bob)
    await say(office, bob, Taken([mails[0].number]))  # too late: that session is over
    again = arrive(office, "bob")
    await settle()
    rest = again.heard(Mail)
    await say(office, again, Taken([mail.number for mail in rest]))
    assert names(rest + again.heard(Mail)) == [b"2000", b"2002", b"2003", b"2004", b"2005"]


async def test_g7_of_two_sessions_of_one_key_the_newest_collects(office: Office) -> None:
    alice, old = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    new = arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    assert len(old.heard(Mail)) == 1
    mails = new.heard(Mail)
    assert len(mails) == 2
    await say(office, old, Taken([mail.number for mail in mails]), Noted(99))
    assert alice.heard(Ended) == []
    office.sign_out(old)
    await say(office, alice, deposit("bob"))
    assert len(new.heard(Mail)) == 1


async def test_only_what_was_pushed_can_be_taken(office: Office) -> None:
    alice, bob, mallory = arrive(office, "alice"), arrive(office, "bob"), arrive(office, "mallory")
    await say(office, alice, deposit("bob"))
    (mail,) = bob.heard(Mail)
    await say(office, mallory, Taken([mail.number]))
    await say(office, bob, Taken([mail.number + 1, 2**52]), Taken([]))
    assert alice.heard(Ended) == []
    assert (await office.store.usage()).envelopes == 1


async def test_refused_mail(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    await say(office, bob, Taken([bob.heard(Mail)[0].number], refused=True))
    assert [ended.state for ended in alice.heard(Ended)] == ["refused"]


async def test_expired_mail_is_not_handed_out_and_its_sender_is_told(office: Office) -> None:
    alice = arrive(office, "alice")
    await say(office, alice, deposit("bob", expires=START + 60), deposit("bob", expires=START + 600))
    assert office.at is not None
    office.at += 61
    bob = arrive(office, "bob")
    await settle()
    assert len(bob.heard(Mail)) == 1
    await tick(office)
    assert [ended.state for ended in alice.heard(Ended)] == ["expired"]
    assert office.metrics.ended == {"expired": 1}


async def test_many_expire_in_one_tick(office: Office) -> None:
    for number in range(300):
        sent = deposit(f"friend {number}", expires=START + 1)
        await say(office, arrive(office, f"sender {number}"), sent)
    office.at = START + 2
    await tick(office)
    assert (await office.store.usage()).envelopes == 0


async def test_expired_while_under_way_ends_once(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob", expires=START + 1))
    office.at = START + 2
    await tick(office)
    await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    assert [ended.state for ended in alice.heard(Ended)] == ["expired"]


# Notes.


async def test_a_note_waits_for_its_sender_until_it_is_noted(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"), deposit("bob"))
    office.sign_out(alice)
    await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    first = arrive(office, "alice")
    await settle()
    told = first.heard(Ended)
    assert len(told) == 2
    office.sign_out(first)
    second = arrive(office, "alice")
    await settle()
    assert second.heard(Ended) == told
    await say(office, second, Noted(told[0].number))
    office.sign_out(second)
    third = arrive(office, "alice")
    await settle()
    assert third.heard(Ended) == told[1:]


async def test_notes_come_before_mail(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    office.sign_out(alice)
    await say(office, bob, Taken([bob.heard(Mail)[0].number]), deposit("alice"))
    alice = arrive(office, "alice")
    await settle()
    assert [type(item) for item in alice.said] == [Ended, Mail]


async def test_notes_have_a_window_and_noted_beyond_it_forgets_nothing_untold(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickup, "NOTES_WINDOW", 4)
    for number in range(10):
        await office.store.add_note(Note(0, key("alice"), key("alice"), key(number), bytes(16), "delivered"))
    alice = arrive(office, "alice")
    await settle()
    seen: list[bytes] = []
    while told := alice.heard(Ended):
        assert len(told) <= 4
        seen += [ended.peer for ended in told]
        await say(office, alice, Noted(2**53 - 1))
    assert seen == [key(number) for number in range(10)]
    await say(office, alice, Noted(2**53 - 1))


# RoomAgain.


async def test_room_is_told_to_who_was_declined_once_the_box_is_below_three_quarters(office: Office) -> None:
    senders = [arrive(office, f"sender {number}") for number in range(24)]
    for sender in senders:
        await say(office, sender, deposit("bob"))
    bob = arrive(office, "bob")
    await settle()
    for left in (16, 12):
        await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
        await tick(office)
        rooms_told = [len(sender.heard(RoomAgain)) for sender in senders]
        assert rooms_told == ([0] * 24 if left >= 15 else [0] * 20 + [1] * 4)
    await tick(office)
    assert not any(sender.heard(RoomAgain) for sender in senders)


async def test_room_after_expiry(office: Office) -> None:
    senders = [arrive(office, f"sender {number}") for number in range(21)]
    for sender in senders:
        await say(office, sender, deposit("bob", expires=START + 60))
    office.at = START + 61
    await tick(office)
    assert senders[20].heard(RoomAgain) == [RoomAgain(key("bob"))]


async def test_who_waits_for_room_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "WAITING", 2)
    monkeypatch.setattr(rooms, "BOXES", 2)
    assert office.mailroom is not None
    full = office.mailroom._full
    for box in range(3):
        for sender in range(5):
            full.crowded(key(box), key(sender), key(box), Told(key(sender)))
    await full.check(all_boxes=True)
    assert [to for to, _ in office.post.told] == [key(3), key(4)] * 2


async def test_room_is_told_later_when_the_store_fails(office: Office) -> None:
    alice = arrive(office, "alice")
    assert office.mailroom is not None
    full = office.mailroom._full
    full.crowded(key("bob"), alice.key, key("bob"), alice)
    full.freed(key("bob"))
    await office.store.close()
    await tick(office)
    await office.store.open()
    await tick(office)
    assert alice.heard(RoomAgain) == [RoomAgain(key("bob"))]


async def test_a_session_that_ends_while_its_mail_is_read_is_told_nothing(office: Office) -> None:
    alice = arrive(office, "alice")
    await say(office, alice, deposit("bob"))
    for reading in ("collect", "notes"):
        gate = asyncio.Event()
        whole = getattr(office.store, reading)

        async def slow(*words: Any, whole: Any = whole, gate: asyncio.Event = gate) -> Any:
            await gate.wait()
            return await whole(*words)

        setattr(office.store, reading, slow)
        bob = arrive(office, "bob")
        await settle()
        office.sign_out(bob)
        gate.set()
        await settle()
        assert bob.said == []
        setattr(office.store, reading, whole)


async def test_closing_in_the_middle_of_a_read(office: Office) -> None:
    async def never(*words: Any) -> Any:
        await asyncio.Event().wait()

    office.store.notes = never
    bob = arrive(office, "bob")
    await settle()
    assert office.mailroom is not None
    await office.mailroom.close()
    assert bob.said == []


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


# Other relays.


def relay(office: Office, of: Office = OTHER) -> Told:
    session = Told(of.key, RELAY, of.address)
    office.sign_in(session)
    return session


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


async def test_room_for_what_a_relay_brought(office: Office) -> None:
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
