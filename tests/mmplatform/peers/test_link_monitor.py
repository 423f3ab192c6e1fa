"""A link that falls silent is noticed, left and used again; whole platforms, scripted ways."""

import asyncio
from typing import Any

import pytest

from mmplatform.peers import liveness
from tests.support.load import ALONE, Load, next_move
from tests.support.waiting import pace, stays, until
from tests.support.ways import Way, active, fast, friends, links, paths_of, slow, states
from tests.support.world import collect, listen_to


@pytest.mark.parametrize("size", [10, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_a_link_that_falls_silent_is_left_soon_and_used_again_later(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "QUARANTINE", 0.2)
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == 2)
        events, moves = listen_to(alice), paths_of(alice)
        load = Load(alice, bob, size)
        await load.more()
        quick.hole = True
        assert (await next_move(moves)) == ("slow", "silent")
        await load.more()
        assert load.gap < ALONE
        assert states(alice, bob)["fast"] == "silent"
        quick.hole = False
        assert (await next_move(moves)) == ("fast", "better")
        await load.more()
        await load.stop()
        assert events == []


@pytest.mark.slow
async def test_requests_are_answered_once_when_the_link_in_use_falls_silent() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        runs: list[Any] = []

        @bob.messaging.on("friends.add")
        async def add(topic: str, sender: str, payload: Any) -> int:
            runs.append(payload[0])
            await pace(0.05)
            return sum(payload)

        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == 2)
        asked = [asyncio.create_task(alice.messaging.request("add", bob.sign_id, [n, 1], timeout=5)) for n in range(40)]
        await until(lambda: runs)
        quick.hole = True
        asked += [
            asyncio.create_task(alice.messaging.request("add", bob.sign_id, [n, 1], timeout=5)) for n in range(40, 60)
        ]
        assert await asyncio.gather(*asked) == [n + 1 for n in range(60)]
        assert sorted(runs) == list(range(60))


async def test_a_reply_that_went_into_a_hole_is_asked_for_again() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        runs: list[Any] = []

        @bob.messaging.on("friends.hole")
        async def hole(topic: str, sender: str, payload: Any) -> int:
            runs.append(payload)
            quick.hole = True
            return 7

        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == 2)
        assert await alice.messaging.request("hole", bob.sign_id, 1, timeout=6) == 7
        assert runs == [1]


@pytest.mark.slow
async def test_when_nothing_else_is_up_other_ways_are_dialled_while_the_one_in_use_is_silent() -> None:
    quick, other = fast(), Way("other", 20)
    other.allow(False)
    async with friends(quick, other) as [alice, bob]:
        heard = collect(bob)
        await alice.connect(bob.sign_id)
        events = listen_to(alice)
        other.allow(True)
        quick.hole = True
        sending = await alice.messaging.send("n", bob.sign_id, 1)
        await asyncio.wait_for(sending, 8)
        assert heard == [1]
        assert active(alice, bob) == "other"
        assert events == []


async def test_a_network_change_finds_dead_links_and_better_ones() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == 2)
        moves = paths_of(alice)
        quick.hole = True
        alice.network_changed()  # nothing is being said: nobody would have noticed
        assert (await next_move(moves)) == ("slow", "silent")


@pytest.mark.slow
async def test_a_message_that_met_the_last_frame_of_a_link_on_its_way_is_not_forgotten() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        heard = collect(bob)
        await alice.connect(bob.sign_id)
        await until(lambda: len(links(alice, bob)) == len(links(bob, alice)) == 2)
        link = alice.parts.peers.peer(bob.sign_id).link
        assert link is not None
        quick.hole = True
        sending = await alice.messaging.send("n", bob.sign_id, 1)
        await until(lambda: link.owes_answer)
        link.owes_answer = False  # as if something came that was sent before
        await asyncio.wait_for(sending, 3)
        assert heard == [1]


async def test_an_idle_pair_is_quiet() -> None:
    quick, sure = fast(), slow()
    async with friends(quick, sure) as [alice, bob]:
        await (await alice.messaging.send("n", bob.sign_id, 1)).received()
        await until(lambda: len(links(alice, bob)) == len(links(bob, alice)) == 2)
        await pace(0.6)  # the links become quiet

        def bytes_out() -> list[int]:
            return [link.bytes_out for link in (*links(alice, bob), *links(bob, alice))]

        before = bytes_out()
        await stays(lambda: bytes_out() == before, 1.0)
        assert not alice.parts.peers.peer(bob.sign_id).exchange.watched
