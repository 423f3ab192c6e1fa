"""Front doors on real sockets, before a core that writes down what it is told."""

import asyncio
from typing import Any

import pytest

from mm_relay.access import Access
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.ports import RelaySession
from mm_transports.relay.protocol import items, signin
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import (
    Bye,
    Closed,
    Data,
    Forwarded,
    Item,
    Limits,
    Open,
    Welcome,
)
from mm_transports.relay.protocol.wire import BATCH
from mmplatform.errors import ProtocolError, Unreachable
from mmplatform.token_bucket import BURST
from tests.support.native_door import NOW, OTHER, PATIENCE, PEER, RELAY, limits, within
from tests.support.websocket_ends import settled


async def test_signing_in_with_items_in_the_same_message(opened: Any) -> None:
    door = await opened(limits(frame=7))
    frame = Open(OTHER.sign_key, 5, b"frame")
    guest = await door.knock()
    asked = await guest.hears()
    given = signin.answer(PEER, asked, RELAY.sign_key, bytes(32))
    guest.say(given, frame)
    welcome = await guest.hears()
    signin.check_welcome(asked, given, welcome)
    assert (welcome.now, welcome.limits.frame) == (NOW * 1000, 7)
    session = await within(door.core.signed.get())
    assert (session.key, session.role, session.address) == (PEER.sign_key, items.PEER, "")
    assert await within(door.core.items.get()) == frame
    assert (door.connections.metrics.signed_in, door.connections.metrics.items_in) == (1, 2)
    guest.socket.close()
    assert await within(door.core.left.get()) is session
    await guest.lost()


@pytest.mark.parametrize("said", [[], [Open(bytes(32), 1, b"")], [Bye("x")]])
async def test_nothing_is_taken_before_the_sign_in(opened: Any, said: list[Item]) -> None:
    door = await opened()
    guest = await door.knock()
    guest.say(*said)
    assert await guest.ended() == "bad-sign-in: sign in first"
    assert door.core.items.empty()
    assert door.core.signed.empty()


async def test_a_key_that_is_not_proven(opened: Any) -> None:
    door = await opened()
    guest = await door.knock()
    given = await guest.answer(PEER)
    given.key = OTHER.sign_key
    guest.say(given, Data(bytes(32), 1, b""))
    assert (await guest.ended()).startswith("bad-sign-in")
    assert door.core.items.empty()


async def test_an_answer_to_another_challenge_is_a_replay(opened: Any) -> None:
    door = await opened()
    first, second = await door.knock(), await door.knock()
    given = await first.answer(PEER)
    first.say(given)
    second.say(given)
    assert isinstance(await first.hears(), Welcome)
    assert (await second.ended()).startswith("bad-sign-in")
    first.socket.close()
    await first.lost()


async def test_signing_in_twice(opened: Any) -> None:
    door = await opened()
    guest = await door.knock()
    given = await guest.answer(PEER)
    guest.say(given)
    guest.say(given)
    assert await guest.ended() == "bad-item: SignIn is not for a client to say"


async def test_who_does_not_sign_in_is_sent_away(opened: Any) -> None:
    door = await opened(sign_in_within=0.02)
    guest = await door.knock()
    assert await guest.ended() == "sign in sooner"
    assert door.core.left.empty()


async def test_denied(opened: Any) -> None:
    door = await opened(access=Access(deny={PEER.sign_key}))
    guest = await door.knock()
    guest.say(await guest.answer(PEER), Data(bytes(32), 1, b""))
    bye = await guest.hears()
    assert (bye.reason, bye.retry) == ("denied", 3_600_000)
    await guest.lost()
    assert door.connections.metrics.refused == {"denied": 1}
    assert door.core.items.empty()


async def test_lists_that_change_end_the_sessions_they_name(opened: Any) -> None:
    door = await opened()
    guest, _ = await door.guest()
    other, _ = await door.guest(OTHER)
    door.connections.reconsider(Access(deny={PEER.sign_key}))
    assert await guest.ended() == "denied"
    other.say(Data(bytes(32), 1, b"still here"))
    await within(door.core.items.get())
    other.socket.close()
    await other.lost()


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x91\x92\x63\x00", b"\x93" + bytes(range(40))])
async def test_bytes_that_are_no_items(opened: Any, message: bytes) -> None:
    door = await opened()
    guest, _ = await door.guest()
    guest.socket.send(message)
    assert (await guest.ended()).startswith("bad-item")


@pytest.mark.parametrize(
    "item", [Welcome(bytes(64), 0, limits()), Forwarded(bytes(32), bytes(32), Closed(bytes(32), 1, "x"))]
)
async def test_what_a_peer_may_not_say(opened: Any, item: Item) -> None:
    door = await opened()
    guest, _ = await door.guest(PEER, item, Data(bytes(32), 1, b""))
    assert (await guest.ended()).startswith("bad-item")
    assert door.core.items.empty()


async def test_relays_carry_and_nudge_nobody(opened: Any) -> None:
    door = await opened(access=Access(reaches=lambda address: True))
    guest = await door.knock()
    address = format_relay("wss://x.example/", OTHER.sign_id)
    guest.say(await guest.answer(OTHER, items.RELAY, address))
    session = await within(door.core.signed.get())
    assert (session.role, session.address) == (items.RELAY, address)
    forwarded = Forwarded(bytes(32), bytes(32), Closed(bytes(32), 1, "closed"))
    guest.say(forwarded)
    assert await within(door.core.items.get()) == forwarded
    guest.say(Forwarded(bytes(32), bytes(32), items.MailWaiting()))
    assert (await guest.ended()).startswith("bad-item")


async def test_what_the_core_objects_to_ends_the_session(opened: Any) -> None:
    door = await opened()

    def object_to(session: RelaySession, item: Item) -> None:
        raise ProtocolError("bad-link", "no")

    door.core.then = object_to
    guest, session = await door.guest(PEER, Data(bytes(32), 1, b""), Data(bytes(32), 2, b""))
    assert await guest.ended() == "bad-link: no"
    assert await within(door.core.left.get()) is session
    assert door.core.items.qsize() == 1


async def test_a_session_the_core_ends_from_within_receives_no_more(opened: Any) -> None:
    door = await opened()
    door.core.then = lambda session, item: session.end("taken-over", 1.5)
    guest, session = await door.guest(PEER, Data(bytes(32), 1, b""), Data(bytes(32), 2, b""))
    assert await guest.hears() == Bye("taken-over", 1500)
    await guest.lost()
    await within(door.core.left.get())
    assert door.core.items.qsize() == 1
    session.tell(Closed(bytes(32), 1, "nothing happens"))
    session.end("again")
    assert door.core.left.empty()


async def test_a_bye_of_the_client_ends_it(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest(PEER, Bye("done"), Data(bytes(32), 1, b""))
    assert await within(door.core.left.get()) is session
    await guest.lost()
    assert door.core.items.empty()


async def test_the_first_of_a_turn_leaves_at_once_and_the_others_as_one_message(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    told = [Data(bytes(32), number, b"x" * 100) for number in range(500)]
    for item in told:
        session.tell(item)
    assert [await guest.hears() for _ in told] == told
    assert len(guest.sizes) == 4  # challenge, welcome, the first of these, the others
    guest.socket.close()
    await guest.lost()


async def test_messages_are_cut_at_their_largest_and_big_items_go_alone(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    told: list[Item] = [items.Mail(number, bytes(32), bytes(items.MAX_MAIL)) for number in range(3)]
    told += [Closed(bytes(32), number, "\N{SNOWMAN}" * 200) for number in range(9000)]
    told += [Data(bytes(32), 1, bytes(items.MAX_FRAME))] * 2
    for item in told:
        session.tell(item)
    assert [await guest.hears() for _ in told] == told
    assert max(guest.sizes) <= items.MAX_MESSAGE
    assert sum(size > items.MAX_MAIL for size in guest.sizes) == 3
    guest.socket.close()
    await guest.lost()


async def test_much_in_one_turn_is_written_within_the_turn(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    told = [Data(bytes(32), number, bytes(10_000)) for number in range(60)]
    for item in told:
        session.tell(item)
    assert door.connections.metrics.bytes_out > BATCH
    session.tell(items.Pause(OTHER.sign_key))
    assert door.connections.metrics.items_out == len(told) + 2, (
        "a pause waits for nothing; welcome and all the rest are out"
    )
    assert [await guest.hears() for _ in told] == told
    assert await guest.hears() == items.Pause(OTHER.sign_key)
    guest.socket.close()
    await guest.lost()


async def test_full_by_a_client_that_does_not_read(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    guest.socket.pause_reading()
    for _ in range(200):
        while not session.full:
            session.tell(Data(bytes(32), 1, bytes(items.MAX_FRAME)))
        await settled()
    while not door.core.drained.empty():
        door.core.drained.get_nowait()
    assert session.full
    guest.socket.resume_reading()
    assert await within(door.core.drained.get()) is session
    guest.socket.abort()
    await within(door.core.left.get())
    await guest.lost()


@pytest.mark.parametrize(
    ("limited", "said"),
    [
        (limits(rate_items=100), [Closed(bytes(32), 1, "closed")] * int(100 * BURST + 30)),
        (limits(rate_bytes=3_000), [Data(bytes(32), 1, bytes(int(3_000 * BURST + 1_000)))]),
    ],
)
async def test_who_is_too_fast_is_not_read_for_a_while_and_loses_nothing(
    opened: Any, limited: Limits, said: list[Item]
) -> None:
    door = await opened(limited)
    guest, _ = await door.guest(PEER, *said)
    started = asyncio.get_running_loop().time()
    for item in said:
        assert await within(door.core.items.get()) == item
    last = Closed(bytes(32), 2, "closed")
    guest.say(last)
    assert await within(door.core.items.get()) == last
    assert 0.2 < asyncio.get_running_loop().time() - started < 5
    assert door.connections.metrics.rate_pauses
    guest.socket.close()
    await guest.lost()


async def test_caps_are_told_before_the_upgrade(opened: Any) -> None:
    door = await opened(connection_limits=ConnectionLimits(most=1))
    guest, _ = await door.guest()
    with pytest.raises(Unreachable, match="HTTP 503 this relay is full"):
        await door.knock()
    assert door.connections.metrics.refused == {"this relay is full": 1}
    guest.socket.close()
    await within(door.core.left.get())
    again, _ = await door.guest()
    again.socket.close()
    await again.lost()


async def test_draining(opened: Any) -> None:
    door = await opened()
    guests = [(await door.guest(identity))[0] for identity in (PEER, OTHER)]
    unproven = await door.knock()
    door.connections.drain()
    with pytest.raises(Unreachable, match="draining"):
        await door.knock()
    for guest in (*guests, unproven):
        while not isinstance(bye := await guest.hears(), Bye):
            pass
        assert bye.reason == "draining"
        assert 5000 <= bye.retry <= 10_000
    await door.connections.empty(PATIENCE)
    assert not door.connections.sockets


async def test_draining_does_not_wait_for_those_who_do_not_answer(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    guest.socket.pause_reading()
    while not session.full:
        for _ in range(20):
            session.tell(Data(bytes(32), 1, bytes(items.MAX_FRAME)))
        await settled()
    door.connections.drain()
    await within(door.connections.empty(0.05))
    await settled()
    assert not door.connections.sockets
    guest.socket.abort()
    await guest.lost()
