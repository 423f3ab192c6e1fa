"""Relays as a transport: links over one relay, and what a relay, or a peer behind it, may not do."""

import asyncio
from typing import Any

import pytest

from mm_transports.relay import multiplexer as multiplexer
from mm_transports.relay.protocol.items import (
    Closed,
    Data,
    Pause,
    Resume,
)  # fmt: skip
from mmplatform.errors import RemoteError, Unreachable
from tests.support.relay_nodes import ALICE, BOB, CARA, RELAY, Node
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("at_once")


# Links.


async def test_frames_go_both_ways(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    assert await far.frames.get() == b"hello"
    far.connection.write(b"hi")
    assert await near.frames.get() == b"hi"
    near.connection.write(b"")
    assert await far.frames.get() == b""
    assert near.connection.cost == far.connection.cost == 40
    assert near.connection.max_frame == 256 * 1024
    assert near.connection.address == f"relay+ws://127.0.0.1:{relay.port}"
    near.connection.close()
    await far.gone.wait()
    assert (near.lost, far.lost) == ([None], [None])


async def test_a_guest_s_first_frame_needs_no_round_trip_more(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    relay.messages.clear()
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    assert await far.frames.get() == b"hello"
    assert relay.messages.total() == 1  # sign-in and first frame together
    far.connection.write(b"hi")
    assert await near.frames.get() == b"hi"
    assert relay.messages.total() == 2
    assert len(relay.connections) == 2


async def test_dials_at_the_same_time_share_one_connection(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    await asyncio.gather(*(alice.dial(relay, BOB) for _ in range(5)))
    for _ in range(5):
        await bob.came.get()
    assert len(relay.connections) == 2


async def test_who_is_absent_is_told_of_and_comes(relay: Tiny, pair: tuple[Node, Node], nodes: Any) -> None:
    alice, _ = pair
    near = await alice.dial(relay, CARA)
    await near.gone.wait()
    assert isinstance(near.lost[0], Unreachable)
    assert "not at the relay now" in str(near.lost[0])
    assert alice.seen == []
    await nodes(CARA).home(relay)
    await until(lambda: alice.seen == [CARA.sign_id])


async def test_who_leaves_the_relay_loses_its_links(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    far.connection.write(b"hi")
    await near.frames.get()
    relay.sessions[BOB.sign_key].end("go")
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    assert isinstance(near.lost[0], RemoteError)
    assert not isinstance(near.lost[0], Unreachable)


async def test_a_node_that_started_anew_does_not_know_the_links_of_before(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    relay.sessions[ALICE.sign_key].tell(Data(CARA.sign_key, 5, b"of another life"))
    await until(lambda: Closed(CARA.sign_key, 5, "unknown") in relay.said)
    relay.sessions[ALICE.sign_key].tell(Closed(CARA.sign_key, 5, "unknown"))  # nobody answers a Closed
    near.connection.write(b"x")
    await until(lambda: isinstance(relay.said[-1], Data))
    assert near.lost == []


async def test_a_restart_of_the_relay(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    await relay.stop()
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    await until(lambda: not alice.relay._homes[RELAY.sign_id].client.open)
    with pytest.raises(Unreachable, match=str(relay.port)):
        await alice.dial(relay, BOB)
    await relay.start()
    await until(lambda: BOB.sign_id in alice.seen and ALICE.sign_id in bob.seen)  # there is a chance again
    await until(lambda: len(relay.sessions) == 2)
    await alice.dial(relay, BOB)
    assert await (await bob.came.get()).frames.get() == b"hello"


async def test_pause_and_resume(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    one, two, cara = await alice.dial(relay, BOB), await alice.dial(relay, BOB), await alice.dial(relay, CARA)
    relay.sessions[ALICE.sign_key].tell(Pause(BOB.sign_key))
    await until(lambda: one.calls == two.calls == ["pause"])
    three = await alice.dial(relay, BOB)
    assert three.calls == ["pause"]
    assert cara.calls == []
    relay.sessions[ALICE.sign_key].tell(Resume(BOB.sign_key))
    relay.sessions[ALICE.sign_key].tell(Resume(CARA.sign_key))
    await until(lambda: one.calls == two.calls == three.calls == ["pause", "resume"])
    assert cara.calls == []


async def test_who_writes_more_than_leaves_is_paused(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    idle = await alice.dial(relay, BOB)
    far = await bob.came.get()
    count = 0
    while not near.calls:
        near.connection.write(bytes(200_000))
        count += 1
    await until(lambda: near.calls == ["pause", "resume"])
    assert await far.frames.get() == b"hello"
    for _ in range(count):
        assert len(await far.frames.get()) == 200_000
    assert idle.calls == []


async def test_frames_are_no_longer_than_the_relay_allows(nodes: Any) -> None:
    strict = await Tiny(RELAY, frame=70_000).start()
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(strict)
    first = await alice.dial(strict, BOB)  # as a guest: before anything is known
    await first.gone.wait()
    assert "70000" in str(first.lost[0])
    assert alice.seen == [BOB.sign_id]
    assert (await alice.dial(strict, BOB)).connection.max_frame == 70_000
    await strict.stop()
