"""mDNS between real hosts: who starts is found, who ends is missed, and avahi sees what we announce."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.told import Told
from tests.support.waiting import wait_until

pytestmark = [needs(), pytest.mark.slow]
AVAHI = needs("dbus-daemon", "avahi-daemon", "avahi-browse")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("a", "b") as lab:
        yield lab


def test_two_fresh_nodes_find_each_other_and_exchange_a_message(lab: Lab) -> None:
    a = Told(lab, "a")
    b = Told(lab, "b", "--to", "found")
    heard = a.until("heard", sender=b.sign_id)
    delivered = b.until("delivered", to=a.sign_id)
    assert heard["at"] - b.began < 3.0
    assert delivered["at"] - b.began < 3.0
    a.until("found", peer=b.sign_id, by="mdns")
    print(f"heard {heard['at'] - b.began:.2f} s after the second start")


@pytest.mark.parametrize("linked", [False, True])
def test_a_killed_peer_is_missed_within_15_seconds(lab: Lab, linked: bool) -> None:
    a = Told(lab, "a")
    b = Told(lab, "b", *(["--to", "found"] if linked else []))
    a.until("found", peer=b.sign_id)
    if linked:
        b.until("delivered")
    killed = time.monotonic()
    b.process.send_signal(signal.SIGKILL)
    gone = a.until("gone", peer=b.sign_id)
    assert gone["at"] - killed < 15.0
    print(f"gone {gone['at'] - killed:.2f} s after SIGKILL")


def test_a_peer_whose_cable_is_pulled_is_missed_and_found_again(lab: Lab) -> None:
    a, b = Told(lab, "a"), Told(lab, "b")
    a.until("found", peer=b.sign_id)
    lab.plug("b", up=False)
    pulled = time.monotonic()
    assert a.until("gone", peer=b.sign_id)["at"] - pulled < 15.0
    lab.plug("b", up=True)
    a.until("found", timeout=60.0, peer=b.sign_id)


def test_a_peer_that_stops_says_goodbye(lab: Lab) -> None:
    a, b = Told(lab, "a"), Told(lab, "b")
    a.until("found", peer=b.sign_id)
    stopped = time.monotonic()
    b.process.send_signal(signal.SIGINT)
    assert a.until("gone", peer=b.sign_id)["at"] - stopped < 4.0


def test_over_ipv6_alone(lab: Lab) -> None:
    for host in lab.hosts:
        lab.run(host, "ip", "addr", "flush", "dev", "eth0", "scope", "global")
        lab.run(host, "ip", "addr", "add", f"fd77::{lab.hosts.index(host) + 1}/64", "dev", "eth0", "nodad")
    a = Told(lab, "a", "--listen", "tcp://[::]:0")
    b = Told(lab, "b", "--listen", "tcp://[::]:0", "--to", "found")
    a.until("heard", sender=b.sign_id)


def test_over_a_link_without_any_address_but_its_own(lab: Lab) -> None:
    """Two laptops and a cable: each has fe80::..., which means something on this link only."""
    for host in lab.hosts:
        lab.run(host, "ip", "addr", "flush", "dev", "eth0", "scope", "global")
        lab.run(host, "ip", "link", "set", "eth0", "down")
        lab.run(host, "ip", "link", "set", "eth0", "up")
        wait_until(lambda host=host: "fe80" in lab.run(host, "ip", "-6", "addr", "show", "dev", "eth0", "-tentative"))  # type: ignore[misc]
    a = Told(lab, "a", "--listen", "default", "--when-told")
    b = Told(lab, "b", "--listen", "default", "--to", "found")
    assert a.until("heard", sender=b.sign_id)
    assert b.until("delivered", to=a.sign_id)
    assert not [address for address in (*a.listening, *b.listening) if "fe80" in address]


def test_who_comes_to_a_network_later_is_found_there(lab: Lab) -> None:
    """b starts without a network; its address comes when it runs already."""
    lab.run("b", "ip", "addr", "flush", "dev", "eth0")
    a, b = Told(lab, "a"), Told(lab, "b")
    lab.run("b", "ip", "addr", "add", "10.77.0.2/24", "dev", "eth0")
    a.until("found", timeout=30.0, peer=b.sign_id)
    b.until("found", timeout=30.0, peer=a.sign_id)


@AVAHI
def test_avahi_lists_us(lab: Lab) -> None:
    a, b = Told(lab, "a"), Told(lab, "b")
    a.until("found", peer=b.sign_id)
    found = lab.avahi("a").browse("_mm._tcp")
    listed = {field[7] for field in found}
    text = " ".join(field[-1] for field in found)
    assert listed >= {lab.address("a"), lab.address("b")}
    assert a.sign_id in text
    assert b.sign_id in text


@AVAHI
def test_we_survive_what_avahi_shows_us(lab: Lab) -> None:
    avahi = lab.avahi("b")
    a = Told(lab, "a")
    for number, strings in enumerate([(), ("v=2",), ("v=1", "id=x"), ("v=1", f"id={a.sign_id}", "r0=????")]):
        avahi.publish(f"stranger {number} \\. ü", "_mm._tcp", 9, *strings)
    b = Told(lab, "b", "--to", "found")
    a.until("heard", sender=b.sign_id)
