"""Addresses: what they are, and whom they may be told to."""

import pytest

from mm_services.kademlia.protocol.address import (
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    Address,
    is_usable,
    may_tell,
    network_of,
    of_text,
    parse_uri,
    payer_of,
    scope_of,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("127.0.0.1", LOOPBACK), ("::1", LOOPBACK), ("10.1.2.3", PRIVATE), ("172.31.255.255", PRIVATE),
        ("fd00::1", PRIVATE), ("192.168.0.1", PRIVATE), ("169.254.1.1", None), ("100.64.0.1", PRIVATE),
        ("8.8.8.8", PUBLIC), ("172.32.0.1", PUBLIC), ("2001:db8::1", None),
        ("2606:4700::1", PUBLIC), ("0.0.0.0", None), ("224.0.0.1", None),
        ("255.255.255.255", None), ("::", None), ("ff02::1", None), ("fe80::1", None),
    ],
)  # fmt: skip
def test_scope(text: str, scope: int | None) -> None:
    assert scope_of(of_text(text, 1).host) == scope


def test_text_forms() -> None:
    assert str(Address(b"\x01\x02\x03\x04", 5)) == "kad://1.2.3.4:5"
    assert str(of_text("2001:db8::1", 5)) == "kad://[2001:db8::1]:5"
    assert parse_uri("kad://[2001:db8::1]:5") == ("2001:db8::1", 5)
    assert of_text("::ffff:1.2.3.4", 5) == Address(b"\x01\x02\x03\x04", 5)
    assert of_text("fe80::1%eth0", 5).port == 5
    for bad in ("kad://1.2.3.4", "tcp://1.2.3.4:5", "kad://:5", "kad://a:70000", "kad", ""):
        with pytest.raises(ValueError, match=r"."):
            parse_uri(bad)


def test_private_addresses_are_told_to_private_ones_only() -> None:
    public, private, loop = (of_text(text, 1).host for text in ("8.8.8.8", "10.0.0.1", "127.0.0.1"))
    assert may_tell(public, public)
    assert may_tell(private, private)
    assert may_tell(public, loop)
    assert not may_tell(private, public)
    assert not may_tell(loop, private)
    assert not may_tell(bytes(4), loop)


def test_networks_and_payers() -> None:
    assert network_of(b"\x08\x08\x08\x08") == network_of(b"\x08\x08\x08\x09") != network_of(b"\x08\x08\x09\x08")
    assert network_of(b"\x0a\x08\x08\x08") is None
    one, other = of_text("2001:db8::1", 1), of_text("2001:db8::2", 2)
    assert payer_of(one) == payer_of(other)
    assert network_of(one.host) == network_of(of_text("2001:db8:0:ffff::", 1).host)
    assert payer_of(of_text("127.0.0.1", 1)) != payer_of(of_text("127.0.0.1", 2))
    assert not is_usable(Address(b"\x08\x08\x08\x08", 0))
    assert not is_usable(Address(b"\x08" * 5, 1))
