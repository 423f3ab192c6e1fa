"""The door for clients of RMB, on real sockets, before a real relay."""

import asyncio
import socket
from typing import Any, cast

from mm_relay.doors.weights import DEPOSIT_ITEMS, RELAY_ITEMS
from mm_relay.rmb.door import ANSWER_ITEMS, MOST_UNREAD, READ_ITEMS
from mm_transports.relay.websocket import HIGH_WATER
from mm_transports.rmb.protocol.envelope import RmbError, RmbPong, RmbResponse, encode_envelope
from mm_transports.rmb.protocol.twin import TwinInfo
from tests.support.rmb_world import KEYS, RmbRelay, narrow, write_twins
from tests.support.waiting import until


async def test_a_request_and_its_answer_are_forwarded_as_they_came(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = await relay.guest("10:js"), await relay.guest("30")
    raw = await alice.ask("30", "one", tags="", plain=b"[1,2]")
    assert await bob.raw() == raw
    answer = encode_envelope(bob.envelope("10:js", RmbResponse(), "one", plain=b"3"))
    await bob.socket.send(answer)
    assert await alice.raw() == answer
    await alice.leave()
    await bob.leave()


async def test_a_ping_is_answered_behind_what_was_sent_before(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    for number in range(50):
        await alice.ask("30", f"one {number}")
    await alice.ping("behind")
    pong = await alice.hears()
    assert (pong.uid, pong.message, pong.destination) == ("behind", RmbPong(), alice.at)
    assert relay.server.metrics.stored == 50
    bob = await relay.guest("30")
    assert [(await bob.hears()).uid for _ in range(50)] == [f"one {number}" for number in range(50)]


async def test_who_speaks_for_another_is_told_so(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    await alice.ask("30", "one", source=alice.at.__class__(20))
    error = await alice.hears()
    assert (error.uid, error.message) == ("one", RmbError(0, "message wrong source"))
    assert (error.source, error.signature) == (None, None)


async def test_what_was_said_before_the_client_knew_of_the_end_is_kept(rmb: Any) -> None:
    """An orderly restart loses nothing of clients that do not say anything twice."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    await alice.ask("30", "warm")
    await alice.ping()
    await alice.hears()
    relay.server.connections.drain()
    for number in range(200):
        await alice.ask("30", f"late {number}")
    await relay.server.stop()
    again: RmbRelay = await rmb(clock=relay.clock)
    bob = await again.guest("30")
    assert [(await bob.hears()).uid for _ in range(201)] == ["warm", *[f"late {number}" for number in range(200)]]
    await bob.hears_nothing()


async def test_who_reads_no_errors_is_not_read_and_misses_none(rmb: Any) -> None:
    """Of a client that asked what is refused, and read nothing, megabytes of errors a second waited in memory."""
    relay: RmbRelay = await rmb(rate_items=0, rate_address_items=0)
    alice = await relay.guest("10", sock=narrow(relay.host))
    uids = [f"{number}".ljust(250, "x") for number in range(6000)]

    async def ask() -> None:
        for uid in uids:
            await alice.ask("30", uid, source=alice.at.__class__(20), signature=b"e" + bytes(64))

    asking = asyncio.create_task(ask())
    [door] = relay.server.connections.doors
    door.socket._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    most = 0

    def holds() -> bool:
        nonlocal most
        most = max(most, door.socket.buffered)
        return door.holding

    await until(holds)
    assert most <= HIGH_WATER + 2 * MOST_UNREAD
    assert [(await alice.hears()).uid for _ in uids] == uids
    await asking
    await alice.leave()


async def test_who_is_refused_is_not_heard_out(rmb: Any) -> None:
    """What a client said after it was refused was read and handled for two seconds, and counted for nothing."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    await alice.socket.send(b"noise")
    for number in range(20):
        await alice.ask("30", f"late {number}")
    await alice.ended()
    assert relay.server.metrics.stored == 0


async def test_what_comes_after_the_end_has_a_rate(rmb: Any) -> None:
    relay: RmbRelay = await rmb(rate_items=100)
    alice = await relay.guest("10")
    await alice.ask("30", "warm")
    await alice.ping()
    await alice.hears()
    relay.server.connections.drain()
    for number in range(200):
        await alice.ask("30", f"late {number}")
    await alice.ended()
    assert 0 < relay.server.metrics.stored < 50


async def test_what_costs_more_to_serve_counts_as_more_items(rmb: Any) -> None:
    """Pings, envelopes that are looked up, and other relays were as cheap as the smallest frame."""
    relay: RmbRelay = await rmb()
    write_twins(relay.twins, TwinInfo(40, KEYS[40].account, KEYS[40].pk, ("far.example",)))
    await relay.look()
    alice = await relay.guest("10")
    [door] = relay.server.connections.doors
    spent: list[int] = []
    meter = door.meter

    class Meter:
        address = meter.address

        def spend(self, items: int, size: int, now: float) -> float:
            spent.append(items)
            return float(meter.spend(items, size, now))

    door.meter = cast(Any, Meter())
    await alice.ping()
    await alice.hears()
    assert sum(spent) == 1 + READ_ITEMS + ANSWER_ITEMS
    spent.clear()
    await alice.ask("40", "one")
    await alice.ping("behind")
    await alice.hears()
    await alice.ping("once more")
    await alice.hears()
    assert sum(spent) >= RELAY_ITEMS + DEPOSIT_ITEMS
    await alice.leave()
