"""Whom the mailroom of a relay gives what it keeps, in which order, and what comes of it: notes, and room again."""

import asyncio
from typing import Any

import pytest

from mm_relay.mailboxes import full_boxes as rooms
from mm_relay.mailboxes import pickup as pickup
from mm_relay.stores.contract import Note
from mm_transports.relay.protocol.items import (
    Ended,
    Mail,
    Noted,
    RoomAgain,
    Taken,
)  # fmt: skip
from mmplatform.errors import StorageFull
from tests.sim.relay_mail.clock import settle
from tests.sim.relay_mail.office import LIMITS, START, Office, Told, deposit, key
from tests.support.mailroom import arrive, say, tick


def names(mails: list[Mail]) -> list[bytes]:
    return [bytes(mail.envelope).partition(b".")[0] for mail in mails]


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


async def test_room_is_told_to_who_was_declined_once_the_box_is_below_three_quarters(small_office: Office) -> None:
    office = small_office
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


async def test_room_after_expiry(small_office: Office) -> None:
    office = small_office
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


# A store that went back in time.


async def emptied(office: Office) -> None:
    """An older state of the store, from before everything: its numbers begin again."""
    fresh = Office("fresh")
    await fresh.open(ticking=False)
    await tick(office)
    for part in (office.mailroom, office.mailroom._pickup, office.mailroom._deposits):  # type: ignore[union-attr]
        part._store = fresh.store  # type: ignore[union-attr]


async def test_mail_is_handed_out_when_the_numbers_of_the_store_begin_again(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, *[deposit("bob", name=3000 + number) for number in range(3)])
    await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    await emptied(office)
    await say(office, alice, *[deposit("bob", name=4000 + number) for number in range(2)])
    assert names(bob.heard(Mail)) == [b"4000", b"4001"]


async def test_notes_are_told_when_the_store_has_another_epoch(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    for _ in range(3):
        await say(office, alice, deposit("bob"))
        await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    await say(office, alice, Noted(alice.heard(Ended)[-1].number))
    await emptied(office)
    await say(office, alice, deposit("bob", name=5000))
    await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    await tick(office)
    assert [note.id for note in alice.heard(Ended)] == [(5000).to_bytes(16)]


async def test_another_epoch_hands_nothing_out_twice_that_is_under_way(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, *[deposit("bob") for _ in range(2)])
    await tick(office)
    assert len(bob.heard(Mail)) == 2
    office.store._epoch = "another"
    await tick(office)
    assert bob.heard(Mail) == []


async def test_what_was_taken_while_the_disk_was_full_does_not_come_again(office: Office) -> None:
    alice, bob = arrive(office, "alice"), arrive(office, "bob")
    await say(office, alice, deposit("bob"))
    works = office.store.end

    def full(*words: Any) -> "asyncio.Future[Any]":
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        failed.set_exception(StorageFull("no space left"))
        return failed

    office.store.end = full
    await say(office, bob, Taken([mail.number for mail in bob.heard(Mail)]))
    office.sign_out(bob)
    again = arrive(office, "bob")
    await tick(office)
    assert again.heard(Mail) == []
    office.store.end = works
    await tick(office)
    await tick(office)
    assert [note.state for note in alice.heard(Ended)] == ["delivered"]
    assert await office.store.filled(key("bob")) == (0, 0)
