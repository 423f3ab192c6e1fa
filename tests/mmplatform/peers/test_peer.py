"""One remote peer: links that come, go, cross and are renewed, and what is queued meanwhile."""

import asyncio
import random
from itertools import count
from typing import Any

import pytest

from mm_transports.memory import Network
from mmplatform import Delivery, Expired, MMError, Platform, Unreachable
from mmplatform.errors import NotRunning
from mmplatform.links import link as link_module
from mmplatform.peers import peer as module
from mmplatform.peers.peer import Peer
from tests.support.world import World, collect, identity, listen_to, until

KINDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


class Jittery(Network):
    """Every frame has a delay of its own."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance

    @property  # type: ignore[override]
    def delay(self) -> float:
        return self.chance.random() / 100

    @delay.setter
    def delay(self, delay: float) -> None: ...


def peer_of(node: Platform, other: Platform) -> Peer:
    return node.peer(other.sign_id)


def linked(*nodes: Platform) -> bool:
    """Whether each has exactly one link, to the other."""
    return all([len(peer._links) for peer in node._peers.values()] == [1] for node in nodes)


@KINDS
async def test_a_link_serves_both_directions(kind: str) -> None:
    async with World(kind).nodes() as [alice, bob]:
        heard, echoed = collect(bob), collect(alice)
        await (await alice.messaging.send("a", bob.sign_id, 1))
        await (await bob.messaging.send("b", alice.sign_id, 2))
        assert (heard, echoed) == ([1], [2])
        assert linked(alice, bob)


@KINDS
async def test_a_peer_is_connected_again_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause follows a disconnect of our own, though the loop that dialled may not have ended yet."""
    monkeypatch.setattr("mmplatform.links.backoff.FIRST_DELAY", 1000.0)
    monkeypatch.setattr(module, "FLAPPING", 1000.0)
    async with World(kind).nodes() as [alice, bob]:
        for _ in range(20):
            await alice.connect(bob.sign_id)
            await alice.disconnect(bob.sign_id)


@pytest.mark.parametrize("seed", range(40))
async def test_both_dial_at_once_and_one_link_stays(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    world.network = Jittery(chance)
    async with world.nodes() as [alice, bob]:
        heard, echoed = collect(bob), collect(alice)
        dialling = [node.connect(other.sign_id) for node, other in ((alice, bob), (bob, alice))]
        if chance.random() < 0.5:
            dialling.reverse()
        await asyncio.gather(*dialling)
        sends = [alice.messaging.send("n", bob.sign_id, n) for n in range(20)]
        sends += [bob.messaging.send("n", alice.sign_id, n) for n in range(20)]
        await asyncio.gather(*(await asyncio.gather(*sends)))
        await until(lambda: linked(alice, bob))
        assert heard == echoed == list(range(20))


@KINDS
async def test_a_link_cut_fifty_times_under_load_loses_nothing(kind: str) -> None:
    world = World(kind)
    async with world.nodes() as [alice, bob]:
        heard = collect(bob)
        deliveries: list[Any] = []
        enough = asyncio.Event()

        numbers = count()

        async def load() -> None:
            while not enough.is_set():
                mine = [await alice.messaging.send("n", bob.sign_id, next(numbers)) for _ in range(10)]
                deliveries.extend(mine)
                await mine[-1]

        sending = asyncio.gather(load(), load(), load())
        for _ in range(50):
            before = len(heard)
            await until(lambda before=before: len(heard) > before)
            world.cut(alice)
        enough.set()
        await sending
        for delivery in deliveries:
            assert (await delivery).state == "delivered"
        assert heard == list(range(len(deliveries)))


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
        tried = peer_of(alice, bob)._dial_once

        async def dial_once() -> bool:
            failures.append(await tried())
            return bool(failures[-1])

        monkeypatch.setattr(peer_of(alice, bob), "_dial_once", dial_once)
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
        peer._renew()
        peer._renew()  # one at a time
        sending = await alice.messaging.send("n", bob.sign_id, 1)
        world.cut()
        await until(lambda: peer.link is None and peer.reason)
        world.network.up = True
        peer.nudge()
        await sending
        assert heard == [1]


async def test_a_peer_that_takes_links_and_drops_them_is_not_dialled_in_a_storm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
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
            if peer._node is bob:
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
    peer = alice.peer(identity(9).sign_id)
    await until(lambda: peer._arrivals and peer.exchange.pending.unanswered)
    await alice.stop()
    for task in (connecting, asking):
        with pytest.raises(NotRunning):
            await task
    with pytest.raises(NotRunning):
        await peer.connect(1)


async def test_a_second_node_with_the_same_key_is_noticed_and_named() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        events = listen_to(alice)
        await alice.connect(bob.sign_id)
        async with world.node(1) as impostor:
            await impostor.add(bob.ticket())
            await impostor.connect(bob.sign_id)
            await until(lambda: any(event[0] == "error" for event in events))
            [error] = [event for event in events if event[0] == "error"]
            assert error[1] == "LocalError"
            assert "another node runs with this key" in error[2]
            assert bob.sign_id in error[2]
            assert peer_of(bob, alice).link is not None
            assert not peer_of(alice, bob).idle or peer_of(alice, bob).link is None


async def test_the_same_key_is_noticed_when_each_side_dialled_one_of_the_links() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        events = listen_to(alice)
        await bob.connect(alice.sign_id)
        async with world.node(1) as impostor:
            await impostor.add(bob.ticket())
            await impostor.connect(bob.sign_id)
            await until(lambda: any(event[0] == "error" for event in events))


async def test_a_link_the_other_end_has_lost_gives_way_to_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the smaller key dialled the old link: without a look at its age it would win for ever."""
    monkeypatch.setattr(module, "GLARE", -1.0)
    world = World()
    async with world.nodes() as [alice, bob]:
        small, large = sorted((alice, bob), key=lambda node: node.sign_id)
        await small.connect(large.sign_id)
        old = peer_of(small, large).link
        lost = peer_of(large, small).link
        assert lost is not None
        lost.connection._other = None  # type: ignore[attr-defined]  # it vanished, and the far end does not know
        lost.connection_lost(ConnectionResetError("vanished"))
        await large.connect(small.sign_id)
        await until(lambda: peer_of(small, large).link not in (None, old))
        assert old is not None
        old.connection.abort()


async def test_a_link_that_is_ready_after_the_stop_is_closed() -> None:
    async with World().nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        peer = peer_of(alice, bob)
        spare = peer.link
        assert spare is not None
        peer._closed = True
        peer.link_ready(spare, bob.resume(alice.sign_id))
        assert str(spare.error) == "stopping"


async def test_a_stranger_with_a_bad_resume_state_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Platform, "resume", lambda node, peer: b"\xc1")
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        await alice.add(bob.ticket())
        with pytest.raises(Unreachable, match=r"closed by the peer|bad-packet"):
            await alice.connect(bob.sign_id, timeout=0.2)
        assert bob._peers == {}
        await until(lambda: not bob._links._open)


async def test_a_stranger_is_forgotten_when_it_goes_and_a_friend_is_not() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        await alice.add(bob.ticket(), circle="friends")
        await alice.connect(bob.sign_id)
        await until(lambda: bob._peers)
        await alice.disconnect(bob.sign_id)
        await until(lambda: not bob._peers)
        assert list(alice._peers) == [bob.sign_id]


async def test_a_link_that_fell_silent_is_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "KEEPALIVE", 0.01)
    world = World()
    async with world.nodes() as [alice, bob]:
        heard = collect(bob)
        await alice.connect(bob.sign_id)
        link = peer_of(alice, bob).link
        assert link is not None
        monkeypatch.setattr(link.connection, "write", lambda frame: None)  # a cable that swallows all
        await (await alice.messaging.send("n", bob.sign_id, 1))
        assert heard == [1]


async def test_what_waits_behind_a_full_window_expires_while_the_link_is_up() -> None:
    async with World().nodes() as [alice, bob]:
        finish = asyncio.Event()

        async def slow(topic: str, sender: str, payload: Any) -> None:
            await finish.wait()

        bob.messaging.on("friends.slow", slow)
        large = bytes(3 * 1024 * 1024)
        stuck = [await alice.messaging.send("slow", bob.sign_id, large) for _ in range(2)]
        brief = await alice.messaging.send("slow", bob.sign_id, "late", expire_after=0.05)
        with pytest.raises(Expired):
            await asyncio.wait_for(brief, 5)
        finish.set()
        for delivery in stuck:
            assert (await delivery).handled


async def test_awaiting_a_delivery_ends_when_the_platform_stops() -> None:
    async with World().nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        alice.messaging.on("self.slow", lambda topic, sender, payload: asyncio.Event().wait())
        far = await alice.messaging.send("nobody", identity(99).sign_id, 1)
        near = await alice.messaging.send("slow", "local", 1)
        waiting = [asyncio.ensure_future(_ended(delivery)) for delivery in (far, near)]
        await asyncio.sleep(0)
        await alice.stop()
        assert await asyncio.gather(*waiting) == ["NotRunning", "NotRunning"]


async def _ended(delivery: Delivery) -> str:
    try:
        return (await delivery).state
    except MMError as error:
        return type(error).__name__


async def test_acknowledgements_that_a_dying_link_took_with_it_are_given_again() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        await (await alice.messaging.send("chat", bob.sign_id, 1))
        peer = bob.peer(alice.sign_id)
        link = peer.link
        assert link is not None
        frames: list[Any] = []
        link.send = frames.append  # type: ignore[method-assign]
        peer.exchange.pause()
        peer.exchange.resume_over(link, [])
        peer.exchange.flush()
        assert [ack.upto for frame in frames for ack in frame.acks] == [1]
        assert len(heard) == 1
