"""Finding our place: whom we ask first, and what waits until somebody has answered."""

from mm_services.kademlia.protocol.joining import MAX_SEEDS
from tests.sim.dht.members import Member
from tests.sim.dht.network import Network
from tests.support.kademlia import World, address


def test_the_latest_seeds_come_first_and_their_number_is_bounded() -> None:
    member = Member(Network(1))
    joining = member.node.joining
    joining.add((address(number), None) for number in range(2 * MAX_SEEDS))
    assert joining.seeds == [(address(number), None) for number in range(MAX_SEEDS)]
    member.do(lambda: joining.join([(address(1000), None), (address(1), None)], lambda count: None))
    assert joining.seeds[:3] == [(address(1000), None), (address(1), None), (address(0), None)]
    assert len(joining.seeds) == MAX_SEEDS


def test_with_nobody_to_ask_nothing_begins_and_nothing_waits() -> None:
    member, told = Member(Network(1)), list[str]()
    member.do(lambda: member.node.joining.join([], lambda count: told.append(f"joined {count}")))
    member.node.joining.once_joined(lambda: told.append("done"))
    assert told == ["done"]


def test_what_needs_others_waits_until_one_has_answered_and_comes_before_the_news() -> None:
    world, told = World(3), list[str]()
    newcomer = Member(world.network)
    joining = newcomer.node.joining
    seeds = [(world.members[0].address, None)]
    newcomer.do(lambda: joining.join(seeds, lambda count: told.append(f"joined {count}")))
    newcomer.do(lambda: joining.join(seeds, lambda count: told.append("twice")))
    newcomer.do(lambda: joining.once_joined(lambda: told.append("done")))
    assert told == []
    world.run(5)
    assert told == ["done", "joined 3"]


def test_seeds_that_are_gone_end_the_wait() -> None:
    member, told = Member(Network(1)), list[str]()
    member.do(lambda: member.node.joining.join([(address(9), None)], lambda count: told.append(f"joined {count}")))
    member.do(lambda: member.node.joining.once_joined(lambda: told.append("done")))
    assert told == []
    member.network.run(member.network.now + 60)
    assert told[:2] == ["done", "joined 0"]
