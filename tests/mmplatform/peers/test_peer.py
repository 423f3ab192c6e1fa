"""One remote peer: links that come, go and cross, and what is queued meanwhile."""

import asyncio
import random
from itertools import count
from typing import Any

import pytest

from mm_transports.memory import Network
from mmplatform import Delivery, Expired, MMError, Unreachable
from mmplatform.links import link as link_module
from mmplatform.message import DELIVERED, Priority
from mmplatform.peers import peer as module
from mmplatform.peers.registry import Peers
from tests.support.peers import linked, peer_of
from tests.support.waiting import stays, until
from tests.support.ways import paths_of
from tests.support.world import World, collect, identity, listen_to

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


@KINDS
async def test_a_link_serves_both_directions(kind: str) -> None:
    async with World(kind).nodes() as [alice, bob]:
        heard, echoed = collect(bob), collect(alice)
        await (await alice.messaging.send("a", bob.sign_id, 1))
        await (await bob.messaging.send("b", alice.sign_id, 2))
        assert (heard, echoed) == ([1], [2])
        assert linked(alice, bob)


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


@pytest.mark.parametrize("seed", range(20))
async def test_both_dial_at_once_and_applications_hear_of_one_path(seed: int) -> None:
    world = World()
    world.network = Jittery(random.Random(seed))
    async with world.nodes() as [alice, bob]:
        paths = [paths_of(alice), paths_of(bob)]
        await asyncio.gather(alice.connect(bob.sign_id), bob.connect(alice.sign_id))
        await until(lambda: linked(alice, bob))
        await until(lambda: {len(peer_of(alice, bob)._links), len(peer_of(bob, alice)._links)} == {1})
        await stays(lambda: paths == [[("memory", "first")]] * 2, 0.05)


@pytest.mark.parametrize("seed", range(20))
async def test_a_link_gives_way_only_when_both_ends_have_its_successor(seed: int) -> None:
    """Whichever frame comes first: nobody is told that the peer was disconnected."""
    world = World()
    world.network = Jittery(random.Random(seed))
    async with world.nodes() as [alice, bob]:
        events = [listen_to(alice), listen_to(bob)]
        await alice.connect(bob.sign_id)
        await until(lambda: linked(alice, bob))
        for _ in range(5):
            first = peer_of(bob, alice).link
            await until(lambda: alice.parts.peers.dialling.renew(bob.sign_id))
            await until(lambda first=first: peer_of(bob, alice).link is not first)
            await until(lambda: linked(alice, bob))
        assert [event for told in events for event in told if event[0] != "connection"] == []


async def test_a_peer_that_answers_over_no_link_keeps_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: linked(alice, bob))
        monkeypatch.setattr(link_module.Link, "ask", lambda link: asyncio.get_running_loop().create_future())
        for _ in range(6):
            first = peer_of(bob, alice).link
            await until(lambda: alice.parts.peers.dialling.renew(bob.sign_id))
            await until(lambda first=first: peer_of(bob, alice).link is not first)
        await until(lambda: len(peer_of(bob, alice)._links) <= 2)


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
        peer.link_ready(spare, bob.parts.peers.resume(alice.sign_id))
        assert str(spare.error) == "stopping"


async def test_a_stranger_with_a_bad_resume_state_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peers, "resume", lambda peers, peer: b"\xc1")
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        await alice.add(bob.ticket())
        with pytest.raises(Unreachable, match=r"closed by the peer|bad-packet"):
            await alice.connect(bob.sign_id, timeout=0.2)
        assert bob.parts.peers.by_id == {}
        await until(lambda: not bob.parts.links._open)


async def test_a_stranger_is_forgotten_when_it_goes_and_a_friend_is_not() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        await alice.add(bob.ticket(), circle="friends")
        await alice.connect(bob.sign_id)
        await until(lambda: bob.parts.peers.by_id)
        await alice.disconnect(bob.sign_id)
        await until(lambda: not bob.parts.peers.by_id)
        assert list(alice.parts.peers.by_id) == [bob.sign_id]


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
            assert await delivery == DELIVERED


async def test_awaiting_a_delivery_ends_when_the_platform_stops() -> None:
    async with World().nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        alice.messaging.on("self.slow", lambda topic, sender, payload: asyncio.Event().wait())
        far = await alice.messaging.send("nobody", identity(99).sign_id, 1)
        near = await alice.messaging.send("slow", "local", 1)
        waiting = [asyncio.ensure_future(_ended(delivery)) for delivery in (far, near)]
        await asyncio.sleep(0)
        await alice.stop(grace=0)
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
        peer = bob.parts.peers.peer(alice.sign_id)
        link = peer.link
        assert link is not None
        frames: list[Any] = []
        link.send = frames.append  # type: ignore[method-assign]
        peer.exchange.pause()
        peer.exchange.resume_over(link, [])
        peer.exchange.flush()
        assert [ack.upto for frame in frames for ack in frame.acks if ack.lane == Priority.NORMAL] == [1]
        assert len(heard) == 1
