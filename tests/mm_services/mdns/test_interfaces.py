"""Which interfaces to announce on, and who is near."""

import socket
from collections.abc import Iterator

import ifaddr
import pytest

from mm_services.mdns import interfaces
from mmplatform.interfaces import _look


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host with loopback, a cable with both families, and a bridge."""
    adapters = [
        ifaddr.Adapter("lo", "lo", [ifaddr.IP("127.0.0.1", 8, "lo"), ifaddr.IP(("::1", 0, 0), 128, "lo")], 1),
        ifaddr.Adapter(
            "eth0",
            "eth0",
            [
                ifaddr.IP("192.0.2.7", 24, "eth0"),
                ifaddr.IP(("2001:db8::7", 0, 0), 64, "eth0"),
                ifaddr.IP(("fe80::7", 0, 2), 64, "eth0"),
            ],
            2,
        ),
        ifaddr.Adapter("br0", "br0", [ifaddr.IP("10.9.0.1", 16, "br0")], 3),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    _look.cache_clear()
    yield
    _look.cache_clear()


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["192.0.2.7"], ["192.0.2.7", 2]),
        (["2001:db8::7"], ["192.0.2.7", 2]),
        (["fe80::7%2"], ["192.0.2.7", 2]),
        (["192.0.2.7", "10.9.0.1"], ["192.0.2.7", 2, "10.9.0.1"]),
        (["127.0.0.1"], ["127.0.0.1"]),
        (["203.0.113.1"], []),
        ([], []),
    ],
)
@pytest.mark.usefixtures("host")
def test_announced_is_where_the_addresses_are(hosts: list[str], expected: list[str | int]) -> None:
    assert interfaces.multicast_on(hosts) == expected


@pytest.mark.usefixtures("host")
def test_near_is_who_shares_a_network_with_us() -> None:
    near = ["192.0.2.200", "10.9.200.1", "2001:db8::1", "fe80::1", "127.0.0.1"]
    far = ["203.0.113.1", "10.10.0.1", "2001:db8:1::1", "example.com", ""]
    assert interfaces.on_link([*near, *far]) == near


@pytest.mark.usefixtures("host")
def test_what_is_heard_comes_from_the_networks_of_our_addresses() -> None:
    assert interfaces.networks_with(["192.0.2.7"]) == ["192.0.2.0/24", "2001:db8::/64", "fe80::/64"]
    assert interfaces.networks_with(["127.0.0.1"]) == ["127.0.0.0/8", "::1/128"]
    assert interfaces.networks_with(["203.0.113.1"]) == []


def test_an_interface_without_multicast_does_not_hear_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interfaces.hears_itself("203.0.113.1") is False
    monkeypatch.setattr(interfaces, "PATIENCE", 0.001)
    monkeypatch.setattr(socket.socket, "sendto", lambda *arguments: 0)
    assert interfaces.hears_itself("127.0.0.1") is False
