"""Where users of a relay make it go: to other relays of the internet, and into its own network only if it is there."""

import socket
from pathlib import Path
from typing import Any

import pytest

from mm_relay.config.settings import Config, load
from mm_relay.core import policy_of
from mm_relay.policy import Policy
from mm_transports.relay.protocol.address import format_relay
from tests.support.world import identity

KEY, OTHER = identity(1).sign_id, identity(2).sign_id


def at(url: str, key: Any = KEY) -> str:
    return format_relay(url, key)


def policy(own: str, **config: Any) -> Policy:
    return policy_of(Config(**config), at(own, identity(9).sign_id))


PUBLIC = "wss://relay.example.org/"


@pytest.mark.parametrize(
    "url",
    [
        "wss://127.0.0.1:8443/", "wss://127.1:8443/", "wss://0x7f.1:8443/", "wss://0177.0.0.1:8443/", "wss://0.0:8443/",
        "wss://2130706433:8443/", "wss://127.0.0.1.:8443/", "wss://localhost:8443/", "wss://localhost.:8443/",
        "wss://sub.localhost.:8443/", "wss://router.lan/", "wss://db.corp/", "wss://metadata.google.internal/",
        "wss://metadata.google.internal./", "wss://169.254.169.254/", "wss://10.0.0.1/", "wss://[::1]/",
        "wss://[::ffff:127.0.0.1]/", "wss://[2002:7f00:1::1]/", "wss://[2001:0:a00:1::1]/", "wss://[64:ff9b::7f00:1]/",
        "wss://[64:ff9b:1::a00:1]/", "wss://[fec0::1]/", "wss://[2001:db8::1]/", "wss://168.63.129.16/",
        "wss://100.100.100.200/", "wss://8.8.8.8:25/", "wss://8.8.8.8/admin/reboot/", "wss://good.example.org/a/path/",
        "ws://8.8.8.8:8080/", "ws://good.example.org/", "wss://relay/", "wss://8.8.8/",
    ],
)  # fmt: skip
def test_nobody_makes_a_public_relay_go_there(url: str) -> None:
    assert not policy(PUBLIC).reaches(at(url))


@pytest.mark.parametrize("url", ["wss://good.example.org/", "wss://8.8.8.8:8443/", "wss://[2606:4700::1]/"])
def test_relays_of_the_internet_are_gone_to(url: str) -> None:
    assert policy(PUBLIC).reaches(at(url))


def test_the_operator_lists_addresses_and_not_whatever_ends_with_that_key(tmp_path: Path) -> None:
    listed = at("ws://10.0.0.5:8080/inner/")
    file = tmp_path / "relay.toml"
    file.write_text(f'federate-allow = ["{listed}", "{OTHER}"]\n')
    found = policy_of(load({}, file), at(PUBLIC, identity(9).sign_id))
    assert found.reaches(listed)
    assert not found.reaches(at("ws://10.0.0.6:8080/inner/"))
    assert not found.reaches(at("wss://10.0.0.5:8080/", OTHER))
    assert found.reaches(at("wss://good.example.org/"))


def test_a_relay_on_loopback_goes_to_loopback_and_one_at_home_to_its_network() -> None:
    alone, home = policy("ws://127.0.0.1:8080/"), policy("ws://10.0.0.5:8080/")
    assert alone.reaches(at("ws://127.0.0.1:8081/"))
    assert not alone.reaches(at("ws://127.0.0.1:80/"))
    assert not alone.reaches(at("ws://127.0.0.1:8081/a/path/"))
    assert not alone.reaches(at("ws://10.0.0.6:8080/"))
    assert not home.reaches(at("ws://127.0.0.1:8081/"))
    assert not home.reaches(at("ws://169.254.169.254:8081/"))


def test_one_without_tls_on_the_internet_goes_to_no_network_here() -> None:
    plain = policy("ws://8.8.4.4:8080/")
    assert plain.reaches(at("ws://8.8.8.8:8080/"))
    assert not plain.reaches(at("ws://10.0.0.6:8080/"))
    assert not plain.reaches(at("ws://127.0.0.1:8080/"))


@pytest.fixture
def unresolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: asked.append(host))
    return asked


def test_nothing_is_looked_up_to_decide(unresolved: list[str]) -> None:
    assert policy(PUBLIC).reaches(at("wss://good.example.org/"))
    assert unresolved == []
