"""What strangers and friends may send: how large, and of how many values, and how it ends when it is more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.errors import RequestFailed
from mmplatform.message import DELIVERED, Outcome
from tests.support.waiting import until
from tests.support.world import World, collect

SIZE = 2 * 1024 * 1024  # more than strangers may send
LISTS: list[Any] = [[]] * 200_000  # 200 kB on the wire, 14 MB in memory


@pytest.fixture(params=["memory", "tcp"])
async def strangers(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Platform, Platform]]:
    """Alice knows bob, to whom she is a stranger."""
    world = World(request.param)
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(30):
        await alice.add(bob.ticket())
        yield alice, bob


async def outcome(node: Platform, peer: Platform, payload: Any) -> Outcome | None:
    delivery = await node.messaging.send("x", peer.sign_id, payload)
    await until(lambda: delivery.outcome is not None)
    return delivery.outcome


async def test_a_bomb_of_values_ends_refused_and_the_next_message_comes(strangers: tuple[Platform, Platform]) -> None:
    alice, bob = strangers
    heard = collect(bob, "public.>")
    assert await outcome(alice, bob, LISTS) == Outcome("refused", "bad-payload")
    assert await outcome(alice, bob, "next") == DELIVERED
    with pytest.raises(RequestFailed, match="bad-payload"):
        await alice.messaging.request("x", bob.sign_id, LISTS)
    await alice.messaging.send("x", bob.sign_id, LISTS, realtime=True)
    await alice.messaging.send("x", bob.sign_id, "last", realtime=True)
    await until(lambda: heard == ["next", "last"])
    assert bob.messaging.malformed == 3


async def test_a_large_message_of_a_stranger_ends_refused_and_nothing_of_it_is_held(
    strangers: tuple[Platform, Platform],
) -> None:
    alice, bob = strangers
    heard = collect(bob, "public.>")
    assert await outcome(alice, bob, bytes(SIZE)) == Outcome("refused", "too-large")
    assert await outcome(alice, bob, bytes(1000)) == DELIVERED
    assert heard == [bytes(1000)]
    assert [link.error for link in bob.parts.peers.by_id[alice.sign_id].links] == [None], "the link goes on"


async def test_a_subscription_takes_larger_messages_of_strangers(strangers: tuple[Platform, Platform]) -> None:
    alice, bob = strangers
    heard: list[Any] = []

    @bob.messaging.on("public.x", max_size=4 * 1024 * 1024)
    def take(topic: str, sender: str, payload: Any) -> int:
        heard.append(payload)
        return len(payload)

    assert await outcome(alice, bob, bytes(SIZE)) == DELIVERED
    assert await alice.messaging.request("x", bob.sign_id, bytes(SIZE)) == SIZE
    assert heard == [bytes(SIZE)] * 2
    assert await outcome(alice, bob, bytes(3 * SIZE)) == Outcome("refused", "too-large")


async def test_a_large_request_of_a_stranger_fails_and_others_are_answered(
    strangers: tuple[Platform, Platform],
) -> None:
    alice, bob = strangers
    bob.messaging.on("public.x", lambda topic, sender, payload: len(payload))
    asked = [alice.messaging.request("x", bob.sign_id, bytes(size), timeout=25) for size in (SIZE, 1000, SIZE + 1, 9)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[1::2] == [1000, 9]
    assert [(type(answer), str(answer)) for answer in answers[::2]] == [(RequestFailed, "too-large")] * 2


async def test_whom_we_asked_may_answer_at_length(strangers: tuple[Platform, Platform]) -> None:
    alice, bob = strangers
    alice.parts.contacts.friends.discard(bob.sign_id)
    assert alice.parts.contacts.scope(bob.sign_id) == "public"
    bob.messaging.on("public.x", lambda topic, sender, payload: bytes(SIZE))
    assert await alice.messaging.request("x", bob.sign_id) == bytes(SIZE)


async def test_friends_send_large_messages_of_many_values() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        assert await outcome(alice, bob, LISTS[:130_000]) == DELIVERED
        assert await outcome(alice, bob, bytes(SIZE)) == DELIVERED
        assert [len(payload) for payload in heard] == [130_000, SIZE]
        assert await outcome(alice, bob, LISTS) == Outcome("refused", "bad-payload")


async def test_whoever_takes_bytes_gets_them_as_they_came(strangers: tuple[Platform, Platform]) -> None:
    alice, bob = strangers
    heard: list[bytes] = []
    bob.messaging.on("public.x", lambda topic, sender, payload: heard.append(payload), raw=True)
    assert await outcome(alice, bob, LISTS) == DELIVERED
    assert [len(payload) for payload in heard] == [200_005]
