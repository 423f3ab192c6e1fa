"""Direct links through real NATs, signalled through a relay; a dead path; a TURN server where nothing else helps.

``python -m tests.netns.test_webrtc`` prints all pairs of kinds.
"""

import subprocess
import sys
from itertools import combinations_with_replacement

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.nat import KINDS
from tests.netns.relays import start_relay
from tests.netns.told import Told

pytest.importorskip("aiortc")
pytestmark = [needs("nft"), pytest.mark.slow]
OPEN = "open"
PUNCHABLE = [
    (OPEN, "symmetric"),
    ("full-cone", "symmetric"),
    ("address-restricted", "symmetric"),
    ("port-restricted", "port-restricted"),
]


def lab_of(*kinds: str) -> Lab:
    """Of strangers only public addresses are tried, so the segment has such."""
    nats = {host: kind for host, kind in zip("ab", kinds, strict=True) if kind != OPEN}
    return Lab("a", "b", "relay", nats=nats, internet=True)


def start_pair(lab: Lab, *options: str, stun: bool = True) -> tuple[Told, Told]:
    """Two nodes with a link through a relay."""
    relay = start_relay(lab, "relay")
    if stun:
        server = lab.start("relay", sys.executable, "-m", "tests.netns.stun", "3478")
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        options = (*options, "--stun", f"stun:{lab.address('relay')}:3478")
    b = Told(lab, "b", "--relay", relay, *options, services=(), module="tests.netns.direct")
    a = Told(lab, "a", "--relay", relay, "--add", b.ticket, *options, services=(), module="tests.netns.direct")
    assert a.until("connected")["over"].startswith("relay+ws")
    return a, b


@pytest.mark.parametrize("kinds", PUNCHABLE, ids="-".join)
def test_a_direct_link_through_nats(kinds: tuple[str, str]) -> None:
    with lab_of(*kinds) as lab:
        a, b = start_pair(lab)
        a.tell(f"direct {b.sign_id}")
        made = a.until("direct")
        print(f"{' / '.join(kinds)}: {made['after']:.2f} s, round trip {made['rtt'] * 1e3:.1f} ms")
        assert made["after"] < 5


def test_nats_that_nothing_gets_through_are_named_and_the_relay_stays() -> None:
    with lab_of("port-restricted", "symmetric") as lab:
        a, b = start_pair(lab)
        a.tell(f"direct {b.sign_id}")
        failed = a.until("failed")
        assert "failed: no packet got through" in failed["reason"]
        assert failed["after"] < 10
        a.tell(f"measure {b.sign_id}")
        assert a.until("measured")["over"].startswith("relay+ws")


def test_a_stun_server_that_is_not_there_costs_little() -> None:
    with lab_of(OPEN, OPEN) as lab:
        a, b = start_pair(lab, "--stun", "stun:10.77.0.250:3478", stun=False)
        a.tell(f"direct {b.sign_id}")
        assert a.until("direct")["after"] < 4.5  # 1.5 s at each end


def test_a_dead_path_is_noticed_in_five_seconds_without_any_traffic() -> None:
    with Lab("a", "b") as lab:
        listen = ("--listen", "tcp://0.0.0.0:0")
        b = Told(lab, "b", *listen, services=(), module="tests.netns.direct")
        a = Told(lab, "a", *listen, "--add", b.ticket, services=(), module="tests.netns.direct")
        assert a.until("connected")["over"].startswith("tcp")
        a.tell(f"dial {b.sign_id}")
        pulled = a.until("dialled")["at"]
        lab.plug("b", up=False)
        a.tell(f"gone {b.sign_id}")
        noticed = a.until("gone")["at"] - pulled
        print(f"noticed after {noticed:.2f} s")
        assert 3.0 < noticed < 6.5


@needs("turnserver")
def test_a_turn_server_where_nothing_else_helps() -> None:
    with lab_of("symmetric", "symmetric") as lab:
        command = "--user=user:password --realm=lab --lt-cred-mech --no-cli --no-tls --no-dtls --listening-port=3479"
        lab.run("relay", "ip", "route", "replace", "default", "via", lab.address("a"))
        lab.start("relay", "turnserver", "-n", "--log-file=stdout", f"--listening-ip={lab.address('relay')}",
                  *command.split(), stdout=subprocess.DEVNULL)  # fmt: skip
        a, b = start_pair(lab, "--turn", f"turn:{lab.address('relay')}:3479,user,password")
        a.tell(f"direct {b.sign_id}")
        print(f"through TURN: {a.until('direct')['after']:.2f} s")


def main() -> None:
    for kinds in combinations_with_replacement((OPEN, *KINDS), 2):
        with lab_of(*kinds) as lab:
            a, b = start_pair(lab)
            a.tell(f"direct {b.sign_id}")
            a.tell(f"measure {b.sign_id}")
            found = a.until_any("direct", "failed")
            speed = a.until("measured", timeout=60)
        end = f"{found['rtt'] * 1e3:.1f} ms" if found["event"] == "direct" else found["reason"]
        rates = f"{speed['messages']:.0f} msg/s {speed['megabytes']:.1f} MB/s over {speed['over'].partition(':')[0]}"
        print(f"{' / '.join(kinds):42} {found['after']:5.2f} s  {rates}  {end}", flush=True)


if __name__ == "__main__":
    main()
