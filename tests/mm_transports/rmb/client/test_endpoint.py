"""An endpoint at relays that lose, repeat, forge and keep silent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mm_transports.rmb.client import departures, endpoint, twin_link
from mm_transports.rmb.client.endpoint import TwinEndpoint
from mm_transports.rmb.client.errors import NO_KEY, UNKNOWN_TWIN, TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import verify_envelope
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbRequest, RmbResponse
from mm_transports.rmb.protocol.tokens import parse_token
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.errors import Expired, InvalidPayload, LocalError, NotRunning, Unreachable
from tests.support.rmb_scripted import Known, ScriptedRelay, opened, signed
from tests.support.rmb_world import KEYS, NOW
from tests.support.waiting import until

Open = Callable[..., Awaitable[Any]]
TEN = TwinAddress(10)
ASKS = RmbRequest("calc.add")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "LOOK", 0.01)
    monkeypatch.setattr(twin_link, "FIRST_PAUSE", 0.01)


def error(uid: str, **fields: Any) -> RmbEnvelope:
    """What a relay says itself."""
    return RmbEnvelope(uid=uid, message=RmbError(0, "destination offline"), timestamp=1, expiration=1, **fields)


async def test_send_returns_when_a_pong_covers_it(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    relay.mute = True
    sending = asyncio.create_task(here.endpoint.send(TEN, ASKS, uid="a", payload=b"[1]", schema="application/json"))
    envelope = await relay.next()
    assert (envelope.uid, str(envelope.source), str(envelope.destination)) == ("a", "30", "10")
    assert opened(envelope, 10) == b"[1]"
    verify_envelope(envelope, KEYS[30].account)
    assert not sending.done()
    token = parse_token(relay.tokens[0])
    assert (token.twin, token.acknowledges, token.audience) == (30, True, relay.url[5:-1])
    relay.drop()
    again = await relay.next()  # after the connection is another one
    assert (again.uid, again.signature != b"", len(relay.tokens)) == ("a", True, 2)
    assert relay.tokens[0] != relay.tokens[1] or here.clock() == NOW
    relay.mute = False
    relay.drop()
    await sending


async def test_what_is_sent_again_is_stamped_anew(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    relay.mute = True
    sending = asyncio.create_task(here.endpoint.send(TEN, ASKS, uid="a", ttl=100))
    first = await relay.next()
    here.clock.now += 30
    relay.drop()
    second = await relay.next()
    assert (first.timestamp, first.expiration) == (NOW, 100)
    assert (second.timestamp, second.expiration) == (NOW + 30, 70)
    verify_envelope(second, KEYS[30].account)
    here.clock.now += 80
    relay.drop()
    with pytest.raises(Expired):
        await sending
    assert relay.silent


async def test_a_relay_that_confirms_nothing_is_left_for_another(
    relay: ScriptedRelay, second: ScriptedRelay, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await open_at(relay, second)
    await until(lambda: all(trouble == "" for trouble in here.endpoint.relays.values()))
    monkeypatch.setattr(twin_link, "LONGEST_SILENCE", 0.05)
    relay.mute = True
    await here.endpoint.send(TEN, ASKS, uid="a")
    assert ((await relay.next()).uid, (await second.next()).uid) == ("a", "a")
    await here.endpoint.send(TEN, ASKS, uid="b")  # the first has failed: it comes last
    assert (await second.next()).uid == "b"


async def test_what_waits_for_a_relay_expires_and_leaves_in_order(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    relay.mute = True
    late = asyncio.create_task(here.endpoint.send(TEN, ASKS, uid="late", ttl=10))
    given_up = asyncio.create_task(here.endpoint.send(TEN, ASKS, uid="given up"))
    others = [asyncio.create_task(here.endpoint.send(TEN, ASKS, uid=str(number))) for number in range(20)]
    for _ in range(22):
        await relay.next()
    given_up.cancel()
    await asyncio.wait([given_up])
    here.clock.now += 11
    relay.drop()
    assert [(await relay.next()).uid for _ in range(20)] == [str(number) for number in range(20)]
    with pytest.raises(Expired):
        await late
    relay.mute = False
    relay.drop()
    await asyncio.gather(*others)


async def test_above_the_window_send_waits(
    relay: ScriptedRelay, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await open_at(relay)
    monkeypatch.setattr(departures, "WINDOW", 4)
    relay.mute = True
    sending = [asyncio.create_task(here.endpoint.send(TEN, ASKS, uid=str(number))) for number in range(12)]
    assert [(await relay.next()).uid for _ in range(4)] == ["0", "1", "2", "3"]
    sending[5].cancel()
    await asyncio.wait([sending[5]])
    assert relay.silent
    relay.mute = False
    relay.drop()
    await asyncio.gather(*sending, return_exceptions=True)
    assert [task.cancelled() for task in sending].count(True) == 1


async def test_a_relay_is_believed_what_it_says_of_what_it_was_given(
    relay: ScriptedRelay, second: ScriptedRelay, open_at: Open
) -> None:
    here = await open_at(relay, second)
    await until(lambda: all(trouble == "" for trouble in here.endpoint.relays.values()))
    relay.mute = True
    sending = asyncio.create_task(here.endpoint.send(TEN, RmbResponse(), uid="refused"))
    await relay.next()
    await second.say(error("refused"))  # was never given it
    await relay.say(error("refused", signature=bytes(65)))
    assert not sending.done()
    await relay.say(error("refused"))
    with pytest.raises(TwinError, match="destination offline"):
        await sending
    relay.mute = False
    relay.drop()
    await until(lambda: len(relay.sockets) == 2 and here.endpoint.trouble == "")
    await here.endpoint.send(TEN, ASKS, uid="kept")
    given = relay if not relay.silent else second
    await given.say(error("other"), error("kept"), error("kept"))
    await until(lambda: here.told)
    await here.endpoint.ping_relay(given.url[5:-1])
    assert [(uid, told.code) for uid, told in here.told] == [("kept", 0)]
    here.endpoint.ended("kept")


async def test_places_count_what_is_no_word_of_the_relay(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    await relay.say(
        error("x"), b"\xff", signed("10", "30", ASKS, "a"), error("y"), error("z", source=TwinAddress(0)),
        signed("10", "30", ASKS, "b"),
    )  # fmt: skip
    await until(lambda: len(here.received) == 2)
    here.received[1].taken()
    await until(lambda: b"1 3-4" in b" ".join(relay.places) or b"4" in relay.places)
    here.received[0].taken()
    await until(lambda: relay.places[-1] == b"2")
    taken = {place for places in relay.places for place in places.replace(b"-", b" ").split()}
    assert taken == {b"1", b"2", b"3", b"4"}


async def test_a_twin_that_cannot_be_sent_to(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    here.registry.twins[20] = TwinInfo(20, KEYS[20].account)
    with pytest.raises(TwinError) as caught:
        await here.endpoint.send(TwinAddress(99), ASKS, uid="a")
    assert caught.value.code == UNKNOWN_TWIN
    with pytest.raises(TwinError, match="no key to encrypt to") as caught:
        await here.endpoint.send(TwinAddress(20), ASKS, uid="a", payload=b"secret")
    assert caught.value.code == NO_KEY
    with pytest.raises(InvalidPayload):
        await here.endpoint.send(TEN, ASKS, uid="a", payload=bytes(2 * 1024 * 1024))
    assert relay.silent


async def test_plain_only_where_it_was_asked_for(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay, plain=True)
    here.registry.twins[20] = TwinInfo(20, KEYS[20].account)
    await here.endpoint.send(TwinAddress(20), ASKS, uid="a", payload=b"open")
    assert (await relay.next()).plain == b"open"
    await relay.say(signed("10", "30", ASKS, "b", plain=b"open"))
    await until(lambda: here.received)
    assert (here.received[0].payload, here.received[0].encrypted) == (b"open", False)


async def test_strangers_cost_few_look_ups(relay: ScriptedRelay, open_at: Open) -> None:
    here = await open_at(relay)
    await relay.say(*(signed("10", "30", ASKS, f"forged{number}", by=20) for number in range(50)))
    await relay.say(*(signed("99", "30", ASKS, f"nobody{number}", by=20) for number in range(50)))
    await relay.say(signed("10", "30", ASKS, "good"))
    await until(lambda: here.received)
    assert [received.uid for received in here.received] == ["good"]
    await until(lambda: sum(here.endpoint.dropped.values()) == 100)
    assert here.registry.asked.count(10) <= 2
    assert here.registry.asked.count(99) <= 2


async def test_what_comes_waits_for_a_registry_that_is_away(
    relay: ScriptedRelay, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm_transports.rmb.client import arrivals
    from mm_transports.rmb.twins import cached_registry

    monkeypatch.setattr(arrivals, "SEEK_AGAIN", 0.01)
    monkeypatch.setattr(cached_registry, "RETRY", 0.0)
    here = await open_at(relay)
    away = [True]
    find = here.registry.find

    async def fails(key: Any) -> Any:
        if away[0]:
            raise Unreachable("the registry is away")
        return await find(key)

    monkeypatch.setattr(here.registry, "find", fails)
    await relay.say(*(signed("10", "30", ASKS, str(number)) for number in range(100)))
    await until(lambda: here.endpoint.dropped.get("unknown") == 36)  # what is above the share of one
    away[0] = False
    await until(lambda: len(here.received) == 64)
    assert [received.uid for received in here.received] == [str(number) for number in range(64)]


async def test_new_keys_are_looked_up_when_the_old_do_not_fit(
    relay: ScriptedRelay, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm_transports.rmb.twins import cached_registry

    monkeypatch.setattr(cached_registry, "RETRY", 0.0)
    here = await open_at(relay)
    here.registry.twins[10] = TwinInfo(10, KEYS[20].account, KEYS[20].pk)
    await relay.say(signed("10", "30", ASKS, "a", b"1", by=20))
    await until(lambda: len(here.received) == 1)
    here.registry.twins[10] = TwinInfo(10, KEYS[10].account, KEYS[40].pk)
    await relay.say(signed("10", "30", ASKS, "b"))
    await until(lambda: len(here.received) == 2)
    here.registry.twins[10] = TwinInfo(10, KEYS[10].account, KEYS[10].pk)
    await relay.say(signed("10", "30", ASKS, "c", b"3"))  # does not decrypt by the key that is remembered
    await until(lambda: len(here.received) == 3)
    assert [(received.uid, received.payload) for received in here.received] == [("a", b"1"), ("b", b""), ("c", b"3")]


async def test_what_is_closed_says_so(relay: ScriptedRelay) -> None:
    made = TwinEndpoint(
        KEYS[30], 30, registry=Known(), relays=[relay.url], receive=lambda received: None,
        told=lambda uid, error: None,
    )  # fmt: skip
    with pytest.raises(NotRunning):
        await made.send(TEN, ASKS, uid="a")
    await made.open()
    await made.connected()
    relay.mute = True
    sending = asyncio.create_task(made.send(TEN, ASKS, uid="a"))
    await relay.next()
    await made.close(0.01)
    with pytest.raises(NotRunning):
        await sending
    for relays in ([], ["http://relay.example"], ["ws://a", "ws://b", "ws://c", "ws://d", "ws://e"]):
        with pytest.raises(LocalError):
            TwinEndpoint(
                KEYS[30], 30, registry=Known(), relays=relays, receive=lambda received: None,
                told=lambda uid, error: None,
            )  # fmt: skip
    assert endpoint.TTL == 300
