import pytest

from benchmarks.contract import Peer
from benchmarks.registry import PEERS, Entry, find_program, load
from benchmarks.workloads import PIPELINING, WORKLOADS

NAMES = [
    "mm", "mm-relay", "mm-direct", "naive", "zmq-curve", "zmq-curve-asyncio", "nats-tls", "zenoh-tls", "redis-fsync",
    "jetstream-fsync", "mosquitto-tls",
]  # fmt: skip


def test_the_names_that_readers_of_the_results_rely_on() -> None:
    assert list(PEERS) == NAMES
    assert list(WORKLOADS) == ["W1", "W2a", "W2b", "W3", "W4", "W5", "R1", "R2", "R5"]


def test_the_platform_does_everything_and_every_workload_has_a_peer() -> None:
    assert {*PEERS["mm"].counts, *PEERS["mm-relay"].counts} == {*WORKLOADS, PIPELINING.name}
    for name in WORKLOADS:
        assert [peer for peer, entry in PEERS.items() if name in entry.counts and peer not in ("mm", "mm-relay")]


@pytest.mark.parametrize("name", NAMES)
def test_an_installed_peer_loads_and_a_missing_one_says_what_is_missing(name: str) -> None:
    entry = PEERS[name]
    if entry.missing:
        assert entry.missing.startswith("no ")
    else:
        assert issubclass(load(name), Peer)


def test_a_missing_module_and_a_missing_program_are_named_with_the_remedy() -> None:
    module = Entry("x", "x:X", {}, ("no_such_module", "json"))
    assert module.missing == "no Python module no_such_module (make bench installs it, with the extra [bench])"
    program = Entry("x", "x:X", {}, ("json",), "no-such-program")
    assert program.missing == "no program no-such-program (make bench installs it, with the extra [bench])"
    system = Entry("x", "x:X", {}, ("json",), "no-such-program", "no-such-package")
    assert system.missing == "no program no-such-program (apt-get install no-such-package)"
    assert Entry("x", "x:X", {}, ("json",)).missing == ""


def test_a_program_beside_python_is_found() -> None:
    assert find_program("python").endswith("/python")
    assert find_program("no-such-program") == ""
