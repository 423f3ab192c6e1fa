"""What rmb-rs loses, repeats or lets pass, and this door does not: holes 1 to 11, and guarantees G1 to G16, by name.

Those that a client keeps are in tests/mm_transports/rmb/client and tests/mm_services/rmb, those of other relays in
test_federation.py.
"""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from mm_relay.metrics import MetricsPage
from mm_relay.rmb.names import box_of
from mm_transports.relay.protocol.items import PEER, Declined, Deposit
from mm_transports.rmb.protocol.envelope import RmbError, RmbPong, RmbResponse, encode_envelope
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.tokens import make_token
from mm_transports.rmb.protocol.twin import TwinInfo
from tests.support.rmb_world import KEYS, NOW, RmbGuest, RmbRelay, write_twins
from tests.support.waiting import until


async def uids(guest: RmbGuest, count: int) -> list[str]:
    return [(await guest.hears()).uid for _ in range(count)]


async def quiet(relay: RmbRelay) -> None:
    """Wait until nothing waits at the relay."""

    async def empty() -> bool:
        return (await relay.server.core.store.usage()).envelopes == 0

    await until(empty)


async def test_hole_1_what_was_only_written_to_a_socket_comes_again(rmb: Any) -> None:
    """G1 as well: a client that never read what was written to it has not taken it."""
    relay: RmbRelay = await rmb()
    alice, bob = await relay.guest("10"), await relay.guest("30")
    bob.socket.transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(100):
        await alice.ask("30", f"{number}")
    await alice.ping()
    await alice.hears()
    await until(lambda: relay.server.metrics.items_out >= 100)
    bob.socket.transport.abort()
    again = await relay.guest("30")
    assert await uids(again, 100) == [f"{number}" for number in range(100)]
    await quiet(relay)


async def test_hole_2_nothing_is_trimmed_and_who_has_no_room_is_told(rmb: Any) -> None:
    """G3 and G4: what was taken in is kept, what is above the quota is answered."""
    relay: RmbRelay = await rmb(recipient_count=80)  # of which one sender has an eighth
    alice = await relay.guest("10")
    for number in range(20):
        await alice.ask("30", f"{number}")
    errors = [await alice.hears() for _ in range(10)]
    assert [error.uid for error in errors] == [f"{number}" for number in range(10, 20)]
    assert {error.message for error in errors} == {RmbError(0, "twin 30: too much of yours waits already")}
    bob = await relay.guest("30")
    assert await uids(bob, 10) == [f"{number}" for number in range(10)]
    await bob.hears_nothing()


async def test_hole_3_what_expires_is_not_delivered_and_its_sender_is_told(rmb: Any) -> None:
    """G5: also of who is away when it expires, once it is back."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    await alice.ask("30", "short", expiration=60)
    await alice.ask("30", "long", expiration=7000)
    await alice.ping()
    await alice.hears()
    await alice.leave()
    relay.clock.now += 61
    await relay.server.core._mailroom.tick()
    back = await relay.guest("10")
    error = await back.hears()
    assert (error.uid, error.message) == ("short", RmbError(102, "twin 30: it expired before it was taken"))
    bob = await relay.guest("30")
    assert await uids(bob, 1) == ["long"]
    await bob.hears_nothing()


async def test_what_has_expired_or_is_dated_later_than_now_is_not_taken_in(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    await alice.ask("30", "late", timestamp=int(NOW) - 300)
    await alice.ask("30", "early", timestamp=int(NOW) + 100)
    for uid in ("late", "early"):
        error = await alice.hears()
        assert error.uid == uid
        assert isinstance(error.message, RmbError)
        assert error.message.code == 102


async def test_hole_4_nothing_of_what_was_posted_stays_behind(rmb: Any) -> None:
    first: RmbRelay = await rmb("first")
    second: RmbRelay = await rmb("second", first.clock)
    write_twins(first.twins, TwinInfo(30, KEYS[30].account, KEYS[30].pk, (f"ws:/{second.host}",)))
    await first.look()
    alice, bob = await first.guest("10"), await second.guest("30")
    for number in range(200):
        await alice.ask("30", f"{number}")
    assert len(await uids(bob, 200)) == 200
    await quiet(first)
    assert (await first.server.core.store.usage()).notes == 0


async def test_hole_5_the_newest_session_stays(rmb: Any) -> None:
    """G7: the end of the older one takes nothing from the newer."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    older = await relay.guest("30")
    newer = await relay.guest("30")
    await older.ended()
    for number in range(3):
        await alice.ask("30", f"{number}")
        assert await uids(newer, 1) == [f"{number}"]
    await newer.hears_nothing()


async def test_hole_7_what_was_taken_does_not_come_again(rmb: Any) -> None:
    """G2: neither of a client whose stack answers pings nor of one that says so itself."""
    relay: RmbRelay = await rmb()
    alice, bob = await relay.guest("10"), await relay.guest("30")
    carol = await relay.guest("40", acknowledges=True)
    for number in range(300):
        await alice.ask("30", f"{number}")
        await alice.ask("40", f"{number}")
    assert len(await uids(bob, 300)) == 300
    got = 0
    while got < 300:
        if (await carol.hears()).message != RmbPong():
            got += 1
            if got % 50 == 0:
                await carol.ping(f"{got}", b"%d-%d" % (got - 49, got))
    await quiet(relay)
    await bob.leave()
    await carol.leave()
    for at in ("30", "40"):
        again = await relay.guest(at)
        await again.hears_nothing()


async def test_who_acknowledges_by_itself_gets_again_what_it_did_not_name(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice, carol = await relay.guest("10"), await relay.guest("40", acknowledges=True)
    for number in range(1, 11):
        await alice.ask("40", f"{number}")
    assert len(await uids(carol, 10)) == 10
    await carol.ping("some", b"1-3 7")
    assert (await carol.hears()).uid == "some"
    await carol.leave()
    again = await relay.guest("40", acknowledges=True)
    assert await uids(again, 6) == ["4", "5", "6", "8", "9", "10"]


@pytest.mark.parametrize("places", [b"0-", b"1 2 ", b"x", b"5", b"1-5", b"1" * 1025])
async def test_places_that_cannot_be_end_the_connection(rmb: Any, places: bytes) -> None:
    relay: RmbRelay = await rmb()
    carol = await relay.guest("40", acknowledges=True)
    await carol.ping("odd", places)
    assert (await carol.ended()).startswith("bad-places")


async def test_hole_11_a_dead_relay_delays_what_is_for_it_alone(rmb: Any) -> None:
    """G10: each set of relays has a lane."""
    first: RmbRelay = await rmb("first")
    second: RmbRelay = await rmb("second", first.clock)
    dead, live = ("ws:/127.0.0.1:9",), (f"ws:/{second.host}",)
    write_twins(first.twins, TwinInfo(20, KEYS[20].account, b"", dead), TwinInfo(30, KEYS[30].account, b"", live))
    await first.look()
    alice, bob = await first.guest("10"), await second.guest("30")
    for number in range(300):  # more than a window of what is under way
        await alice.ask("20", f"dead {number}")
    await alice.ask("30", "live")
    assert await uids(bob, 1) == ["live"]


async def test_g6_what_waits_for_who_is_away_survives_a_restart(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    for number in range(100):
        await alice.ask("30:phone", f"{number}")
    await alice.ping()
    await alice.hears()
    await relay.server.stop()
    again: RmbRelay = await rmb(clock=relay.clock)
    assert await uids(await again.guest("30:phone"), 100) == [f"{number}" for number in range(100)]


async def test_g9_who_reads_nothing_delays_nobody(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice, bob, carol = await relay.guest("10"), await relay.guest("30"), await relay.guest("40")
    bob.socket.transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(1500):
        await alice.ask("30", f"{number}", plain=bytes(4000))
    await alice.ask("40", "through")
    assert await uids(carol, 1) == ["through"]
    door = next(door for door in relay.server.connections.doors if door.key[4:8] == (30).to_bytes(4))
    assert door.socket.buffered < 8 * 1024 * 1024
    bob.socket.transport.abort()


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"audience": "other.example"}, "it is for another relay"), ({"lifetime": 4000}, "long-lived"),
        ({"lifetime": -100}, "expired"),
    ],
)  # fmt: skip
async def test_g11_a_token_is_for_one_relay_and_a_short_time(rmb: Any, claims: dict[str, Any], why: str) -> None:
    relay: RmbRelay = await rmb()
    with pytest.raises(InvalidStatus) as caught:
        await relay.guest("10", **claims)
    assert caught.value.response.status_code == 401
    assert why in (caught.value.response.body or b"").decode()


async def test_tokens_of_nobody_of_others_and_none_are_refused_with_their_reason(rmb: Any) -> None:
    """Zos#2239: a 401 that does not say why."""
    relay: RmbRelay = await rmb()
    good = make_token(KEYS[10], 10, None, int(NOW))
    header, claims, _ = good.split(".")
    forged = make_token(KEYS[20], 10, None, int(NOW))
    nobody = make_token(KEYS[20], 999, None, int(NOW))
    for token, status, why in (
        (f"{header}.{claims}.{forged.split('.')[2]}", 401, "not made by the account"), (forged, 401, "account"),
        (nobody, 401, "there is no twin 999"), ("x", 401, "bad-token"), ("", 400, "missing jwt"),
    ):  # fmt: skip
        with pytest.raises(InvalidStatus) as caught:
            await relay.guest("10", token=token)
        assert caught.value.response.status_code == status
        assert why in (caught.value.response.body or b"").decode()


async def test_a_twin_whose_key_has_changed_signs_in(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    await (await relay.guest("10")).leave()
    changed = TwinKeys(b"\x50" * 32)
    write_twins(relay.twins, TwinInfo(10, changed.account, changed.pk))
    await relay.world._registry._registries[0].look()
    await relay.guest("10", token=make_token(changed, 10, None, int(NOW)))


async def test_g12_nobody_answers_in_the_name_of_another(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice, mallory = await relay.guest("10"), await relay.guest("20")
    forged = encode_envelope(mallory.envelope("10", RmbResponse(), "one", source=alice.at.__class__(30)))
    await mallory.socket.send(forged)
    await mallory.hears_nothing()
    await alice.hears_nothing()


async def test_g14_what_one_twin_sends_to_another_stays_in_order(rmb: Any) -> None:
    """Also of one that has to be looked up first, and over the moment when the recipient comes."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    for number in range(200):
        await alice.ask("30", f"{number}")
    bob = await relay.guest("30")
    for number in range(200, 400):
        await alice.ask("30", f"{number}")
    assert await uids(bob, 400) == [f"{number}" for number in range(400)]


async def test_g16_what_happens_is_counted(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = await relay.guest("10"), await relay.guest("30")
    await alice.ask("30", "one")
    await alice.ask("99", "two")
    assert (await alice.hears()).message == RmbError(103, "there is no twin 99")
    await bob.hears()
    await until(lambda: relay.server.metrics.ended["delivered"])
    page = MetricsPage(relay.server.metrics).render().decode()
    for line in (
        "mm_relay_rmb_sessions 2.0", 'mm_relay_rmb_errors_total{code="103"} 1.0', "mm_relay_stored_total 1.0",
        'mm_relay_ended_total{state="delivered"} 1.0', "mm_relay_delivery_seconds_count 1.0",
    ):  # fmt: skip
        assert line in page


async def test_too_many_pings_end_the_connection(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    asked = asyncio.Event()
    find = relay.world._registry.find

    async def slow(key: Any) -> Any:
        await asked.wait()
        return await find(key)

    relay.world._registry.find = slow
    await alice.ask("30", "one")
    for number in range(20):
        await alice.ping(f"{number}")
    assert (await alice.ended()).startswith("too-many-pings")
    asked.set()


async def test_a_text_message_and_what_is_no_envelope_end_the_connection(rmb: Any) -> None:
    relay: RmbRelay = await rmb()
    for said, why in (("text", "binary messages only"), (b"\xff\xff", "cut"), (b"", "no-kind")):
        alice = await relay.guest("10")
        await alice.socket.send(said)
        assert (await alice.ended()).startswith(why)


@pytest.mark.slow
async def test_of_twenty_thousand_sent_to_who_is_away_for_an_hour_all_are_there(rmb: Any) -> None:
    """rmb-rs keeps 10,010 of them, and the last for an hour at most."""
    many = 20_000
    roomy = {"recipient_count": 8 * many, "sender_count": many, "address_count": many, "recipient_bytes": 2**30}
    relay: RmbRelay = await rmb(**roomy, rate_items=0, rate_address_items=0)
    alice = await relay.guest("10")
    for number in range(many):
        await alice.ask("30", f"{number}", expiration=7200, plain=bytes(100))
        if number % 1000 == 999:
            await alice.ping(f"{number}")
            assert (await alice.hears()).uid == f"{number}"
    relay.clock.now += 3600
    await relay.server.core._mailroom.tick()
    bob = await relay.guest("30")
    for number in range(many):
        assert (await bob.hears()).uid == f"{number}"


async def test_no_peer_of_another_door_leaves_anything_for_a_twin(rmb: Any) -> None:
    """What comes out of a twin's box was put there by the session that the relay holds to its address."""
    relay: RmbRelay = await rmb()
    alice = await relay.guest("10")
    forged = encode_envelope(alice.envelope("30", RmbError(7, "forged"), "one", source=alice.at.__class__(20)))
    told: list[Any] = []

    class Peer:
        key, role, address, place, full = bytes(32), PEER, "", b"", False

        def tell(self, item: Any) -> None:
            told.append(item)

        def end(self, reason: str, retry: float = 0.0) -> None: ...

    box = box_of(alice.at.__class__(30))
    relay.server.core.receive(Peer(), Deposit(box, bytes(16), 2**52, forged))
    await until(lambda: told)
    assert told == [Declined(box, bytes(16), "denied")]
    bob = await relay.guest("30")
    await bob.hears_nothing()
