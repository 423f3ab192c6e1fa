"""Must show 3, small: a hostile and lossy network, half of it useless, still finds the newest record."""

import pytest

from tests.sim.dht.members import Member
from tests.sim.dht.network import Network
from tests.sim.dht.scenario import Scenario, run


@pytest.mark.slow
def test_a_hostile_network_of_sixty() -> None:
    measured = run(60, 7, 150, dead=0.3, hostile=0.2, loss=0.05)
    assert measured.share() >= 99
    assert measured.wrong == 0
    assert measured.percentile(50) < 300
    assert measured.percentile(99) < 2000
    assert measured.poison_told > 100


def test_the_same_seed_is_the_same_story() -> None:
    one, other = (run(12, 3, 20, loss=0.1) for _ in range(2))
    assert one.times == other.times
    assert one.share() == 100


@pytest.mark.slow
def test_hops_grow_slowly() -> None:
    hops = []
    for size in (20, 80):
        scenario = Scenario(size, 1, records=20)
        scenario.grow()
        scenario.publish(1)
        measured = scenario.look_up(40)
        assert measured.share() == 100
        hops.append(sum(measured.hops) / len(measured.hops))
    assert hops[0] < hops[1] < hops[0] + 2


def test_an_idle_node_does_nothing_between_its_minutes() -> None:
    network = Network(1)
    one, other = Member(network), Member(network)
    other.join(one)
    network.run(network.now + 660)  # each bucket was looked up once
    before = network.sent
    network.run(network.now + 180)
    assert network.sent == before
