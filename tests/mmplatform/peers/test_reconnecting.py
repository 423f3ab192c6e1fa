"""A peer is dialled while something waits for it, not in a storm, and its link is made anew when it is old."""

import asyncio
from typing import Any

import pytest

from mmplatform import Unreachable
from mmplatform.errors import NotRunning
from mmplatform.identity.keys import SignId
from mmplatform.links import backoff
from mmplatform.peers import reconnecting as module
from mmplatform.peers.dialling import Away
from mmplatform.peers.peer import Peer
from tests.support.peers import acquainted, peer_of
from tests.support.waiting import until
from tests.support.world import World, collect, identity, listen_to

KINDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


@KINDS
async def test_a_peer_is_connected_again_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause follows a disconnect of our own, though the loop that dialled may not have ended yet."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 1000.0)
    monkeypatch.setattr(module, "FLAPPING", 1000.0)
    async with World(kind).nodes() as [alice, bob]:
        for _ in range(20):
            await alice.connect(bob.sign_id)
            await alice.disconnect(bob.sign_id)


@KINDS
async def test_renewed_links_keep_everything_flowing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIFETIME", 0.02)
    monkeypatch.setattr(module, "RENEW_AGAIN", 0.01)
    async with World(kind).nodes() as [alice, bob]:
        events = listen_to(alice)
        heard = collect(bob, "friends.n")
        bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
        await alice.connect(bob.sign_id)
        used = {id(link): link for link in peer_of(alice, bob)._links}
        n = 0
        while len(used) < 8:
            deliveries = [await alice.messaging.send("n", bob.sign_id, n + k) for k in range(5)]
            n += 5
            assert await alice.messaging.request("echo", bob.sign_id, n, timeout=20) == n
            for delivery in deliveries:
                await delivery
            used |= {id(link): link for link in peer_of(alice, bob)._links}
        assert heard == list(range(n))
        assert [event for event in events if event[0] != "connection"] == []


async def test_a_renewal_that_fails_is_tried_again_and_the_link_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIFETIME", 0.01)
    monkeypatch.setattr(module, "RENEW_AGAIN", 0.01)
    world = World()
    async with world.nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        first = peer_of(alice, bob).link
        world.network.up = False
        failures: list[Any] = []
        dialling = alice.parts.peers.dialling
        tried = dialling._dial_once

        async def dial_once(peer: SignId, away: Away) -> bool:
            failures.append(await tried(peer, away))
            return bool(failures[-1])

        monkeypatch.setattr(dialling, "_dial_once", dial_once)
        await until(lambda: failures.count(False) >= 2)
        assert peer_of(alice, bob).link is first
        world.network.up = True
        await until(lambda: peer_of(alice, bob).link not in (first, None))


async def test_a_link_lost_while_it_is_renewed_is_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        heard = collect(bob)
        await alice.connect(bob.sign_id)
        peer = peer_of(alice, bob)
        world.network.up = False
        peer.reconnector._renew()
        peer.reconnector._renew()  # one at a time
        sending = await alice.messaging.send("n", bob.sign_id, 1)
        world.cut()
        await until(lambda: peer.link is None and peer.reason)
        world.network.up = True
        alice.parts.peers.found(bob.sign_id)
        await sending
        assert heard == [1]


async def test_a_peer_that_takes_links_and_drops_them_is_not_dialled_in_a_storm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        await acquainted(alice, bob)  # what bob has to say would make each link useful
        await alice.disconnect(bob.sign_id)
        delays: list[float] = []
        backoff = module.Backoff.next
        monkeypatch.setattr(
            module.Backoff,
            "next",
            lambda self: 0.0005 if delays.append(backoff(self)) is None else 0,  # type: ignore[func-returns-value]
        )
        ready = Peer.link_ready

        def drop(peer: Peer, link: Any, resume: bytes) -> None:
            ready(peer, link, resume)
            if peer._around.own == bob.sign_id:
                link.close("go away")

        monkeypatch.setattr(Peer, "link_ready", drop)
        await alice.messaging.send("n", bob.sign_id, 1)
        await until(lambda: len(delays) >= 6)
        assert delays[0] < 1 < delays[5]
        assert "go away" in alice.peers()[0].reason or alice.peers()[0].connected


async def test_connect_after_disconnect_makes_a_new_link() -> None:
    async with World("tcp").nodes() as [alice, bob]:
        for _ in range(5):
            await alice.connect(bob.sign_id)
            link = peer_of(alice, bob).link
            await alice.connect(bob.sign_id)
            assert peer_of(alice, bob).link is link
            await alice.disconnect(bob.sign_id)
            await alice.connect(bob.sign_id)
            assert peer_of(alice, bob).link not in (None, link)
            assert await alice.ping(bob.sign_id) > 0
        await alice.disconnect(identity(9).sign_id)


async def test_requests_to_a_stranger_who_has_us_as_a_friend_are_answered_after_each_connection() -> None:
    """We forget the stranger with the link, and it does not forget what it answered its friend."""
    world = World("tcp")
    async with world.node(1) as alice, world.node(2) as bob:
        bob.contacts.friends.add(alice.sign_id)
        bob.messaging.on("friends.double", lambda topic, sender, payload: 2 * payload)
        await alice.add(bob.ticket())
        for requests in (3, 1, 2, 1):
            await alice.connect(bob.sign_id)
            for number in range(requests):
                asked = alice.messaging.request("double", bob.sign_id, number, timeout=5)
                assert await asyncio.gather(asked, return_exceptions=True) == [2 * number]
            await alice.disconnect(bob.sign_id)
            await until(lambda: bob.sign_id not in alice.parts.peers.by_id)


async def test_replies_to_a_stranger_who_has_gone_are_freed_at_once() -> None:
    """And not once the collector finds the circle of its objects: 64 KiB for each key that asked."""
    world = World("tcp")
    async with world.node(1) as alice, world.node(2) as bob:
        bob.messaging.on("public.large", lambda topic, sender, payload: bytes(50_000))
        await alice.add(bob.ticket())
        await alice.messaging.request("large", bob.sign_id)
        exchange = peer_of(bob, alice).exchange
        assert exchange.reply_cache._bytes > 50_000
        await alice.disconnect(bob.sign_id)
        await until(lambda: alice.sign_id not in bob.parts.peers.by_id)
        assert (exchange.reply_cache._bytes, exchange.reply_cache._replies) == (0, {})


async def test_a_defect_met_while_dialling_is_met_once(
    monkeypatch: pytest.MonkeyPatch, nothing_escapes: list[dict[str, Any]]
) -> None:
    asked: list[str] = []

    async def locate(peer: str) -> tuple[str, ...]:
        asked.append(peer)
        raise ZeroDivisionError

    async with World().nodes() as [alice, bob]:
        monkeypatch.setattr(alice.directory, "locate", locate)
        with pytest.raises(Unreachable):
            await alice.connect(bob.sign_id, timeout=0.1)
        assert asked == [bob.sign_id]
        assert [type(context["exception"]) for context in nothing_escapes] == [ZeroDivisionError]
        nothing_escapes.clear()


async def test_unreachable_says_why() -> None:
    async with World().nodes(1) as [alice]:
        with pytest.raises(Unreachable, match="no address of it is known"):
            await alice.connect(identity(9).sign_id, timeout=0.05)
        with pytest.raises(Unreachable):
            await alice.ping(identity(9).sign_id, timeout=0.02)


async def test_a_stopping_node_ends_those_who_wait() -> None:
    world = World()
    alice = world.node(1)
    await alice.start()
    connecting = asyncio.create_task(alice.connect(identity(9).sign_id, timeout=20))
    asking = asyncio.create_task(alice.messaging.request("x", identity(9).sign_id, timeout=20))
    peer = alice.parts.peers.peer(identity(9).sign_id)
    await until(lambda: peer.reconnector._arrivals and peer.exchange.pending.unanswered)
    await alice.stop()
    for task in (connecting, asking):
        with pytest.raises(NotRunning):
            await task
    with pytest.raises(NotRunning):
        await peer.connect(1)
