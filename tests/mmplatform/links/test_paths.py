"""Which path is used, kept, dialled and given up: tables, and properties over random networks."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.links import paths
from mmplatform.links.paths import (
    CALL_BACK_AFTER,
    IMPROVE_AFTER,
    PROVEN,
    Candidate,
    Retries,
    best,
    cost_of,
    first,
    gives_number,
    improving,
    needless,
    spare,
    turns,
    wanted,
)
from mmplatform.links.round_trips import ENOUGH, RECENT, LinkTrips

LAN, WAN, RTC, RELAY = 5, 10, 20, 40
LATE = 0.25  # seconds that a question takes more that is sent again
SEEDS = 400


@dataclass(eq=False)
class Path:
    cost: int
    usual: float = 0.01
    suspect_until: float = 0.0
    held_until: float = 0.0
    measured: int = PROVEN

    @cached_property
    def trips(self) -> LinkTrips:
        trips = LinkTrips()
        for _ in range(self.measured):
            trips.add(self.usual)
        return trips

    @property
    def relayed(self) -> bool:
        return self.cost == RELAY


some_paths = st.lists(
    st.builds(
        Path,
        st.sampled_from([0, LAN, WAN, RTC, RELAY]),
        st.floats(0, 2, allow_nan=False),
        st.sampled_from([0.0, 50.0, 150.0, inf]),
        st.sampled_from([0.0, 50.0, 150.0]),
        st.integers(0, 2 * PROVEN),
    ),
    max_size=5,
)


@pytest.mark.parametrize(
    ("address", "cost", "expected"),
    [
        ("tcp://192.168.1.2:7", 10, LAN), ("tcp://10.1.2.3:7", 10, LAN), ("tcp://127.0.0.1:7", 10, LAN),
        ("tcp://[fe80::1%25eth0]:7", 10, LAN), ("tcp://[fd00::1]:7", 10, LAN), ("tcp://169.254.1.1:7", 10, LAN),
        ("tcp://8.8.8.8:7", 10, WAN), ("tcp://[2606:4700::1]:7", 10, WAN), ("tcp://host.example:7", 10, WAN),
        ("webrtc:", 20, RTC), ("relay+ws://127.0.0.1:1/K", 40, RELAY), ("memory://1", 0, 0), ("tcp:closed", 10, WAN),
    ],
)  # fmt: skip
def test_an_address_on_the_lan_costs_less(address: str, cost: int, expected: int) -> None:
    assert cost_of(address, cost, relayed=cost == RELAY) == expected


def test_preference_at_equal_round_trips() -> None:
    found = [Path(cost) for cost in (RELAY, RTC, WAN, LAN)]
    order = []
    while found:
        top = best(found, None, 0.0)
        assert top is not None
        found.remove(top)
        order.append(top.cost)
    assert order == [LAN, WAN, RTC, RELAY]


@pytest.mark.parametrize(
    ("active", "other", "since", "moves"),
    [
        (Path(RELAY, 0.02), Path(WAN, 0.02), 0.0, True),
        (Path(WAN, 0.02), Path(RELAY, 0.01), 99.0, False),
        (Path(WAN, 0.9), Path(RELAY, 0.05), 99.0, True),
        (Path(WAN, 0.9), Path(RELAY, 0.05), 1.0, False),  # a moment after another move
        (Path(WAN, 0.9), Path(RELAY, 0.05), 6.0, True),  # far better
        (Path(WAN, 0.9), Path(RELAY, 0.3), 59.0, False),
        (Path(WAN, 0.9), Path(RELAY, 0.3), 61.0, True),
        (Path(WAN, 0.030), Path(WAN, 0.025), 99.0, False),
        (Path(RELAY, 0.5), Path(RELAY, 0.1), 99.0, True),
        (Path(RELAY, 0.02), Path(WAN, 0.02, suspect_until=200.0), 0.0, False),
        (Path(WAN, 0.02, suspect_until=inf), Path(RELAY, 0.5), 0.0, True),
        (Path(RELAY, 0.1), Path(WAN, 3.0), 99.0, False),  # direct, and no good
        (Path(RELAY, 0.3), Path(WAN, 0.15), 99.0, True),
        (Path(RELAY, 0.3), Path(WAN, 0.15, measured=PROVEN - 1), 99.0, False),  # far, and hardly known
        (Path(RELAY, 0.3), Path(WAN, 0.02, measured=1), 0.0, True),
        (Path(WAN, 0.9, measured=ENOUGH - 1), Path(RELAY, 0.05), 99.0, False),  # one slow answer says nothing
        (Path(RELAY, 0.3), Path(WAN, 0.02, held_until=101.0), 99.0, False),  # it was given up a while ago
        (Path(RELAY, 0.3), Path(WAN, 0.02, held_until=100.0), 99.0, True),
        (Path(RELAY, 0.3, suspect_until=inf), Path(WAN, 0.02, held_until=101.0), 0.0, True),  # nothing else works
    ],
)
def test_when_to_move(active: Path, other: Path, since: float, moves: bool) -> None:
    assert (best([active, other], active, 100.0, 100.0 - since) is other) == moves


@given(some_paths, st.integers(0, 4))
def test_the_choice_is_stable(found: list[Path], index: int) -> None:
    active = found[index] if index < len(found) else None
    chosen = best(found, active, 100.0)
    assert (chosen is None) == (not found)
    if chosen is not None:
        assert best(found, chosen, 100.0, 100.0) is chosen, "a move is not followed by another one"
        assert chosen.suspect_until <= 100.0 or all(path.suspect_until > 100.0 for path in found)


def lossy(slow: int) -> LinkTrips:
    """Of 64 round trips of 0.3 s, so many had something lost on the way."""
    trips = LinkTrips()
    for number in range(RECENT):
        trips.add(1.3 if number % (RECENT // slow) == 0 else 0.3)
    return trips


def test_a_path_that_loses_much_gives_way_though_its_shortest_round_trip_is_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    direct, relay = Path(RTC), Path(RELAY, 0.35)
    monkeypatch.setattr(Path, "trips", property(lambda path: lossy(8) if path is direct else lossy(1)))
    assert direct.trips.shortest == relay.trips.shortest
    assert best([direct, relay], direct, 100.0) is relay


def test_a_path_that_is_given_up_again_and_again_is_left_alone_for_longer() -> None:
    assert [paths.hold(times) for times in (1, 2, 3, 40)] == [60.0, 120.0, 240.0, paths.LONGEST_HOLD]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.3, 0.8), st.floats(0.3, 0.8)), min_size=60, max_size=300))
def test_two_paths_that_are_bad_by_turns_move_once_a_minute(trips: list[tuple[float, float]]) -> None:
    moves = moves_of(trips)
    assert all(after - before >= paths.MIN_DWELL for before, after in itertools.pairwise(moves))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.001, 3), st.floats(0.001, 3)), min_size=60, max_size=300))
def test_whatever_two_paths_do_the_direct_one_is_tried_once_a_minute(trips: list[tuple[float, float]]) -> None:
    moves = moves_of(trips)
    assert all(after - before >= paths.HOLD for before, after in itertools.pairwise(moves[::2]))


def test_a_direct_path_that_loses_much_is_left_to_a_relay_once_and_not_tried_again() -> None:
    """Of datagrams 8 % are lost each way."""
    assert lossy_moves(0.154, RELAY).count(0) > SEEDS * 0.95
    assert lossy_moves(0.154, RTC).count(1) > SEEDS * 0.95


def test_a_direct_path_that_loses_little_is_used() -> None:
    assert lossy_moves(0.01, RELAY).count(1) > SEEDS * 0.95
    assert lossy_moves(0.01, RTC).count(0) > SEEDS * 0.95


def lossy_moves(lost: float, first: int) -> list[int]:
    """How often each of SEEDS moves in two minutes, beginning with ``first``, if a relay that loses nothing is as
    far as a direct path that loses so much."""
    found = []
    for seed in range(SEEDS):
        random = Random(seed)
        trips = [(0.11 + (LATE if random.random() < lost else 0.0), 0.11) for _ in range(120)]
        found.append(len(moves_of(trips, first)))
    return found


def moves_of(trips: list[tuple[float, float]], first: int = RELAY) -> list[float]:
    """When paths move: one measurement a second of each, and moves noted as ``PathManager`` does."""
    direct, relay = Path(RTC, measured=0), Path(RELAY, measured=0)
    active, times, moves = relay if first == RELAY else direct, 0, [0.0]
    for now, pair in enumerate(trips, 1):
        for path, trip in zip((direct, relay), pair, strict=True):
            path.trips.add(trip)
        better = best([direct, relay], active, now, moves[-1])
        assert better is not None
        if better is not active:
            if better is relay:
                times += 1
                active.held_until = now + paths.hold(times)
            active = better
            moves.append(now)
    return moves[1:]


@given(some_paths.filter(bool))
def test_one_is_used_one_is_warm_the_rest_goes(found: list[Path]) -> None:
    active = best(found, None, 100.0)
    assert active is not None
    warm, rest = spare(found, active), needless(found, active)
    assert len(rest) == max(len(found) - 2, 0)
    assert active not in rest
    assert (warm is None) == (len(found) == 1)
    assert warm is not active
    if warm is not None and not warm.relayed:
        assert all(not path.relayed for path in found if path is not active)


def test_both_ends_keep_the_same_links() -> None:
    tcp, rtc, relay = Path(LAN), Path(RTC), Path(RELAY)
    assert spare([tcp, rtc, relay], tcp) is relay
    assert needless([relay, rtc, tcp], tcp) == [rtc]
    assert spare([rtc, relay], rtc) is relay
    assert spare([tcp, rtc], tcp) is rtc


def tcp(host: str, number: int = 1) -> Candidate:
    address = f"tcp://{host}:{number}"
    return Candidate(address, cost_of(address, 10, relayed=False))


def relay(number: int, near: bool = False, host: str = "r") -> Candidate:
    return Candidate(f"relay+wss://{host}{number}/K", RELAY, relayed=True, near=near)


RTC_ADDRESS = Candidate("webrtc:", RTC, signalled=True)


def test_a_relay_at_hand_is_tried_almost_at_once() -> None:
    starts = first([tcp("8.8.8.8"), tcp("8.8.4.4"), relay(1), relay(2, near=True), RTC_ADDRESS])
    assert starts == [
        (0.0, "tcp://8.8.8.8:1"),
        (paths.DIRECT_HEAD_START, "relay+wss://r2/K"),
        (paths.DIAL_SPREAD, "tcp://8.8.4.4:1"),
        (paths.DIAL_SPREAD, "relay+wss://r1/K"),
    ]
    assert first([relay(1, near=True)]) == [(0.0, "relay+wss://r1/K")]
    assert first([relay(1), relay(2)]) == [(0.0, "relay+wss://r1/K"), (paths.DIAL_SPREAD, "relay+wss://r2/K")]
    assert first([RTC_ADDRESS]) == [(0.0, "webrtc:")]
    assert first([]) == []


def test_loopback_is_tried_last() -> None:
    starts = first([tcp("127.0.0.1"), tcp("8.8.8.8"), relay(1, host="[::1]:"), relay(2)])
    assert [address for _, address in starts] == [
        "tcp://8.8.8.8:1", "tcp://127.0.0.1:1", "relay+wss://r2/K", "relay+wss://[::1]:1/K",
    ]  # fmt: skip


candidates = st.lists(
    st.one_of(
        st.builds(tcp, st.sampled_from(["8.8.8.8", "10.0.0.1", "127.0.0.1"]), st.integers(1, 30)),
        st.builds(relay, st.integers(1, 9), st.booleans()),
        st.just(RTC_ADDRESS),
    ),
    unique_by=lambda candidate: candidate.address,
    max_size=16,
)


@given(candidates)
def test_dead_addresses_cost_no_more_than_a_quarter_of_a_second(found: list[Candidate]) -> None:
    starts = first(found)
    by_address = {candidate.address: candidate for candidate in found}
    assert [after for after, _ in starts] == sorted(after for after, _ in starts)
    assert all(0 <= after <= 0.25 for after, _ in starts)
    assert len({address for _, address in starts}) == len(starts) == len([c for c in found if not c.signalled] or found)
    assert bool(starts) == bool(found)
    assert not starts or starts[0][0] == 0.0
    near = [after for after, address in starts if by_address[address].near]
    assert not near or near[0] <= paths.DIRECT_HEAD_START


def never(candidate: Candidate) -> float:
    return 0.0


def test_what_is_dialled_beside_a_link() -> None:
    lan, wan, near, far = tcp("10.0.0.1"), tcp("8.8.8.8"), relay(1, near=True), relay(2)
    everything = [wan, lan, RTC_ADDRESS, near, far]
    over_relay = Path(RELAY)
    assert improving(wanted(everything, [over_relay], over_relay), never, 1.0) == [
        (0.0, lan.address), (0.25, wan.address), (paths.SIGNALLED_AFTER, "webrtc:"),
    ]  # fmt: skip
    assert improving(wanted([RTC_ADDRESS, near], [over_relay], over_relay), never, 1.0) == [(0.0, "webrtc:")]
    over_lan = Path(LAN)
    assert improving(wanted(everything, [over_lan], over_lan), never, 1.0) == [(0.0, near.address)]
    assert improving(wanted(everything, [over_lan, over_relay], over_lan), never, 1.0) == []
    assert improving(wanted(everything, [over_relay], over_relay), lambda c: 2.0, 1.0) == []
    direct = Path(WAN)
    assert improving(wanted([tcp("127.0.0.1")], [direct], direct), never, 1.0) == []


def test_what_is_due_soon_does_not_wait_for_dead_addresses() -> None:
    wan, over_relay = tcp("8.8.8.8"), Path(RELAY)

    def due(candidate: Candidate) -> float:
        return 2.0 if candidate.signalled else 1.0

    assert improving(wanted([wan, RTC_ADDRESS], [over_relay], over_relay), due, 1.0) == [
        (0.0, wan.address),
        (1.0, "webrtc:"),
    ]
    assert improving(wanted([RTC_ADDRESS], [over_relay], over_relay), due, 1.0) == []
    assert improving(wanted([wan, RTC_ADDRESS], [over_relay], over_relay), due, 0.3) == []


def test_the_end_that_was_dialled_tries_plain_addresses_soon_and_leaves_the_rest_to_the_other() -> None:
    lan, wan, far = tcp("10.0.0.1"), tcp("8.8.8.8"), relay(2)
    expected = {
        lan.address: CALL_BACK_AFTER,
        wan.address: CALL_BACK_AFTER,
        "webrtc:": IMPROVE_AFTER,
        far.address: IMPROVE_AFTER,
    }
    assert turns([lan, wan, RTC_ADDRESS, far], known=True, reach=ANYWHERE) == expected


def test_what_is_relayed_is_told_by_the_transport_and_not_by_the_cost() -> None:
    cheap = Candidate("relay+wss://10.0.0.1:1/K", WAN, relayed=True, near=True)
    dear = Candidate("tcp://8.8.8.8:1", RELAY + 5)
    assert cost_of(cheap.address, WAN, relayed=True) == WAN
    assert first([cheap, dear]) == [(0.0, dear.address), (paths.DIRECT_HEAD_START, cheap.address)]
    assert turns([cheap, dear], known=True, reach=ANYWHERE) == {
        cheap.address: IMPROVE_AFTER,
        dear.address: CALL_BACK_AFTER,
    }


def test_of_a_stranger_a_few_public_addresses_are_tried() -> None:
    public = [Candidate(f"tcp://8.8.8.{n}:7000", WAN) for n in range(9)]
    found = [tcp("10.0.0.1"), *public, RTC_ADDRESS, relay(2)]
    wanted = {candidate.address: CALL_BACK_AFTER for candidate in public[: paths.MAX_CALL_BACKS]}
    assert turns(found, known=False, reach=Reach()) == wanted


@pytest.mark.parametrize(
    "address",
    ["tcp://8.8.8.8:1024", "tcp://[2606:4700::1]:7000", "tcp://198.41.0.4:65535"],
)
def test_public_addresses(address: str) -> None:
    assert gives_number(address, Reach())


@pytest.mark.parametrize(
    "address",
    [
        "tcp://8.8.8.8:1023", "tcp://8.8.8.8:443", "tcp://8.8.8.8", "tcp://8.8.8.8:x", "tcp://host.example:7000",
        "tcp://10.0.0.1:7000", "tcp://172.16.0.1:7000", "tcp://192.168.1.1:7000", "tcp://100.64.0.1:7000",
        "tcp://127.0.0.1:7000", "tcp://0.0.0.0:7000", "tcp://169.254.169.254:7000", "tcp://224.0.0.1:7000",
        "tcp://255.255.255.255:7000", "tcp://[::1]:7000", "tcp://[fd00::1]:7000", "tcp://[fe80::1%25eth0]:7000",
        "tcp://[ff0e::1]:7000", "tcp://[::ffff:10.0.0.1]:7000", "tcp://[64:ff9b::a00:1]:7000",
        "tcp://[2002:a00:1::1]:7000", "tcp://[2001:0:a00:1::1]:7000", "tcp:", "webrtc:",
        "tcp://10.0.0.1:7000@8.8.8.8:7000", "tcp://8.8.8.8:7000/10.0.0.1", "tcp://8.8.8.8:07000", "tcp://8.8.8.8:7000#",
    ],
)  # fmt: skip
def test_addresses_that_a_stranger_cannot_have_us_dial(address: str) -> None:
    assert not gives_number(address, Reach())


def test_hole_punching_is_left_alone_for_longer_and_longer() -> None:
    retries = Retries(lambda: 0.0)
    delays = [retries.failed(RTC_ADDRESS, 0.0) for _ in range(8)]
    assert delays[:4] == [10.0, 30.0, 90.0, 270.0]
    assert delays[-1] == Retries.PUNCH_LONGEST
    assert retries.due(RTC_ADDRESS) == Retries.PUNCH_LONGEST
    plain = [retries.failed(tcp("8.8.8.8"), 0.0) for _ in range(10)]
    assert (plain[0], plain[-1]) == (2.0, Retries.LONGEST)
    retries.reset()
    assert retries.due(RTC_ADDRESS) == retries.due(tcp("8.8.8.8")) == 0.0
    assert retries.failed(RTC_ADDRESS, 5.0) == 10.0
    assert retries.due(RTC_ADDRESS) == 15.0


def test_in_a_day_a_hole_that_cannot_be_punched_is_tried_a_few_dozen_times() -> None:
    retries, now, attempts = Retries(lambda: 1.0), 0.0, 0
    while now < 86_400:
        attempts += 1
        retries.failed(RTC_ADDRESS, now)
        now = retries.due(RTC_ADDRESS)
    assert attempts < 80


def test_links_that_end_early_are_made_again_later_and_later() -> None:
    retries = Retries(lambda: 0.0)
    due = []
    for _ in range(10):
        retries.ended(LAN, stable=False, now=0.0)
        due.append(retries.due(tcp("10.0.0.1")))
    assert due[:3] == [0.5, 1.0, 2.0]
    assert due[-1] == 30.0
    retries.ended(LAN, stable=True, now=0.0)
    assert retries.due(tcp("10.0.0.1")) == 0.0
    retries.opened("tcp://10.0.0.1:1", 5.0)
    assert retries.due(tcp("10.0.0.1")) == 5.0 + Retries.FIRST
