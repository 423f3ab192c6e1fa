"""Who is met: chosen by the ring, those who chose us, and friends who are looked for."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mm_services.messenger import neighbourhood
from mm_services.messenger.answering import Answering
from mm_services.messenger.neighbourhood import LINKED, NEARBY, Neighbourhood
from mm_services.messenger.protocol.meeting import Meeting
from mm_services.messenger.protocol.ring import chosen
from mm_services.messenger.protocol.rules import DEFAULT, open_to_everyone
from mmplatform.errors import NoResponders, RequestTimeout
from mmplatform.identity.keys import Identity, SignId
from tests.support.bundle_stores import ALICE, BOB, CAROL, US, make_bundle
from tests.support.carriers import MALLORY, TestedCarrier, carrying
from tests.support.neighbours import ScriptedUpstream
from tests.support.waiting import stays, until

CROWD = [Identity.from_seed(bytes([n]) * 32).sign_id for n in range(20)]
LIMIT = 4


class World:
    """A neighbourhood among peers that answer nothing unless they are told to."""

    def __init__(self, carrier: TestedCarrier, limit: int = LIMIT) -> None:
        self.carrier, self.upstream = carrier, ScriptedUpstream(US.sign_id)
        self.friends: list[SignId] = []
        self.failures: list[Exception] = []
        self.hood = Neighbourhood(
            carrier, self.upstream.upstream(), limit, lambda: self.friends, lambda: 0.0, self.failures.append
        )  # fmt: skip

    @property
    def meetings(self) -> dict[SignId, Meeting]:
        return self.carrier.meetings

    def come(self, *peers: SignId, how: str = LINKED) -> None:
        for peer in peers:
            self.hood.came(peer, how)

    async def has(self, *peers: SignId) -> None:
        """Wait until these are the neighbours."""
        await until(lambda: self.meetings.keys() == {*peers} == self.hood.neighbours.keys())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with carrying(tmp_path, rules=open_to_everyone(DEFAULT, None)) as carrier:
        world = World(carrier)
        world.hood.open()
        yield world
        await world.hood.close()
        assert world.meetings == world.hood.neighbours == {}
        assert world.failures == []


def is_stable(world: World, *peers: SignId) -> Callable[[], bool]:
    return lambda: world.meetings.keys() == {*peers}


async def test_neighbours_are_those_of_the_ring(world: World) -> None:
    world.come(*CROWD)
    await world.has(*chosen(US.sign_id, CROWD, (), LIMIT))
    assert {*world.hood.met} == {*CROWD}
    await until(lambda: {*world.upstream.begun} == world.meetings.keys())


async def test_who_stays_a_neighbour_is_not_disturbed_when_others_come_and_go(world: World) -> None:
    world.come(*CROWD[:10])
    before = chosen(US.sign_id, CROWD[:10], (), LIMIT)
    await world.has(*before)
    meetings = dict(world.meetings)
    world.hood.went(before[-1], LINKED)
    left = [peer for peer in CROWD[:10] if peer != before[-1]]
    after = chosen(US.sign_id, left, (), LIMIT)
    await world.has(*after)
    kept = {*before} & {*after}
    assert len(kept) >= 2
    assert all(world.meetings[peer] is meetings[peer] for peer in kept)


async def test_losing_one_of_few_touches_nobody_else(world: World) -> None:
    world.come(*CROWD[:3])
    await world.has(*CROWD[:3])
    meetings = dict(world.meetings)
    world.hood.went(CROWD[0], LINKED)
    await world.has(*CROWD[1:3])
    assert all(world.meetings[peer] is meetings[peer] for peer in CROWD[1:3])


async def test_without_a_limit_all_are_met(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules=open_to_everyone(DEFAULT, None)) as carrier:
        world = World(carrier, limit=0)
        world.come(*CROWD)
        await world.has(*CROWD)
        await world.hood.close()


async def test_who_is_met_in_two_ways_is_gone_when_both_are(world: World) -> None:
    world.come(CROWD[0])
    world.come(CROWD[0], how=NEARBY)
    await world.has(CROWD[0])
    world.hood.went(CROWD[0], LINKED)
    await stays(is_stable(world, CROWD[0]), 0.1)
    world.hood.went(CROWD[0], NEARBY)
    await world.has()


async def test_whom_we_give_nothing_is_not_met(tmp_path: Path) -> None:
    async with carrying(tmp_path) as carrier:
        world = World(carrier)
        world.come(MALLORY.sign_id, ALICE.sign_id)
        world.hood.chose_us(MALLORY.sign_id)
        await world.has(ALICE.sign_id)
        await world.hood.close()


async def test_recipients_are_met_beside_the_chosen_ones(world: World) -> None:
    world.come(*CROWD)
    usual = chosen(US.sign_id, CROWD, (), LIMIT)
    await world.has(*usual)
    other = next(peer for peer in CROWD if peer not in usual)
    world.hood.wanted([other, BOB.sign_id, US.sign_id])
    await world.has(*usual, other)
    world.hood.went(other, LINKED)
    await world.has(*chosen(US.sign_id, [peer for peer in CROWD if peer != other], (), LIMIT))


async def test_who_chose_us_is_pushed_what_comes_until_it_goes(world: World) -> None:
    world.come(*CROWD)
    usual = chosen(US.sign_id, CROWD, (), LIMIT)
    await world.has(*usual)
    other = next(peer for peer in CROWD if peer not in usual)
    world.hood.chose_us(other)
    world.hood.chose_us(usual[0])
    await world.has(*usual, other)
    assert [world.meetings[peer].begins for peer in (other, usual[0])] == [False, True]
    assert other not in world.upstream.begun
    world.hood.went(other, LINKED)
    await until(lambda: other not in world.meetings)


async def test_only_so_many_may_choose_us_and_the_oldest_gives_way(world: World) -> None:
    peers = [Identity.from_seed(n.to_bytes(32)).sign_id for n in range(1000, 1001 + neighbourhood.MOST_CHOSEN_US)]
    for peer in peers:
        world.carrier.store.time += 1
        world.hood.chose_us(peer)
    await world.has(*peers[1:])


async def test_friends_are_looked_for_when_too_few_are_met(world: World) -> None:
    world.friends = [ALICE.sign_id, BOB.sign_id, US.sign_id]
    world.come(CROWD[0])
    await world.has(CROWD[0], ALICE.sign_id, BOB.sign_id)
    world.come(*CROWD[1:])
    await world.has(*chosen(US.sign_id, CROWD, (), LIMIT))


@pytest.mark.parametrize("how", [LINKED, NEARBY])
async def test_who_does_not_carry_is_not_asked_again_for_a_while(world: World, how: str) -> None:
    world.upstream.failures[CROWD[0]] = NoResponders("nobody carries")
    world.come(*CROWD[:2], how=how)
    await world.has(CROWD[1])
    world.come(CROWD[2])
    await world.has(*CROWD[1:3])
    assert world.upstream.begun.count(CROWD[0]) == 1
    world.carrier.store.time += neighbourhood.NO_CARRIER
    world.come(CROWD[3])
    await until(lambda: world.upstream.begun.count(CROWD[0]) == 2)


async def test_who_turns_out_to_carry_is_asked_again(world: World) -> None:
    world.upstream.failures[CROWD[0]] = NoResponders("nobody carries")
    world.come(CROWD[0])
    await until(lambda: world.upstream.begun == [CROWD[0]])
    await world.has()
    del world.upstream.failures[CROWD[0]]
    world.hood.chose_us(CROWD[0])
    await world.has(CROWD[0])


async def test_who_does_not_answer_stays_until_there_is_somebody_better(world: World) -> None:
    world.upstream.failures[CROWD[0]] = RequestTimeout("nothing came")
    world.come(CROWD[0])
    await until(lambda: CROWD[0] in world.hood.neighbours and world.hood.neighbours[CROWD[0]].errors == 1)
    assert world.hood.neighbours[CROWD[0]].state == "RequestTimeout: nothing came"
    await stays(is_stable(world, CROWD[0]), 0.1)


async def test_one_that_links_again_is_tried_at_once(world: World) -> None:
    world.upstream.failures[CROWD[0]] = RequestTimeout("nothing came")
    world.come(CROWD[0])
    await until(lambda: CROWD[0] in world.hood.neighbours and world.hood.neighbours[CROWD[0]].errors == 1)
    world.come(CROWD[0])
    await until(lambda: world.upstream.begun == [CROWD[0]] * 2)


async def test_after_the_end_nobody_is_met(world: World) -> None:
    await world.hood.close()
    world.come(*CROWD)
    world.hood.chose_us(CROWD[0])
    await stays(is_stable(world), 0.1)


async def test_a_defect_in_a_meeting_is_told_and_ends_that_one_alone(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules=open_to_everyone(DEFAULT, None)) as carrier:
        world = World(carrier)
        world.upstream.failures[CROWD[0]] = ValueError("a defect")  # type: ignore[assignment]  # none of the errors that are known
        world.come(*CROWD[:2])
        await until(lambda: [str(each) for each in world.failures] == ["a defect"])
        await world.has(CROWD[1])
        await world.hood.close()


async def test_bundles_reach_a_carrier_and_what_comes_later_is_pushed(world: World, tmp_path: Path) -> None:
    everybody = open_to_everyone(DEFAULT, None)
    async with carrying(tmp_path / "carol", identity=CAROL, rules=everybody) as carol:
        world.upstream.handlers[CAROL.sign_id] = Answering(carol, lambda _: None, lambda *_: None)
        ours, theirs, later = make_bundle(sender=US), make_bundle(sender=CAROL), make_bundle(sender=US)
        await world.carrier.post(ours.header, ours.content)
        await carol.post(theirs.header, theirs.content)
        world.come(CAROL.sign_id)
        await until(lambda: carol.store.find(ours.id) and world.carrier.store.find(theirs.id))
        await world.carrier.post(later.header, later.content)
        await until(lambda: carol.store.find(later.id))
        neighbour = world.hood.neighbours[CAROL.sign_id]
        await until(lambda: (neighbour.sent, neighbour.taken) == (2, 1))
        assert neighbour.state == "talking"
        await world.hood.close()
