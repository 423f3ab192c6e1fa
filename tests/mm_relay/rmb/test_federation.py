"""Two relays that pass envelopes on by POST, as rmb-rs does, and what is not taken from whoever posts."""

import asyncio
from typing import Any

import pytest

from mm_relay.rmb.post_client import PostClient
from mm_transports.rmb.protocol.envelope import RmbError, RmbRequest, RmbResponse, encode_envelope
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.addresses import ANYWHERE
from tests.support.rmb_world import KEYS, RmbGuest, RmbRelay, write_twins
from tests.support.waiting import until


@pytest.fixture
async def two(rmb: Any) -> tuple[RmbRelay, RmbRelay]:
    """Twins 10 and 20 are at the first relay, 30 and 40 at the second."""
    first: RmbRelay = await rmb("first")
    second: RmbRelay = await rmb("second", first.clock)
    await introduce(first, second)
    return first, second


async def introduce(first: RmbRelay, second: RmbRelay) -> None:
    at = {10: first, 20: first, 30: second, 40: second}
    records = [TwinInfo(n, KEYS[n].account, KEYS[n].pk, (f"ws:/{relay.host}",)) for n, relay in at.items()]
    for relay in (first, second):
        write_twins(relay.twins, *records)
        await relay.look()


async def test_an_envelope_goes_to_the_relay_of_its_twin_and_the_answer_comes_back(two: Any) -> None:
    first, second = two
    alice, bob = await first.guest("10"), await second.guest("30")
    raw = await alice.ask("30", "one")
    assert await bob.raw() == raw
    answer = encode_envelope(bob.envelope("10", RmbResponse(), "one"))
    await bob.socket.send(answer)
    assert await alice.raw() == answer
    assert first.server.metrics.rmb_posted == {"posted": 1}
    assert first.server.metrics.rmb_posts == {202: 1}


async def test_what_one_twin_sends_to_another_stays_in_order(two: Any) -> None:
    first, second = two
    alice, bob = await first.guest("10"), await second.guest("30")
    for number in range(100):
        await alice.ask("30", f"{number}")
    assert [(await bob.hears()).uid for _ in range(100)] == [f"{number}" for number in range(100)]


async def test_a_relay_that_was_away_gets_each_envelope_once(two: Any, rmb: Any) -> None:
    """Must show 6: also those that wait while the sending relay is restarted."""
    first, second = two
    alice = await first.guest("10")
    await second.server.stop()
    for number in range(50):
        await alice.ask("30", f"{number}")
    await alice.ping()
    assert (await alice.hears()).uid == "ping"
    await first.server.stop()
    again: RmbRelay = await rmb("first", first.clock, listen=first.host)
    back: RmbRelay = await rmb("second", first.clock, listen=second.host)
    bob = await back.guest("30")
    assert sorted([(await bob.hears()).uid for _ in range(50)], key=int) == [f"{number}" for number in range(50)]
    await bob.hears_nothing()
    assert again.server.metrics.rmb_posted == {"posted": 50}


async def test_the_sender_is_told_what_the_other_relay_refuses(two: Any) -> None:
    first, second = two
    write_twins(second.twins, TwinInfo(30, KEYS[30].account, KEYS[30].pk, ("elsewhere.example",)))
    await second.look()
    alice = await first.guest("10")
    await alice.ask("30", "one")
    error = await alice.hears()
    assert (error.uid, error.message) == ("one", RmbError(0, "twin 30: its relay refuses it"))


async def posted(relay: RmbRelay, body: bytes) -> tuple[int, str]:
    client = PostClient(ANYWHERE)
    try:
        answer = await client.post(f"ws:/{relay.host}", body)
        return answer.status, answer.text
    finally:
        client.close()


async def test_what_its_source_has_not_signed_is_not_believed(two: Any) -> None:
    """Hole 9: a relay of rmb-rs takes envelopes of anybody, for anybody."""
    _, second = two
    alice = RmbGuest(None, TwinAddressOf(10), second.clock)  # type: ignore[arg-type]
    forged = alice.envelope("30", RmbRequest("calc.add"), "one", signature=b"e" + bytes(64))
    assert await posted(second, encode_envelope(forged)) == (401, "not signed by twin 10")
    nobody = alice.envelope("30", RmbRequest("calc.add"), "two", source=TwinAddressOf(0))
    assert (await posted(second, encode_envelope(nobody)))[0] == 401
    good = encode_envelope(alice.envelope("30", RmbRequest("calc.add"), "three"))
    assert await posted(second, good) == (202, "")
    assert await posted(second, good) == (202, "")
    bob = await second.guest("30")
    assert (await bob.hears()).uid == "three"
    await bob.hears_nothing()


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"\xff" * 50, 400), (b"\x0a\x01u", 400), (bytes(1024 * 1024 + 1), 413)]
)
async def test_what_is_no_envelope_is_refused(two: Any, body: bytes, status: int) -> None:
    assert (await posted(two[1], body))[0] == status


async def test_who_posts_for_twins_of_other_relays_is_sent_away(two: Any) -> None:
    alice = RmbGuest(None, TwinAddressOf(10), two[0].clock)  # type: ignore[arg-type]
    envelope = encode_envelope(alice.envelope("30", RmbRequest("calc.add"), "one"))
    assert await posted(two[0], envelope) == (421, "twin 30 is not at this relay")


async def test_a_client_that_is_slow_to_post_is_cut_off_at_the_end_of_the_relay(two: Any) -> None:
    _, second = two
    reader, writer = await asyncio.open_connection(*second.host.split(":"))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    await until(lambda: len(second.server._rmb._posts._open) == 1)
    await second.server.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_only_posts_are_taken(two: Any) -> None:
    reader, writer = await asyncio.open_connection(*two[1].host.split(":"))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 413 ")
    writer.close()


def TwinAddressOf(number: int) -> Any:
    from mm_transports.rmb.protocol.address import TwinAddress

    return TwinAddress(number)
