"""What everything that a client says counts for, when it is handled, and who gives way when too many come."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from mm_relay.doors.limits import ConnectionLimits
from mm_relay.ports import RelaySession
from mm_transports.relay.protocol.items import Bye, Closed, Data, Item, Open, Taken
from mmplatform.errors import Unreachable
from tests.support.native_door import OTHER, PEER, Entrance, limits, within
from tests.support.waiting import until

KEY = bytes(32)
MANY = limits(rate_items=100)
PING, FRAGMENT = b"\x89\x80mask", b"\x00\x80mask"


async def knocks(door: Entrance) -> Any:
    try:
        return await door.knock()
    except Unreachable:
        return None


async def all_leave(door: Entrance, *guests: Any) -> None:
    """Also those that are not read, whose end nobody would notice."""
    await door.connections.empty(0)
    await until(lambda: not door.connections.doors)
    for guest in guests:
        await guest.lost()


def write(guest: Any, raw: bytes) -> None:
    guest.socket._transport.write(raw)


@pytest.mark.parametrize(
    "raw",
    [PING * 600, b"\x02\x80mask" + FRAGMENT * 600 + b"\x80\x81mask" + bytes([0x90 ^ ord("m")]), b"\x82\x81mask" * 0],
)
async def test_a_frame_that_is_no_message_counts_as_one(opened: Any, raw: bytes) -> None:
    door = await opened(MANY)
    guest, _ = await door.guest()
    if not raw:
        for _ in range(600):
            guest.socket.send(b"\x90")  # a message of no items
    write(guest, raw)
    await until(lambda: door.connections.metrics.rate_pauses)
    await all_leave(door, guest)


@pytest.mark.parametrize(
    ("item", "pays"),
    [
        (Taken(list(range(4096))), True), (Taken([1]), False), (Open(KEY, 1, b""), False),
        (Open(KEY, 1, b"", "relay+wss://other.example/key"), True),
    ],
)  # fmt: skip
async def test_an_item_counts_by_what_it_costs(opened: Any, item: Item, pays: bool) -> None:
    door = await opened(limits(rate_items=200))
    guest, _ = await door.guest(PEER, item)
    assert await within(door.core.items.get()) == item
    await asyncio.sleep(0)
    assert bool(door.connections.metrics.rate_pauses) == pays
    await all_leave(door, guest)


async def test_connections_of_one_address_have_one_rate(opened: Any) -> None:
    door = await opened(address_items=1000)
    first, _ = await door.guest()
    second, _ = await door.guest(OTHER)
    for guest in (first, second):
        guest.say(*[Data(KEY, 1, b"")] * 2500)
    await until(lambda: door.core.items.qsize() == 5000)
    await until(lambda: door.connections.metrics.rate_pauses)
    await all_leave(door, first, second)


class NoTime:
    """A clock by which each look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


async def test_the_items_of_one_message_are_handled_over_many_turns_and_in_order(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await opened()
    turns = getattr(door.connections, "turns", None)
    if turns is not None:
        turns._clock = NoTime()
    by_turn: Counter[int] = Counter()
    turn = 0

    def next_turn() -> None:
        nonlocal turn
        turn += 1

    def count(session: RelaySession, item: Item) -> None:
        if not by_turn[turn]:
            asyncio.get_running_loop().call_soon(next_turn)
        by_turn[turn] += 1

    door.core.then = count
    said = [Closed(KEY, number, "closed") for number in range(1000)]
    guest, _ = await door.guest(PEER, *said)
    last = Closed(KEY, 5000, "closed")
    guest.say(last)
    assert [await within(door.core.items.get()) for _ in range(1001)] == [*said, last]
    assert max(by_turn.values()) <= 64
    guest.socket.close()
    await guest.lost()


async def test_what_is_left_of_a_message_is_not_handled_when_its_connection_has_ended(opened: Any) -> None:
    door = await opened()
    guest, session = await door.guest()
    door.connections.turns._clock = NoTime()
    door.core.then = lambda session, item: session.end("enough")
    guest.say(*[Closed(KEY, number, "closed") for number in range(1000)])
    assert await guest.ended() == "enough"
    assert door.core.items.qsize() == 1
    assert await within(door.core.left.get()) is session


# Who gives way.


async def test_who_has_not_signed_in_gives_way_to_who_comes_next(opened: Any) -> None:
    door = await opened(connection_limits=ConnectionLimits(most_unproven=2))
    silent = [await door.knock() for _ in range(2)]
    third = await knocks(door)
    assert third is not None, "a stranger that says nothing keeps others out"
    await silent[0].lost()
    third.say(await third.answer(PEER))
    await within(door.core.signed.get())
    assert door.connections.metrics.refused == {"too many connections that have not signed in": 1}
    for guest in (silent[1], third):
        guest.socket.abort()
        await guest.lost()


async def test_the_silent_of_an_address_give_way_to_one_of_it_that_signs_in(opened: Any) -> None:
    door = await opened(connection_limits=ConnectionLimits(most_an_address=2))
    silent = [await door.knock() for _ in range(2)]
    third = await knocks(door)
    assert third is not None, "who shares an address with a stranger is kept out"
    await silent[0].lost()
    third.socket.abort()
    silent[1].socket.abort()
    await third.lost()
    await silent[1].lost()


async def test_who_gives_way_is_told_nothing_as_it_may_not_read(opened: Any) -> None:
    door = await opened(connection_limits=ConnectionLimits(most_unproven=1))
    silent = await door.knock()
    await silent.hears()
    other = await knocks(door)
    assert other is not None
    await silent.lost()
    assert not any(isinstance(item, Bye) for item in silent.told._queue)
    other.socket.abort()
    await other.lost()


async def test_what_a_client_says_with_its_last_word_is_charged(opened: Any) -> None:
    door = await opened(address_items=1000)
    guest, session = await door.guest(PEER, Taken(list(range(4096))), Taken(list(range(4096))), Bye("bye"))
    assert await within(door.core.left.get()) is session
    await guest.lost()
    again, _ = await door.guest(OTHER)
    assert door.connections.metrics.rate_pauses
    await all_leave(door, again)
