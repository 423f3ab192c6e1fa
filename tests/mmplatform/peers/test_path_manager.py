"""Several links with one peer: upgrades, hand-overs, warm standby; whole platforms, scripted ways."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.links import paths
from mmplatform.links.link import Link
from mmplatform.links.round_trips import RECENT
from mmplatform.peers import liveness, path_manager
from mmplatform.peers.peer import Peer
from tests.support.load import ALONE, Load, next_move
from tests.support.peers import acquainted
from tests.support.waiting import pace, stays, until
from tests.support.ways import (
    Way,
    WayTransport,
    active,
    fast,
    friends,
    links,
    middle,
    paths_of,
    slow,
    states,
)
from tests.support.world import identity, listen_to


@pytest.fixture
def one_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end that dialled first; the other one does not try meanwhile, which would make two links of one way."""
    monkeypatch.setattr(paths, "CALL_BACK_AFTER", 1000.0)
    monkeypatch.setattr(paths, "IMPROVE_AFTER", 1000.0)


@pytest.mark.usefixtures("one_dials")
async def test_the_first_link_that_opens_is_used_and_a_better_one_takes_over() -> None:
    quick, sure = fast(), slow()
    quick.allow(False)
    async with friends(quick, sure) as [alice, bob]:
        events, moves, theirs = listen_to(alice), paths_of(alice), paths_of(bob)
        await alice.connect(bob.sign_id)
        assert (active(alice, bob), active(bob, alice)) == ("slow", "slow")
        load = Load(alice, bob)
        await load.more()
        quick.allow(True)
        alice.network_changed()
        await until(lambda: active(alice, bob) == active(bob, alice) == "fast")
        await load.more()
        await load.stop()
        assert states(alice, bob) == states(bob, alice) == {"fast": "active", "slow": "standby"}
        assert moves == theirs == [("slow", "first"), ("fast", "better")]
        assert [event for event in events if event[0] in ("disconnected", "error")] == []


@pytest.mark.usefixtures("one_dials")
async def test_a_link_that_is_moved_away_from_delivers_what_it_has_and_nothing_is_sent_again() -> None:
    quick, sure = fast(), slow()
    quick.allow(False)
    sure.network.delay = 0.05
    async with friends(quick, sure) as [alice, bob]:
        records = count_records(alice, bob)
        await acquainted(alice, bob)
        records.clear()
        load = Load(alice, bob)
        await load.more()
        quick.allow(True)
        alice.network_changed()
        await until(lambda: active(alice, bob) == "fast")
        await load.more(2000)
        await load.stop()
        assert sum(records.values()) == len(load.heard)
        assert set(records) == {"fast", "slow"}


@pytest.mark.usefixtures("one_dials")
async def test_a_link_that_does_not_deliver_what_it_has_costs_one_window() -> None:
    quick, sure = fast(), slow()
    quick.allow(False)
    async with friends(quick, sure) as [alice, bob]:
        records = count_records(alice, bob)
        await alice.connect(bob.sign_id)
        load = Load(alice, bob)
        await load.more()
        sure.network.delay = 3.0  # longer than anybody waits for it
        await pace(0.05)  # messages go into what delivers nothing
        quick.allow(True)
        alice.network_changed()
        await until(lambda: active(alice, bob) == "fast")
        await load.more()
        await load.stop()
        assert load.gap < 3.0
        assert sum(records.values()) <= len(load.heard) + 2 * 8192
        sure.network.delay = 0.0
        sure.cut()


def count_records(alice: Platform, bob: Platform) -> dict[str, int]:
    """How many messages each way carried, repeats included."""
    found: dict[str, int] = {}
    peer = bob.parts.peers.peer(alice.sign_id)
    received = peer.exchange.frame_received

    def frame_received(link: Link, frame: Any) -> None:
        number = sum(len(batch.records) for batch in frame.batches)
        scheme = link.connection.address.partition(":")[0]
        if number:
            found[scheme] = found.get(scheme, 0) + number
        original(link, frame)

    original = peer.frame_received
    peer.frame_received = frame_received  # type: ignore[method-assign]
    assert received
    return found


async def test_the_warm_link_takes_over_at_once_when_the_one_in_use_is_cut() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: states(alice, bob) == states(bob, alice) == {"fast": "active", "slow": "standby"})
        events, moves = listen_to(alice), paths_of(alice)
        load = Load(alice, bob)
        await load.more()
        quick.allow(False)
        quick.cut()
        assert (await next_move(moves)) == ("slow", "lost")
        await load.more()
        await load.stop()
        assert load.gap < ALONE
        assert events == []


@pytest.mark.parametrize("size", [0, pytest.param(3_000_000, marks=pytest.mark.slow)])
async def test_moving_back_and_forth_under_load(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.Retries, "FIRST", 0.01)
    quick, sure = fast(), slow()
    quick.network.delay, sure.network.delay = 0.002, 0.01
    async with friends(quick, sure) as [alice, bob]:
        events = listen_to(alice)
        load = Load(alice, bob, size)
        await load.more(1)
        for turn in range(12):
            await load.more(3 if size else 100)
            await until(lambda: len(links(alice, bob)) == len(links(bob, alice)) == 2)
            peer = (alice, bob)[turn % 2].parts.peers.peer((bob, alice)[turn % 2].sign_id)
            other = next(link for link in peer.links if link is not peer.link)
            peer.move(other, "test")
            if turn % 3 == 2:
                (quick, sure)[turn % 2].cut()
        load.enough.set()
        await load.stop()
        assert [event for event in events if event[0] == "error"] == []


async def test_a_third_link_is_closed_when_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CLOSE_AFTER", 0.05)
    monkeypatch.setattr(paths, "CLOSE_ANYWAY_AFTER", 1e6)  # by the end whose turn it is
    quick, between, sure = fast(), middle(), slow()
    quick.allow(False)
    async with friends(quick, between, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        assert active(alice, bob) == "slow"
        await until(lambda: active(alice, bob) == active(bob, alice) == "middle")
        load = Load(alice, bob)
        quick.allow(True)
        alice.network_changed()
        await until(lambda: active(alice, bob) == active(bob, alice) == "fast")
        await until(lambda: set(states(alice, bob)) == set(states(bob, alice)) == {"fast", "slow"})
        await load.more()
        await load.stop()


async def test_a_way_that_needs_a_link_is_not_tried_for_ever() -> None:
    between, sure = middle(), slow()
    between.allow(False)
    async with friends(between, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: between.dials)
        await stays(lambda: len(between.dials) <= 2, 0.3)  # each end once
        [status] = alice.peers()
        assert "nobody is there" in status.troubles[between.dials[0]]
        between.allow(True)
        alice.network_changed()
        await until(lambda: active(alice, bob) == "middle")
        assert alice.peers()[0].troubles == {}


async def test_who_disconnects_and_connects_at_once_gets_the_best_link_again_every_time() -> None:
    """A link that the application closed is no link that did not last."""
    between, sure = middle(), slow()
    async with friends(between, sure) as [alice, bob]:
        for _ in range(4):
            await alice.connect(bob.sign_id)
            await until(lambda: active(alice, bob) == active(bob, alice) == "middle", 1.0)
            await alice.disconnect(bob.sign_id)


async def test_a_link_that_was_given_up_for_a_costlier_one_is_not_gone_back_to_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "LEAST_DWELL", 0.0)
    monkeypatch.setattr(path_manager, "WARM_LOOK", 1e6)
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await acquainted(alice, bob)
        await until(lambda: len(links(alice, bob)) == 2 and active(alice, bob) == "fast")
        moves = paths_of(alice)
        measured(alice, bob, {"fast": 2.0, "slow": 0.01})
        assert moves == [("slow", "better")]
        measured(alice, bob, {"fast": 0.001, "slow": 0.3})
        assert active(alice, bob) == "slow"
        alice.network_changed()
        await until(lambda: active(alice, bob) == "fast")


def measured(node: Platform, other: Platform, trips: dict[str, float]) -> None:
    """Have every link measured often, and compared."""
    peer = node.parts.peers.peer(other.sign_id)
    for link in peer.links:
        for _ in range(RECENT):
            link.trips.add(trips[link.scheme])
    peer.path_manager._plan()


PUBLIC, PRIVATE = "8.8.8.8:7000", "10.0.0.1:7000"


@asynccontextmanager
async def open_and_hidden(
    quick: Way, where: str, shown: bool = True, known: bool = False
) -> AsyncIterator[tuple[Platform, Platform]]:
    """Alice can be dialled at ``where`` over ``quick``, Bob only over a relay; she has dialled him."""
    sure, between = slow(), middle()
    between.allow(False)
    ways = [quick, between, sure]
    hers, his = ["fast://" + where, "slow://0"], ["slow://0", *(["middle://0"] if shown else [])]
    async with (
        asyncio.timeout(60),
        Platform(identity=identity(1), transports=[WayTransport(way) for way in ways], connection_info=hers) as alice,
        Platform(identity=identity(2), transports=[WayTransport(way) for way in ways], connection_info=his) as bob,
    ):
        if known:
            await bob.add(alice.ticket(), circle="friends")
        await alice.add(bob.ticket())
        await alice.connect(bob.sign_id)
        yield alice, bob


@pytest.mark.parametrize(("where", "known"), [(PUBLIC, False), (PUBLIC, True), (PRIVATE, True)])
async def test_who_was_dialled_over_a_relay_dials_the_other_one_where_it_can_be_reached(
    where: str, known: bool
) -> None:
    quick = fast()
    async with open_and_hidden(quick, where, known=known) as (alice, bob):
        await until(lambda: active(alice, bob) == active(bob, alice) == "fast")
        assert quick.dials == [f"fast://{where}"]
        assert [link.dialled for link in links(bob, alice) if link.connection.address == "fast://"] == [True]


@pytest.mark.parametrize(("where", "shown"), [(PRIVATE, True), (PUBLIC, False)], ids=["private", "hidden"])
async def test_a_stranger_cannot_have_us_dial_our_own_network_or_learn_where_one_is_that_does_not_say_so(
    where: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CALL_BACK_AFTER", 0.0)
    quick = fast()
    async with open_and_hidden(quick, where, shown) as (alice, bob):
        for _ in range(20):
            bob.parts.peers.found(alice.sign_id)
            await pace(0.005)
        assert quick.dials == []


async def test_a_dead_address_of_a_stranger_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CALL_BACK_AFTER", 0.0)
    monkeypatch.setattr(paths.Retries, "FIRST", 0.001)
    quick = fast()
    quick.hole = True
    async with open_and_hidden(quick, PUBLIC) as (alice, bob):
        await until(lambda: quick.dials)
        for _ in range(20):
            bob.parts.peers.found(alice.sign_id)
            await pace(0.005)
        assert quick.dials == [f"fast://{PUBLIC}"]
        assert active(bob, alice) == "slow"


@pytest.mark.parametrize("seed", range(10))
async def test_both_dial_over_every_way_at_once_and_end_up_with_the_same_links(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CLOSE_AFTER", 0.02)
    monkeypatch.setattr(paths, "CALL_BACK_AFTER", 0.0)
    monkeypatch.setattr(paths, "IMPROVE_AFTER", 0.0)
    monkeypatch.setattr(paths, "DIRECT_HEAD_START", 0.0)
    chance = random.Random(seed)
    ways = [fast(), middle(), slow()]
    for way in ways:
        way.network.delay = chance.random() / 50
    async with friends(*ways) as [alice, bob]:
        one, other = Load(alice, bob), Load(bob, alice)
        await asyncio.gather(alice.connect(bob.sign_id), bob.connect(alice.sign_id))
        settled = {"fast": "active", "slow": "standby"}
        await until(lambda: states(alice, bob) == states(bob, alice) == settled)
        await until(lambda: len(links(alice, bob)) == len(links(bob, alice)) == 2)  # one that gave way may still drain
        await one.stop()
        await other.stop()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_repeated_or_reordered_whatever_the_links_do(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths.Retries, "FIRST", 0.05)
    monkeypatch.setattr(liveness, "QUARANTINE", 0.1)
    chance = random.Random(seed)
    ways = [fast(), middle(), slow()]
    for way in ways:
        way.network.delay = chance.random() / 100
    async with friends(*ways) as [alice, bob]:
        errors = listen_to(alice)
        runs: list[int] = []

        @bob.messaging.on("friends.ask")
        async def ask(topic: str, sender: str, payload: Any) -> Any:
            runs.append(payload)
            return payload

        loads = [Load(alice, bob, chance.choice([0, 0, 50_000])), Load(bob, alice)]
        asked = []
        for number in range(25):
            asked.append(asyncio.create_task(alice.messaging.request("ask", bob.sign_id, number, timeout=40)))
            await pace(chance.random() / 5)
            way = chance.choice(ways)
            match chance.randrange(4):
                case 0 | 1:
                    way.cut()
                case 2:
                    way.hole = not way.hole
                case 3:
                    way.allow(not way.network.up)
        for way in ways:
            way.hole = False
            way.allow(True)
        for load in loads:
            await load.stop()
        assert await asyncio.gather(*asked) == list(range(25))
        assert sorted(runs) == list(range(25))
        assert [event for event in errors if event[0] == "error"] == []


async def test_a_reply_that_is_lost_with_a_link_that_only_the_answering_end_used_is_asked_for_again() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: states(alice, bob) == states(bob, alice) == {"fast": "active", "slow": "standby"})
        begun, end = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("friends.ask")
        async def ask(topic: str, sender: str, payload: Any) -> Any:
            begun.set()
            await end.wait()
            return payload

        end.set()
        await alice.messaging.request("ask", bob.sign_id)  # so that a frame of Bob's has come over the link in use
        begun.clear()
        end.clear()
        asked = asyncio.create_task(alice.messaging.request("ask", bob.sign_id, 7))
        await begun.wait()
        sure.hole = True
        peer = bob.parts.peers.peer(alice.sign_id)
        peer.move(next(link for link in peer.links if link is not peer.link), "test")
        written = peer.link.bytes_out if peer.link is not None else 0
        end.set()
        await until(lambda: peer.link is not None and peer.link.bytes_out > written)
        sure.allow(False)
        sure.cut()
        await until(asked.done)
        assert asked.exception() is None
        assert asked.result() == 7


async def test_connecting_takes_a_round_trip_and_the_handshake_when_a_relay_is_at_hand() -> None:
    dead, sure = fast(), slow()
    dead.mute = True
    sure.network.delay = 0.05  # one way
    async with friends(dead, sure) as [alice, bob]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await alice.connect(bob.sign_id)
        taken = loop.time() - begun
        assert taken < ALONE


async def test_a_node_of_the_same_key_takes_over_every_link() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == len(links(bob, alice)) == 2)
        events = listen_to(alice)
        async with friends(quick, sure, numbers=[1]) as [impostor]:
            await impostor.add(bob.ticket())
            await impostor.connect(bob.sign_id)
            await until(lambda: any(event[0] == "error" for event in events))
            await until(lambda: not links(alice, bob))
            assert {link.epoch for link in links(bob, alice)} == {impostor.parts.epoch}


async def test_the_listener_tells_when_addresses_change() -> None:
    async with friends(fast()) as [alice, bob]:
        await alice.connect(bob.sign_id)
        changes: list[str] = []
        transport = alice.parts.plugins.transports[0]
        transport.reachable = lambda: ["fast://elsewhere"]  # type: ignore[method-assign]
        alice.parts.peers.peer(bob.sign_id).path_manager.network_changed = lambda: changes.append("changed")  # type: ignore[method-assign]
        await alice.parts.listener.look_again()
        await alice.parts.listener.look_again()
        assert changes == ["changed"]
        assert alice.directory.own_record is not None
        assert "fast://elsewhere" in alice.directory.own_record.connection_info


async def test_a_peer_that_keeps_one_link_is_not_given_a_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.Retries, "FIRST", 0.01)
    ready = Peer.link_ready
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:

        def link_ready(peer: Peer, link: Link, resume: bytes) -> None:
            """As clients do that know of one link: the newest counts."""
            ready(peer, link, resume)
            for other in peer.links if peer._around.own == bob.sign_id else ():
                if other is not link:
                    peer.use(link, [], "test")
                    other.close("replaced")

        monkeypatch.setattr(Peer, "link_ready", link_ready)
        moves = paths_of(alice)
        load = Load(alice, bob)
        await until(lambda: quick.dials and sure.dials)
        await until(lambda: active(alice, bob) == "fast" and len(links(alice, bob)) == 1)
        before = len(moves)
        await stays(lambda: len(moves) - before <= 2, 0.3)
        await load.stop()
        assert len(moves) - before <= 2
        assert states(alice, bob) == states(bob, alice) == {"fast": "active"}


async def test_a_warm_link_that_is_old_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_manager, "LIFETIME", 0.1)
    monkeypatch.setattr(path_manager, "WARM_LOOK", 0.05)
    monkeypatch.setattr(paths.Retries, "FIRST", 0.01)
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == 2)
        before = set(links(alice, bob))
        await until(lambda: len(set(links(alice, bob)) - before) == 1 and len(links(alice, bob)) == 2)
        assert active(alice, bob) == "fast"
