"""The holes of RMB that a client can close, and its part of what a better transport guarantees, each by name.

The holes are those of rmb-rs and its clients, H7 to H10; the guarantees are G1 to G16 of the page of this platform.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mm_services.rmb import serving
from mm_services.rmb.twin import Twin
from mm_transports.rmb.client import departures, twin_link
from mm_transports.rmb.client.errors import BAD_PAYLOAD, EXPIRED, NO_KEY, TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbRequest, RmbResponse, encode_envelope
from mm_transports.rmb.protocol.tokens import check_token, parse_token
from mm_transports.rmb.protocol.twin import TwinInfo as TwinFacts
from mmplatform.errors import RequestTimeout
from tests.support.rmb_scripted import Known, ScriptedRelay, opened, scripted_relay, signed
from tests.support.rmb_world import KEYS, NOW, Clock, RmbRelay, rmb
from tests.support.waiting import until

__all__ = ["rmb"]

ADD = RmbRequest("calc.add")
JSON = "application/json"


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with scripted_relay() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "LOOK", 0.01)
    monkeypatch.setattr(twin_link, "FIRST_PAUSE", 0.01)


class Asked:
    """Twin 30, which adds; what it was asked."""

    def __init__(self, relay: ScriptedRelay, **options: Any) -> None:
        self.registry, self.clock, self.calls = Known(), Clock(), list[Any]()
        self.twin = Twin(KEYS[30], 30, registry=self.registry, relays=[relay.url], now=self.clock, **options)
        self.twin.on("calc.add")(self._add)

    def _add(self, command: str, sender: TwinAddress, payload: Any) -> int:
        self.calls.append(payload)
        return sum(payload)


async def asks(twin: Twin, relay: ScriptedRelay, **options: Any) -> tuple["asyncio.Task[Any]", RmbEnvelope]:
    """Have ``twin`` ask 10 something; return the task and what the relay was given."""
    task = asyncio.create_task(twin.request(10, "calc.add", [1, 2], **options))
    return task, await relay.next()


def answer(uid: str, payload: bytes = b"3", source: str = "10", **fields: Any) -> RmbEnvelope:
    return signed(source, "30", RmbResponse(), uid, payload, **{"schema": JSON, **fields})


async def test_h7_what_comes_again_is_handled_once_also_over_another_connection(relay: ScriptedRelay) -> None:
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        request = signed("10", "30", ADD, "a", b"[1,2]", schema=JSON)
        await relay.say(request, request)
        assert opened(await relay.next(), 10) == b"3"
        relay.drop()
        await until(lambda: len(relay.sockets) == 2)
        await relay.say(request)  # a genuine relay hands over again what it has not deleted
        again = await relay.next()
        assert (again.uid, opened(again, 10)) == ("a", b"3")  # from memory
        await until(lambda: relay.places and relay.places[-1] == b"1")
    assert here.calls == [[1, 2]]
    assert here.twin.counts == {"answered": 1, "repeats": 2}


async def test_h8_and_g12_an_answer_counts_only_from_who_was_asked(relay: ScriptedRelay) -> None:
    here = Asked(relay)
    async with here.twin as twin:
        task, request = await asks(twin, relay)
        uid = request.uid
        await relay.say(
            answer(uid, source="20"),  # another twin, by its own keys
            answer(uid, by=20),  # another twin, in the name of the one that was asked
            answer(uid, timestamp=int(NOW) - 7200),  # an old one
            answer("another uid"),
            encode_envelope(RmbEnvelope(uid=uid, message=RmbResponse(), timestamp=int(NOW), expiration=300)),
            signed("10", "30", RmbError(7, "forged"), uid, by=20),
            signed("10", "20", RmbError(7, "for another"), uid),
            signed("10", "30:desk", RmbError(7, "for another session"), uid),
        )
        await until(lambda: sum(twin.counts.values()) == 5)
        assert not task.done()
        await relay.say(answer(uid))
        assert await task == 3
    assert twin.counts == {
        "answered": 0, "repeats": 0, "forged": 2, "expired": 1, "misdirected": 2,
    }  # fmt: skip


async def test_h8_an_error_that_nobody_signed_counts_only_from_the_relay_that_was_given_the_request(
    relay: ScriptedRelay,
) -> None:
    here = Asked(relay)
    async with here.twin as twin, scripted_relay() as other, Twin(
        KEYS[30], 30, registry=here.registry, relays=[relay.url, other.url], session="two", now=here.clock
    ) as two:  # fmt: skip
        await until(lambda: not any(two.relays.values()) and not any(twin.relays.values()))
        task = asyncio.create_task(two.request(10, "calc.add", [1, 2]))
        given = await relay.next()
        said = RmbEnvelope(uid=given.uid, message=RmbError(0, "no"), timestamp=int(NOW), expiration=300)
        await other.say(said)
        await two.ping_relay(other.url[5:-1])
        assert not task.done()
        await relay.say(said)
        with pytest.raises(TwinError, match="no"):
            await task


async def test_h9_nothing_of_source_zero_or_of_none_reaches_a_handler(relay: ScriptedRelay) -> None:
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        plain = {"message": ADD, "timestamp": int(NOW), "expiration": 300, "destination": TwinAddress(30)}
        await relay.say(
            RmbEnvelope(uid="none", **plain), RmbEnvelope(uid="zero", source=TwinAddress(0), **plain),
            RmbEnvelope(uid="unsigned", source=TwinAddress(10), **plain),
            signed("10", "30", ADD, "good", b"[4]", schema=JSON),
        )  # fmt: skip
        assert (await relay.next()).uid == "good"
        await until(lambda: relay.taken == {1, 2, 3, 4})  # they need not come again
        assert twin.counts["forged"] == 1
    assert here.calls == [[4]]


async def test_h10_other_readings_of_a_signature_are_refused(relay: ScriptedRelay) -> None:
    """One signature is good for all of these; docs/protocol/rmb.rst says which rule refuses each."""
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        made = signed("10", "30", ADD, "a", b"[1]", schema=JSON)

        def read(**fields: Any) -> RmbEnvelope:
            moved = signed("10", "30", ADD, "a", b"[1]", schema=JSON)
            for name, value in fields.items():
                setattr(moved, name, value)
            moved.signature = made.signature
            moved.cipher = None if moved.plain else made.cipher
            return moved

        await relay.say(
            read(uid="a1", timestamp=800_000_000),  # a digit of the stamp is in the uid
            read(timestamp=180_000_000_030, expiration=0),  # one of the expiration is in the stamp
            read(destination=TwinAddress(3, "0")),  # one of the twin is in its session
            read(destination=TwinAddress(30, "calc."), message=RmbRequest("add")),
            read(plain=made.cipher),  # the cipher as plain
            read(message=RmbResponse(), schema="calc.addapplication/json"),
            made,
        )
        said = [await relay.next() for _ in range(4)]
        codes = {each.uid: each.message.code for each in said if isinstance(each.message, RmbError)}
        assert codes == {"a1": EXPIRED, "a": BAD_PAYLOAD}
        assert [opened(each, 10) for each in said if isinstance(each.message, RmbResponse)] == [b"1"]
        assert here.calls == [[1]]
        assert twin.counts == {"answered": 1, "repeats": 0, "expired": 2, "misdirected": 2, "unreadable": 1}


async def test_h10_and_g11_a_replay_is_refused_as_long_as_it_lives_and_then_it_is_too_old(
    relay: ScriptedRelay,
) -> None:
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        request = signed("10", "30", ADD, "a", b"[1]", schema=JSON)
        await relay.say(request)
        await relay.next()
        for _ in range(2):
            here.clock.now += 100
            await relay.say(request)
            assert opened(await relay.next(), 10) == b"1"  # the first answer, once more
        here.clock.now += 100
        await relay.say(request)
        await until(lambda: twin.counts.get("expired") == 1)
        assert relay.silent
    assert here.calls == [[1]]


async def test_g11_a_token_is_made_for_each_relay_and_each_dial(relay: ScriptedRelay) -> None:
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        here.clock.now += 59
        relay.drop()
        await until(lambda: len(relay.tokens) == 2)
        first, second = map(parse_token, relay.tokens)
        check_token(second, KEYS[30].account, int(here.clock()))
        assert (second.issued - first.issued, second.expires - second.issued) == (59, 60)
        assert first.audience == second.audience == relay.url[5:-1]


async def test_g2_one_call_of_a_handler_for_each_request_over_two_relays_of_which_one_repeats(
    relay: ScriptedRelay,
) -> None:
    async with scripted_relay() as other:
        here = Asked(relay)
        both = Twin(KEYS[30], 30, registry=here.registry, relays=[relay.url, other.url], now=here.clock)
        both.on("calc.add")(here._add)
        async with both:
            await until(lambda: not any(both.relays.values()))
            requests = [signed("10", "30", ADD, str(number), b"[%d]" % number, schema=JSON) for number in range(50)]
            await relay.say(*requests)
            await other.say(*requests, *requests)
            await until(lambda: both.counts["repeats"] == 100)
            await until(lambda: both.counts["answered"] == 50)
        assert sorted(here.calls) == [[number] for number in range(50)]


async def test_g15_nothing_is_sent_or_taken_without_encryption_unless_it_was_asked_for(relay: ScriptedRelay) -> None:
    here = Asked(relay)
    here.registry.twins[40] = TwinFacts(40, KEYS[40].account)
    async with here.twin as twin:
        await twin.connected()
        with pytest.raises(TwinError) as caught:
            await twin.request(40, "calc.add", [1])
        assert caught.value.code == NO_KEY
        assert relay.silent
        await relay.say(signed("10", "30", ADD, "a", plain=b"[1]", schema=JSON))
        refused = await relay.next()
        assert isinstance(refused.message, RmbError)
        assert refused.message.code == BAD_PAYLOAD
        task, request = await asks(twin, relay, timeout=0.2)
        await relay.say(signed("10", "30", RmbResponse(), request.uid, plain=b"3", schema=JSON))
        with pytest.raises(RequestTimeout):
            await task
    assert here.calls == []


async def test_g13_the_first_answer_behind_a_new_connection_comes_at_once(
    rmb: Callable[..., Any], tmp_path: Any
) -> None:
    """rmb-rs has up to 2 s for the first one, its npm client looks for answers once a second."""
    world: RmbRelay = await rmb()
    registry = Known()
    served = Twin(KEYS[30], 30, registry=registry, relays=[f"ws://{world.host}/"], now=world.clock)
    served.on("echo")(lambda command, sender, payload: payload)
    took = []
    async with served:
        await served.connected()
        for number in range(10):
            twin = Twin(
                KEYS[10], 10, registry=registry, relays=[f"ws://{world.host}/"], session=str(number), now=world.clock
            )
            async with twin:
                await twin.connected()
                began = time.perf_counter()
                assert await twin.request(30, "echo", number) == number
                took.append(time.perf_counter() - began)
    assert min(took) < 0.05


async def test_an_answer_that_the_relay_has_no_room_for_is_sent_again(
    relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "RETRIES", (0.01, 0.01, 0.01))
    here = Asked(relay)
    async with here.twin as twin:
        await twin.connected()
        relay.mute = True
        await relay.say(signed("10", "30", ADD, "a", b"[1]", schema=JSON))
        for _ in range(4):
            said = await relay.next()
            assert opened(said, 10) == b"1"
            full = RmbError(0, "twin 10: its mailbox is full")
            await relay.say(RmbEnvelope(uid="a", message=full, timestamp=int(NOW), expiration=300))
        await until(lambda: twin.counts["answered"] == 1)
        assert relay.silent
    assert here.calls == [[1]]
