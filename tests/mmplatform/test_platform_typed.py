"""Types and middleware between two nodes: what fits is handled, what does not is refused, and its sender told why."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from mmplatform import InvalidPayload, Platform, Refused, RequestFailed
from mmplatform.message import DELIVERED, SENT, Message, Outcome
from mmplatform.storage.memory import MemoryStorage
from tests.support.bus import Heard
from tests.support.peers import befriend
from tests.support.waiting import until
from tests.support.world import World, listen_to


@dataclass
class Reading:
    at: datetime
    amounts: set[Decimal]


READING = Reading(datetime(2026, 1, 2, tzinfo=UTC), {Decimal("1.10"), Decimal(2)})
WRONG = {"at": "secret", "amounts": []}
REASON = "bad-payload: payload.at: Invalid RFC3339 encoded datetime"


async def end_of(sender: Platform, topic: str, to: str, payload: object) -> Outcome:
    delivery = await sender.messaging.send(topic, to, payload)
    await until(lambda: delivery.done)
    assert delivery.outcome is not None
    return delivery.outcome


# Types.


@pytest.mark.parametrize("remote", [True, False])
async def test_a_reading_arrives_as_one_and_another_form_is_refused(remote: bool) -> None:
    async with World().nodes() as [alice, bob]:
        to = bob.sign_id if remote else "local"
        events = listen_to(bob)
        heard = (bob if remote else alice).messaging.on("*.reading", Reading, Heard())
        assert await end_of(alice, "reading", to, READING) == DELIVERED
        assert await end_of(alice, "reading", to, WRONG) == Outcome("refused", REASON)
        assert await end_of(alice, "reading", to, READING) == DELIVERED
        assert heard.payloads == [READING, READING]
        assert "error" not in [event[0] for event in events]
        assert bob.inbox.failed == 0


async def test_whoever_awaits_the_delivery_is_told_why() -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.reading", Reading, Heard())
        alice.messaging.on("self.reading", Reading, Heard())
        for to in (bob.sign_id, "local"):
            with pytest.raises(Refused, match=r"payload\.at: Invalid"):
                await (await alice.messaging.send("reading", to, WRONG))


@pytest.mark.parametrize("scope", ["friends", "public"])
@pytest.mark.parametrize("remote", [True, False])
async def test_a_request_is_answered_with_the_reason(scope: str, remote: bool) -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        if scope == "friends":
            await befriend(alice, bob)
        else:
            await alice.add(bob.ticket())
        to = bob.sign_id if remote else "local"
        asked: list[Reading] = []

        @(bob if remote else alice).messaging.on(">", Reading)
        async def answer(topic: str, sender: str, reading: Reading) -> Reading:
            asked.append(reading)
            return reading

        with pytest.raises(RequestFailed, match=r"payload\.at: Invalid"):
            await alice.messaging.request("reading", to, WRONG)
        assert asked == []
        assert await alice.messaging.request("reading", to, READING, returns=Reading) == READING


@pytest.mark.parametrize("remote", [True, False])
async def test_a_reply_of_another_form_is_an_error(remote: bool) -> None:
    async with World().nodes() as [alice, bob]:
        to = bob.sign_id if remote else "local"
        (bob if remote else alice).messaging.on("*.echo", lambda topic, sender, payload: payload)
        assert await alice.messaging.request("echo", to, [1, 2], returns=tuple[int, int]) == (1, 2)
        assert await alice.messaging.request("echo", to, 5, returns=int | str) == 5
        with pytest.raises(RequestFailed, match=r"the reply does not fit: payload\.at: Invalid"):
            await alice.messaging.request("echo", to, WRONG, returns=Reading)
        with pytest.raises(TypeError, match="no type of payloads"):
            await alice.messaging.request("echo", to, 1, returns=complex)


async def test_a_reply_that_cannot_be_sent_cannot_be_had_from_this_process_either() -> None:
    async with World().nodes() as [alice, bob]:
        for node in (alice, bob):
            node.messaging.on("*.odd", lambda topic, sender, payload: {"a": [1j]})
        for to in (bob.sign_id, "local"):
            with pytest.raises(RequestFailed, match=r"payload\.a\[0\], a complex"):
                await alice.messaging.request("odd", to, returns=dict[str, Any])


async def test_what_was_kept_is_refused_by_the_typed_handler_that_comes() -> None:
    world, storage = World(), MemoryStorage()
    async with world.node(1) as alice, world.node(2, storage=storage) as bob:
        await befriend(alice, bob)
        sent = [await alice.messaging.send("reading", bob.sign_id, one) for one in (READING, WRONG, READING)]
        for delivery in sent:
            await delivery.received()
        heard = bob.messaging.on("friends.reading", Reading, Heard())
        await until(lambda: all(delivery.done for delivery in sent))
        assert [delivery.outcome for delivery in sent] == [DELIVERED, Outcome("refused", REASON), DELIVERED]
        assert heard.payloads == [READING, READING]
        assert (bob.inbox.waiting, bob.inbox.failed) == (0, 0)


async def test_a_realtime_message_of_another_form_is_dropped() -> None:
    async with World().nodes() as [alice, bob]:
        heard = bob.messaging.on("friends.reading", Reading, Heard())
        assert await end_of(alice, "reading", bob.sign_id, READING) == DELIVERED
        for payload in (WRONG, READING):
            assert await (await alice.messaging.send("reading", bob.sign_id, payload, realtime=True)) == SENT
        await until(lambda: len(heard) == 2)
        assert bob.messaging.bus.subscribers("friends.reading")[0].unfit == 1


async def test_what_cannot_be_sent_is_named_by_its_place() -> None:
    async with World().nodes() as [alice, bob]:
        for to in (bob.sign_id, "local"):
            for options in ({}, {"realtime": True}):
                with pytest.raises(InvalidPayload, match=r"payload\.readings\[1\], a complex"):
                    await alice.messaging.send("reading", to, {"readings": [READING, 1j]}, **options)
            with pytest.raises(InvalidPayload, match=r"payload\.readings\[1\], a complex"):
                await alice.messaging.request("reading", to, {"readings": [READING, 1j]})


# Around sends.


async def test_all_that_is_sent_goes_by_way_of_it() -> None:
    async with World().nodes() as [alice, bob]:
        for node in (alice, bob):
            node.messaging.on("*.a", lambda topic, sender, payload: f"got {payload}")
        seen: list[tuple[Any, ...]] = []

        @alice.messaging.around_sends
        async def noting(topic: str, destination: str, payload: Any, kind: str, following: Any) -> Any:
            seen.append((topic, destination, payload, kind))
            return await following(f"{payload}+1")

        @alice.messaging.around_sends
        def adding(topic: str, destination: str, payload: Any, kind: str, following: Any) -> Awaitable[Any]:
            following_value: Awaitable[Any] = following(f"{payload}+2")
            return following_value

        heard = bob.messaging.on("friends.a", Heard())
        for to in (bob.sign_id, "local"):
            assert await (await alice.messaging.send("a", to, "x", priority="high")) == DELIVERED
            assert await alice.messaging.request("a", to, "y") == "got y+1+2"
        await alice.messaging.send("a", bob.sign_id, "z", realtime=True)
        await until(lambda: len(heard) == 3)
        assert sorted(heard.payloads) == ["x+1+2", "y+1+2", "z+1+2"]
        kinds = ["durable", "request", "durable", "request", "realtime"]
        there = [bob.sign_id] * 2 + ["local"] * 2 + [bob.sign_id]
        assert seen == [("a", to, payload, kind) for to, payload, kind in zip(there, "xyxyz", kinds, strict=True)]


async def test_what_it_refuses_is_never_kept() -> None:
    async with World().nodes() as [alice, bob]:

        @alice.messaging.around_sends
        async def refusing(topic: str, destination: str, payload: Any, kind: str, following: Any) -> Any:
            if payload == "x":
                raise Refused("not from here")
            return await following(payload)

        heard = bob.messaging.on("friends.a", Heard())
        for to in (bob.sign_id, "local"):
            with pytest.raises(Refused, match="not from here"):
                await alice.messaging.send("a", to, "x")
            with pytest.raises(Refused, match="not from here"):
                await alice.messaging.request("a", to, "x")
        assert await end_of(alice, "a", bob.sign_id, "y") == DELIVERED
        assert heard.payloads == ["y"]


async def test_around_handlers_between_two_nodes() -> None:
    async with World().nodes() as [alice, bob]:

        @bob.messaging.around_handlers
        async def friends_only(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
            if message.kind == "request" or payload == "no":
                raise Refused("only messages")
            return await following(payload)

        heard = bob.messaging.on("friends.a", Heard())
        assert await end_of(alice, "a", bob.sign_id, "yes") == DELIVERED
        assert await end_of(alice, "a", bob.sign_id, "no") == Outcome("refused", "only messages")
        with pytest.raises(RequestFailed, match="only messages"):
            await alice.messaging.request("a", bob.sign_id, "yes")
        assert heard.payloads == ["yes"]
