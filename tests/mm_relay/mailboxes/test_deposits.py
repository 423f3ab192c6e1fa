"""What the mailroom of a relay keeps, whom it declines, and what it says of it."""

import asyncio
from typing import Any

import pytest

from mm_relay.mailboxes import deposits
from mm_relay.mailboxes import pickup as pickup
from mm_relay.policy import Policy
from mm_transports.relay.protocol.items import (
    Declined,
    Deposit,
    Ended,
    Mail,
    Noted,
    Stored,
    Taken,
)  # fmt: skip
from mmplatform.errors import StorageError
from tests.sim.relay_mail.clock import settle
from tests.sim.relay_mail.office import START, Office, deposit, key
from tests.support.mailroom import OTHER, arrive, relay, say, small_boxes, tick

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
    assert [stored.held_up for stored in alice.heard(Stored)] == [True]
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


@pytest.mark.parametrize(("size", "fit"), [(10, 5), (1000, 2)])
async def test_mail_for_a_dead_relay_leaves_its_sender_room_for_others(office: Office, size: int, fit: int) -> None:
    """What waits for one other relay has a third of the room that the sender has in all."""
    alice = arrive(office, "alice")
    away = [deposit(f"friend {number}", size, via=OTHER.address) for number in range(20)]
    await say(office, alice, *away)
    assert len(alice.heard(Stored)) == fit
    assert {one.reason for one in alice.heard(Declined)} == {"quota"}
    await say(office, alice, deposit("bob", size))
    assert len(alice.heard(Stored)) == 1


@pytest.mark.parametrize(("size", "fit"), [(10, 20), (1000, 10)])
async def test_g4_quotas_of_a_box_are_exact(size: int, fit: int) -> None:
    office = await small_boxes()
    senders = [arrive(office, f"sender {number}") for number in range(30)]
    for sender in senders:
        await say(office, sender, deposit("bob", size))
    assert [len(sender.heard(Stored)) for sender in senders] == [1] * fit + [0] * (30 - fit)
    assert {one.reason for sender in senders for one in sender.heard(Declined)} == {"overflow"}
    await office.close()


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


async def test_what_waits_for_the_disk_is_bounded_at_an_address(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger has any number of keys, each of which had its own 16 MiB."""
    monkeypatch.setattr(deposits, "PENDING_PER_PLACE", 3 * (10 + deposits.OVERHEAD), raising=False)
    honest = arrive(office, "honest")
    keys = [arrive(office, f"key {number}") for number in range(5)]
    for each in keys:
        each.place = b"one address"
        office.receive(each, deposit("bob"))
    office.receive(honest, deposit("bob"))
    await settle()
    assert [len(each.heard(Stored)) for each in (*keys, honest)] == [1, 1, 1, 0, 0, 1]


async def test_the_store_in_all_is_bounded() -> None:
    office = await Office(policy=Policy(total_bytes=2500)).open(ticking=False)
    alice = arrive(office, "alice")
    for number in range(3):
        await say(office, alice, deposit(f"friend {number}", 1000))
    assert [one.reason for one in alice.heard(Declined)] == ["storage"]
    await tick(office)
    assert office.metrics.mailbox_bytes == 2000
    await office.close()


# Shares: who fills a box, or the relay.


async def test_a_sender_has_at_most_an_eighth_of_a_box() -> None:
    office = await small_boxes()
    alice, carol = arrive(office, "alice"), arrive(office, "carol")
    await say(office, alice, *[deposit("bob") for _ in range(5)])
    assert len(alice.heard(Stored)) == 20 // deposits.SHARE == 2
    assert {one.reason for one in alice.heard(Declined)} == {"quota"}
    await say(office, carol, deposit("bob"))
    assert len(carol.heard(Stored)) == 1
    await office.close()


async def test_of_a_full_box_what_the_largest_sender_left_gives_way_and_it_is_told() -> None:
    office = await small_boxes()
    large = [arrive(office, f"sender {number}") for number in range(8)]
    sent = [deposit("bob", 600 + number) for number, _ in enumerate(large) for _ in range(2)]
    for number, sender in enumerate(large):
        await say(office, sender, *sent[2 * number : 2 * number + 2])
    assert sum(len(sender.heard(Stored)) for sender in large) == 16
    carol, fit = arrive(office, "carol"), deposit("bob", 400)
    await say(office, carol, fit)
    assert [stored.id for stored in carol.heard(Stored)] == [fit.id]
    told = [one for sender in large for one in sender.heard(Ended)]
    assert [(one.id, one.state) for one in told] == [(sent[15].id, "overflow")]  # the newest of the largest
    await say(office, large[0], deposit("bob", 900))
    assert [one.reason for one in large[0].heard(Declined)] == ["overflow"]  # it would be the largest itself
    await office.close()


async def test_senders_of_one_address_share_its_quota() -> None:
    office = await Office(policy=Policy(address_count=3)).open(ticking=False)
    at_one = [arrive(office, f"sender {number}") for number in range(4)]
    other = arrive(office, "other")
    for session in at_one:
        session.place = b"one address"
    other.place = b"another"
    for session in [*at_one, other]:
        await say(office, session, deposit("bob"))
    assert [len(session.heard(Stored)) for session in at_one] == [1, 1, 1, 0]
    assert [one.reason for one in at_one[3].heard(Declined)] == ["quota"]
    assert len(other.heard(Stored)) == 1
    await office.close()


async def test_senders_of_one_address_fill_a_quarter_of_a_box() -> None:
    office = await small_boxes()
    senders = [arrive(office, f"sender {number}") for number in range(9)]
    for session in senders:
        session.place = b"one address"
        await say(office, session, deposit("bob"))
    assert sum(len(session.heard(Stored)) for session in senders) == 20 // deposits.ADDRESS_SHARE == 5
    await office.close()


async def test_above_half_of_the_total_who_was_here_lately_comes_first() -> None:
    office = Office(policy=Policy(total_bytes=10_000))
    office.at = START
    await office.open(ticking=False)
    bob, alice = arrive(office, "bob"), arrive(office, "alice")
    office.sign_out(bob)
    for number in range(6):
        await say(office, alice, deposit(f"nobody {number}", 1000))
    assert len(alice.heard(Stored)) == 6
    await say(office, alice, deposit("nobody", 1000), deposit("bob", 1000))
    assert [stored.peer for stored in alice.heard(Stored)] == [key("bob")]
    assert [(one.peer, one.reason) for one in alice.heard(Declined)] == [(key("nobody"), "storage")]
    office.at = START + deposits.LATELY / 1000 + 1
    await say(office, alice, deposit("bob", 1000))
    assert [one.reason for one in alice.heard(Declined)] == ["storage"]
    await office.close()
