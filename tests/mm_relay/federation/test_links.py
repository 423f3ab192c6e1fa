"""Links between relays, in virtual time: mail forwarded and noted, cuts, wrong keys, full boxes, dead relays."""

from typing import Any

import pytest
from msgspec import structs

from mm_relay.federation import link, links
from mm_relay.federation import mail_forwarder as forward
from mm_relay.policy import Policy
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import (
    RELAY,
    Data,
    Declined,
    Ended,
    Forwarded,
    Limits,
    Mail,
    Open,
    Stored,
    Taken,
)  # fmt: skip
from tests.sim.relay_mail.clock import passes
from tests.sim.relay_mail.office import LIMITS, START, Lines, Office, deposit, key
from tests.support.federation import arrive, close, two, virtual

WIDE = Limits(0, 0, 0, 0, 0, 0, 0, 0, 0, 1_000_000, 1000)


@virtual
async def test_mail_goes_over_a_link_and_its_end_comes_back() -> None:
    lines, x, y = await two()
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    sent = [deposit("bob", via=y.address) for _ in range(4)]
    for one in sent:
        x.receive(alice, one)
    await passes(1)
    assert len(alice.heard(Stored)) == 4
    mails = bob.heard(Mail)
    assert [mail.envelope for mail in mails] == [one.envelope for one in sent]
    assert {mail.peer for mail in mails} == {alice.key}
    assert (await x.store.usage())[:1] == (0,)
    assert x.metrics.ended == {"forwarded": 4}
    y.receive(bob, Taken([mail.number for mail in mails]))
    await passes(1)
    assert [(ended.id, ended.state) for ended in alice.heard(Ended)] == [(one.id, "delivered") for one in sent]
    assert (await y.store.usage()) == (0, 0, 0, 0)
    assert lines.dialled == [y.address, x.address]
    await close(x, y)


@virtual
async def test_g10_a_dead_relay_delays_only_its_own_link() -> None:
    lines, x, y = await two()
    dead = Office("dead", lines)  # never opened
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    for _ in range(5):
        x.receive(alice, deposit("carol", via=dead.address))
        x.receive(alice, deposit("bob", via=y.address))
    await passes(0.5)
    assert len(bob.heard(Mail)) == LIMITS.window_count
    assert await x.store.filled(dead.key) == (5, 50)
    await dead.open()
    carol = arrive(dead, "carol")
    await passes(link.LONGEST_PAUSE)
    assert len(carol.heard(Mail)) == LIMITS.window_count
    await close(x, y, dead)


@virtual
async def test_g10_a_cut_link_loses_and_repeats_nothing() -> None:
    lines, x, y = await two(limits=WIDE)
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    sent = [deposit("bob", via=y.address) for _ in range(400)]
    for one in sent:
        x.receive(alice, one)
    await passes(0.07)
    lines.cut(x.key, y.key)
    assert 0 < (await y.store.usage()).envelopes < 400
    await passes(120)
    lines.mend(x.key, y.key)
    await passes(120)
    assert [mail.envelope for mail in bob.heard(Mail)] == [one.envelope for one in sent]
    assert (await x.store.usage()).envelopes == 0
    await close(x, y)


@virtual
async def test_a_restart_goes_on_with_what_is_in_the_store() -> None:
    lines, x, y = await two(limits=WIDE)
    lines.cut(x.key, y.key)
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    for _ in range(3):
        x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    await x.close()
    lines.mend(x.key, y.key)
    await x.open()
    await passes(1)
    mails = bob.heard(Mail)
    assert len(mails) == 3
    await x.close()
    y.receive(bob, Taken([mail.number for mail in mails]))
    await passes(1)
    await y.close()
    await y.open()
    await x.open()
    alice = arrive(x, "alice")
    await passes(2 * link.LONGEST_PAUSE)
    assert len(alice.heard(Ended)) == 3
    assert (await y.store.usage()).notes == 0
    await close(x, y)


@virtual
async def test_a_relay_with_another_key_than_its_address_gets_nothing() -> None:
    _, x, y = await two()
    liar = format_relay("wss://liar/", y.identity.sign_id)
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    x.receive(alice, deposit("bob", via=liar))
    await passes(5)
    assert bob.heard(Mail) == []
    assert await x.store.filled(y.key) == (1, 10)
    x.receive(alice, deposit("bob", via=y.address))
    await passes(2 * link.LONGEST_PAUSE)
    assert len(bob.heard(Mail)) == 2, "a wrong address does not hold up mail when the right one is known as well"
    for number in range(20):
        x.receive(alice, deposit("bob", via=format_relay(f"wss://liar{number}/", y.identity.sign_id)))
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    assert x.federation is not None
    known = x.federation._links[y.key]._addresses.in_turn()
    assert (known[0], len(known)) == (y.address, 2), "of each peer one address is kept, the latest"
    await close(x, y)


@virtual
async def test_a_depositor_is_told_when_the_other_relay_has_it_or_cannot_be_reached() -> None:
    lines, x, y = await two()
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address))
    await passes(0.03)
    assert alice.heard(Stored) == [], "it is on its way"
    await passes(1)
    assert [stored.held_up for stored in alice.heard(Stored)] == [False]
    lines.cut(x.key, y.key)
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    assert [stored.held_up for stored in alice.heard(Stored)] == [True]
    x.receive(alice, deposit("bob", via=y.address))
    await passes(0)
    await passes(0.01)
    assert [stored.held_up for stored in alice.heard(Stored)] == [True], "it is known by now"
    lines.mend(x.key, y.key)
    await passes(2 * link.LONGEST_PAUSE)
    assert await y.store.filled(key("bob")) == (3, 30), "and goes on all the same"
    await close(x, y)


@virtual
async def test_false_addresses_delay_nobody_and_the_proven_one_is_remembered() -> None:
    lines, x, y = await two()
    evil, alice = arrive(x, "evil"), arrive(x, "alice")
    x.receive(evil, deposit("bob", via=format_relay("wss://liar/", y.identity.sign_id)))
    await passes(0.01)
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    assert await y.store.filled(key("bob")) == (2, 20)
    lines.cut(x.key, y.key)
    x.receive(evil, deposit("bob", via=format_relay("wss://liar/", y.identity.sign_id)))
    await x.close()
    lines.mend(x.key, y.key)
    lines.dialled.clear()
    await x.open()
    await passes(1)
    assert await y.store.filled(key("bob")) == (3, 30)
    assert lines.dialled[:1] == [y.address], "where it was reached before"
    await close(x, y)


@virtual
async def test_after_a_restart_the_mail_itself_says_where_the_other_relay_may_be() -> None:
    lines, x, y = await two()
    lines.cut(x.key, y.key)
    evil, alice = arrive(x, "evil"), arrive(x, "alice")
    x.receive(evil, deposit("bob", via=format_relay("wss://liar/", y.identity.sign_id)))
    await passes(1)
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    await x.close()
    lines.mend(x.key, y.key)
    await x.open()
    await passes(2 * link.NEWS_AFTER)
    assert await y.store.filled(key("bob")) == (2, 20), "the first envelope names a false address"
    await close(x, y)


@virtual
async def test_a_relay_that_signs_in_is_reached_where_it_says() -> None:
    _, x, y = await two()
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=format_relay("wss://moved/", y.identity.sign_id)))
    await passes(20)
    assert await y.store.filled(key("bob")) == (0, 0)
    zoe = arrive(y, "zoe")
    y.receive(zoe, deposit("carol", via=x.address))
    await passes(link.NEWS_AFTER + 1)
    assert await y.store.filled(key("bob")) == (1, 10)
    await close(x, y)


@virtual
async def test_mail_is_dated_by_the_clock_of_who_keeps_it() -> None:
    lines, x, y = await two()
    ahead = 20 * 86_400.0
    lines.skew, y.ahead = ahead, ahead
    alice, bob = arrive(x, "alice"), arrive(y, "bob")
    x.receive(alice, deposit("bob", via=y.address, expires=START + 600))
    await passes(1)
    assert [stored.expires for stored in alice.heard(Stored)] == [int((START + 600) * 1000)]
    assert len(bob.heard(Mail)) == 1
    assert list(x.metrics.clock_skews.values()) == [ahead]
    await close(x, y)


@virtual
async def test_a_full_box_holds_up_only_those_who_write_to_it() -> None:
    lines, x, y = await two(limits=structs.replace(LIMITS, recipient_count=20))
    lines.cut(x.key, y.key)
    alice, zoe = arrive(x, "alice"), arrive(x, "zoe")
    for number in range(20):
        y.receive(arrive(y, f"local {number}"), deposit("bob", expires=START + 300))
    sent = [deposit("bob", via=y.address) for _ in range(3)]
    for one in sent:
        x.receive(alice, one)
    x.receive(zoe, deposit("carol", via=y.address))
    lines.mend(x.key, y.key)
    carol = arrive(y, "carol")
    await passes(60)
    assert len(carol.heard(Mail)) == 1
    assert await x.store.filled(y.key) == (3, 30)
    assert alice.heard(Ended) == []
    bob = arrive(y, "bob")
    seen: list[bytes] = []
    for _ in range(20):
        mails = bob.heard(Mail)
        seen += [mail.envelope for mail in mails if mail.peer == alice.key]
        y.receive(bob, Taken([mail.number for mail in mails]))
        await passes(2)
    assert seen == [one.envelope for one in sent], "RoomAgain wakes it long before the retry"
    await close(x, y)


@virtual
@pytest.mark.parametrize(
    ("limits", "state"),
    [
        (LIMITS.__class__(0, 5, *[0] * 7, 4000, 4), "refused"),
        (LIMITS.__class__(0, 0, 0, 0, 0, 0, 0, 0, 0, 4000, 4), None),
    ],
)
async def test_what_the_other_relay_never_takes_ends_as_refused(limits: Limits, state: str | None) -> None:
    lines = Lines()
    x, y = await Office("x", lines).open(), await Office("y", lines, limits=limits).open()
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address))
    await passes(2)
    assert [ended.state for ended in alice.heard(Ended)] == ([state] if state else [])
    assert (await x.store.usage()).envelopes == 0
    await close(x, y)


@virtual
async def test_what_expires_here_ends_here() -> None:
    lines, x, y = await two()
    lines.cut(x.key, y.key)
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address, expires=START + 30))
    await passes(60)
    assert [ended.state for ended in alice.heard(Ended)] == ["expired"]
    await close(x, y)


@virtual
async def test_relays_that_may_not_federate_get_no_link() -> None:
    lines = Lines()
    x = await Office("x", lines, policy=Policy(relays=frozenset())).open()
    y = await Office("y", lines).open()
    assert x.federation is not None
    assert x.federation.link(y.address, b"") is None
    assert x.federation.link(x.address, b"") is None
    assert x.federation.link("relay+wss://nonsense", b"") is None
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    assert [one.reason for one in alice.heard(Declined)] == ["denied"]
    assert lines.dialled == []
    await close(x, y)


# Live: to the router a link is a session.


@virtual
async def test_a_link_is_full_until_it_is_up_and_says_when() -> None:
    lines, x, y = await two()
    assert x.federation is not None
    session = x.federation.link(y.address, b"")
    assert session is not None
    assert (session.key, session.role, session.full) == (y.key, RELAY, True)
    session.tell(Forwarded(key("alice"), key("bob"), Data(key("bob"), 1, b"too early")))
    await passes(1)
    assert x.post.writables == [session]
    assert not session.full
    assert x.federation.link(y.address, b"") is session
    heard: list[Any] = []
    y.receive = lambda _, item: heard.append(item)  # type: ignore[method-assign]
    opening = Forwarded(key("alice"), key("bob"), Open(key("bob"), 1, b"hello"))
    session.tell(opening)
    await passes(1)
    assert heard == [opening]
    answer = Forwarded(key("bob"), key("alice"), Data(key("alice"), 1, b"hi"))
    back = lines.open[0]._session
    assert back is not None
    back.tell(answer)
    back.tell(Forwarded(key("bob"), key("alice"), deposit("alice")))  # over its own link, please
    back.tell(Data(key("alice"), 1, b"not carried"))
    await passes(1)
    assert x.post.received == [(session, answer)]
    lines.cut(x.key, y.key)
    assert session.full
    assert x.post.lost == [session]
    assert x.metrics.federation_links_up == 0
    await close(x, y)


@virtual
async def test_a_dead_relay_is_told_at_once_and_while_it_rests_there_is_no_link() -> None:
    lines, x, y = await two()
    lines.cut(x.key, y.key)
    assert x.federation is not None
    session = x.federation.link(y.address, b"")
    assert session is not None
    await passes(0.1)
    assert x.post.lost == [session]
    assert x.federation.link(y.address, b"") is None
    await passes(link.LONGEST_PAUSE)
    lines.mend(x.key, y.key)
    assert x.federation.link(y.address, b"") is session
    await passes(1)
    assert not session.full
    session.end("enough")
    await passes(1)
    assert session.full
    await close(x, y)


@virtual
async def test_an_idle_link_is_closed_after_an_hour() -> None:
    lines, x, y = await two()
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address))
    await passes(60)
    assert len(lines.open) == 1
    await passes(4 * link.IDLE)
    assert lines.open == []
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    assert await y.store.filled(key("bob")) == (1, 10)
    await close(x, y)


@virtual
async def test_links_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 2)
    lines, x, y = await two()
    dead = [Office(f"dead {number}".replace(" ", ""), lines) for number in range(3)]
    assert x.federation is not None
    assert [x.federation.link(one.address, b"") is not None for one in dead] == [True, True, False]
    await passes(2 * link.LONGEST_PAUSE)
    assert x.federation.link(y.address, b"") is not None, "those that nobody wants any more make room"
    await close(x, y)


@virtual
async def test_who_has_relays_tried_that_nobody_ever_reached_has_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "TRIED_BY_ONE", 2)
    lines, x, y = await two()
    dead = [Office(f"dead{number}", lines) for number in range(3)]
    assert x.federation is not None
    here, there = b"here", b"there"
    assert [x.federation.link(one.address, here) is not None for one in dead] == [True, True, False]
    assert x.federation.link(dead[1].address, here) is not None, "it is tried already"
    assert x.federation.link(y.address, there) is not None
    await passes(1)
    assert x.federation.link(dead[2].address, there) is not None, "the one before was reached"
    await passes(2 * link.LONGEST_PAUSE)
    assert x.federation.link(y.address, here) is not None, "they are tried no more"
    await close(x, y)


# A relay that does not answer.


@virtual
async def test_a_relay_that_does_not_answer_is_dialled_again() -> None:
    lines, x, y = await two()
    alice = arrive(x, "alice")
    y.receive = lambda session, item: None  # type: ignore[method-assign]
    x.receive(alice, deposit("bob", via=y.address))
    await passes(3 * forward.PATIENCE)
    assert len(lines.dialled) >= 3
    del y.receive
    await passes(2 * forward.PATIENCE)
    assert await y.store.filled(key("bob")) == (1, 10)
    await close(x, y)


@virtual
async def test_a_store_that_fails_is_asked_again() -> None:
    lines, x, y = await two()
    lines.cut(x.key, y.key)
    alice = arrive(x, "alice")
    x.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    lines.mend(x.key, y.key)
    await x.store.close()
    await passes(3 * link.LONGEST_PAUSE)
    assert x.metrics.store_errors > 0
    await x.store.open()
    await passes(2 * forward.AGAIN)
    assert await y.store.filled(key("bob")) == (1, 10)
    await close(x, y)
