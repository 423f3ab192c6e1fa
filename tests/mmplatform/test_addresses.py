"""The rule for addresses: every spelling and kind that must not be gone to, and what still may."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmplatform.addresses import (
    ANYWHERE,
    LOOPBACK,
    LOWEST_PORT,
    PRIVATE,
    TLS_PORT,
    Reach,
    has_zone,
    is_global,
    is_public_name,
    neighbourhood,
    parsed,
)
from mmplatform.directory.heard import VALID
from tests.support.hosts import here

HERE = here("127.0.0.1/8", "::1/128", "10.1.0.2/24", "9.9.9.9/24", "fd00::2/64", "100.100.100.1/24", "fd00:ec2::1/64")
STRANGER = Reach(here=lambda: HERE)
NEIGHBOUR = Reach(heard_on=(*PRIVATE, ip_network("192.0.2.0/24")), here=lambda: HERE)

FORBIDDEN = (
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "2130706433", "017700000001", "127.0.0.1.",
    "0", "0.0.0.0", "0.0", "::1", "::", "[::1]", "0:0:0:0:0:0:0:1", "localhost", "localhost.", "localhost.localdomain",
    "ip6-localhost", "2002:7f00:1::", "2002:a00:1::1", "2001:0:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "64:ff9b::7f00:1", "64:ff9b::127.0.0.1", "64:ff9b:1::a00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00::3", "fd00:ec2::254", "fd20:ce::254",
    "ff02::1", "ff0e::1", "169.254.169.254", "169.254.1.1", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1", "198.51.100.1",
    "203.0.113.1", "192.88.99.1", "2001:db8::1", "2001:2::1", "2001:10::1", "2001:20::1", "3fff::1", "100::1",
    "5f00::1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "metadata", "metadata.google.internal",
    "metadata.google.internal.", "metadata.goog", "instance-data.ec2.internal", "router", "router.lan", "nas.local",
    "db.corp", "intranet.home.arpa", "1.2.3", "8.8.8.8.", "8.8.8", "0x8.8.8.8", "08.8.8.8", "8.8.8.8x", "a.0x7f",
    "1.1.1.1.1", "a..b", ".example.org", "-a.example.org", "a_b.example.org.", "exa mple.org", "éxample.org", "",
    "127。0。0。1", "9.9.9.9",
)  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_where_no_stranger_makes_us_go(host: str) -> None:
    assert not (STRANGER.names(host) and (parsed(host) is None or STRANGER.admits(host, 4000)))


@pytest.mark.parametrize(
    "host",
    ["fe80::1%eth0", "FE80::1%eth0", "fe90::1%eth0", "FeB0::1%3", "fe80:0::1%eth0", "fe80::1%25eth0", "ff02::1%eth0"],
)
def test_a_zone_is_seen_in_every_spelling(host: str) -> None:
    assert has_zone(f"tcp://[{host}]:7000")
    assert has_zone(f"tcp://user@[{host}]:7000")
    assert has_zone(f"relay+ws://[{host}]:7000/key")


@pytest.mark.parametrize(
    "address", ["tcp://[fe80::1]:1", "tcp://10.0.0.1:1", "relay+wss://example.org/a%2Fb", "tcp://[x%y]:1", "%", ""]
)
def test_what_names_no_host_has_no_zone(address: str) -> None:
    assert not has_zone(address)


def test_a_link_local_address_is_gone_to_with_its_zone_by_who_heard_of_the_peer_on_such_a_link() -> None:
    beside = here("fe80::2/64", "10.1.0.2/24")
    heard = Reach(heard_on=(ip_network("fe80::/64"),), here=lambda: beside)
    elsewhere = Reach(heard_on=(ip_network("10.1.0.0/24"),), here=lambda: beside)
    assert heard.names("fe80::1%eth0")
    assert heard.admits("fe80::1%eth0", 7000)
    assert heard.admits("fe80::1%3", 7000)
    assert not heard.admits("fe80::1%eth0", 80)
    for host in (
        "fe80::1",
        "fe80::1%",
        "fe80:0::1%eth0",
        "fe80::1%eth0%1",
        "fe80::1%a/b",
        "fe80::2%eth0",
        "10.1.0.7%3",
    ):
        assert not heard.admits(host, 7000), host
    assert not elsewhere.names("fe80::1%eth0")
    assert not elsewhere.admits("fe80::1%eth0", 7000)


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1", "2a00:1450::1", "100.63.255.255"])
def test_hosts_of_the_internet_are_gone_to(host: str) -> None:
    assert STRANGER.names(host)
    assert STRANGER.admits(host, 1024)
    assert is_global(ip_address(host))


@pytest.mark.parametrize("host", ["relay.example.org", "a.b-c.co.uk", "xn--mnchen-3ya.de", "_x.example.com"])
def test_public_names_are_looked_up(host: str) -> None:
    assert STRANGER.names(host)
    assert is_public_name(host)


def test_ports_below_1024_are_not_dialled_but_443_with_tls() -> None:
    ports = (0, 1, 22, 80, 443, 1023, 1024, 65535, 65536)
    assert [port for port in ports if STRANGER.admits("8.8.8.8", port)] == [1024, 65535]
    assert [port for port in ports if STRANGER.admits("8.8.8.8", port, tls=True)] == [443, 1024, 65535]


def test_who_is_known_may_be_anywhere() -> None:
    assert all(ANYWHERE.names(host) and ANYWHERE.admits(host, 1) for host in FORBIDDEN)


def test_a_neighbour_is_dialled_where_it_was_heard_of_and_nowhere_else() -> None:
    assert NEIGHBOUR.admits("10.1.0.7", 4000)
    assert NEIGHBOUR.admits("fd00::7", 4000)
    assert not NEIGHBOUR.admits("10.1.0.7", 1023)
    assert not NEIGHBOUR.admits("10.1.0.2", 4000)
    assert NEIGHBOUR._replace(beside=True).admits("10.1.0.2", 4000), "two nodes of one host find each other"
    for host in ("10.1.0.0", "10.1.0.255", "10.1.1.7", "192.168.1.1", "127.0.0.1", "192.0.2.7"):
        assert not NEIGHBOUR.admits(host, 4000), host
    for host in ("100.100.100.200", "fd00:ec2::254"):  # of a network here, and heard of: metadata all the same
        assert not NEIGHBOUR.admits(host, 4000), host
    assert not Reach(heard_on=(ip_network("10.2.0.0/16"),), here=lambda: HERE).admits("10.1.0.7", 4000)
    assert not NEIGHBOUR.public().admits("10.1.0.7", 4000)
    assert ANYWHERE.public() is ANYWHERE


def test_loopback_counts_where_nothing_else_is_heard() -> None:
    alone = Reach(heard_on=LOOPBACK, here=lambda: HERE)
    assert alone.admits("127.0.0.1", 4000)
    assert alone.admits("::1", 4000)
    assert not alone.admits("127.0.0.1", 80)
    assert not alone.admits("10.1.0.7", 4000)


def test_where_a_link_comes_from() -> None:
    assert neighbourhood("10.1.0.7", HERE) == (ip_network("10.1.0.7/32"),)
    assert neighbourhood("fd00::7", HERE) == (ip_network("fd00::7/128"),)
    assert neighbourhood("::ffff:10.1.0.7", HERE) == (ip_network("10.1.0.7/32"),)
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.0.2", "9.9.9.9", "dialler", ""):
        assert neighbourhood(host, HERE) == (), host


def test_security_rst_says_the_rule() -> None:
    """The promise, with its numbers; test_platform_addresses.py, test_policy.py and test_service.py hold each part."""
    page = " ".join((Path(__file__).parents[2] / "SECURITY.rst").read_text().split())
    rule = page[page.index("*Where strangers make you go.*") :]
    assert "only at global unicast addresses, or in a network that this host is attached to and where that peer" in rule
    assert f"to ports from {LOWEST_PORT} on" in rule
    assert f"(port {TLS_PORT}, or from {LOWEST_PORT} on)" in rule
    assert VALID == 3600, "heard of within the hour"
    assert "the connection is made to that very one" in rule


def spellings(address: IPv4Address) -> list[str]:
    """What the resolver of a system takes for ``address``, beside its one spelling."""
    a, b, c, d = address.packed
    number = int(address)
    forms = [
        str(number), hex(number), f"0{number:o}", f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#x}.{b}.0{c:o}.{d}", f"{a:03}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d:#x}",
    ]  # fmt: skip
    return [form for form in forms if form != str(address)]


@given(st.ip_addresses(v=4))
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("8.8.8.8"))
def test_no_other_spelling_of_an_address_passes(address: IPv4Address) -> None:
    for form in spellings(address):
        assert not STRANGER.names(form), form


@given(st.ip_addresses(v=4))
def test_no_ipv6_address_stands_for_one_of_ipv4(address: IPv4Address) -> None:
    number = int(address)
    inside = (
        IPv6Address(0xFFFF << 32 | number), IPv6Address(number), IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x64FF9B0001 << 80 | number), IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x20010000 << 96 | number << 64), IPv6Address(0x20010000 << 96 | (number ^ 0xFFFFFFFF)),
    )  # fmt: skip
    assert not any(is_global(found) or STRANGER.admits(str(found), 4000) for found in inside)


@given(st.ip_addresses())
def test_what_passes_is_global_by_the_reckoning_of_python_as_well(address: IPv4Address | IPv6Address) -> None:
    if is_global(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_link_local


@given(st.text("0123456789abcdefx.:%-]", max_size=24))
def test_whatever_is_written_there_passes_in_its_one_spelling_or_not_at_all(host: str) -> None:
    if STRANGER.names(host) and STRANGER.admits(host, 4000):
        assert str(ip_address(host)) == host
