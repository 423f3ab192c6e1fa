"""Addresses of relays: one form, and no key that is none."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.relay.protocol.address import SCHEMES, format_relay, parse_relay
from mmplatform.identity.keys import Identity, raw_key
from mmplatform.identity.nodeinfo import is_address

RELAY = Identity.from_seed(b"\x05" * 32)
KEY = base64.urlsafe_b64encode(RELAY.sign_key).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"relay+wss://relay.example/{KEY}", "wss://relay.example/"),
        (f"relay+wss://relay.example:8443/{KEY}", "wss://relay.example:8443/"),
        (f"relay+wss://relay.example/some/path/{KEY}", "wss://relay.example/some/path/"),
        (f"relay+ws://127.0.0.1:4080/{KEY}", "ws://127.0.0.1:4080/"),
        (f"relay+wss://[2001:db8::1]:443/{KEY}", "wss://[2001:db8::1]:443/"),
        (f"relay+ws://[::1]/{KEY}", "ws://[::1]/"),
    ],
)
def test_good_ones(text: str, url: str) -> None:
    address = parse_relay(text)
    assert address == (text, url, RELAY.sign_id)
    assert format_relay(url, RELAY.sign_id) == text
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        f"relay+wss://Relay.Example/{KEY}",
        f"relay+wss://relay.example:/{KEY}",
        f"relay+wss://relay.example//{KEY}",
        f"RELAY+wss://relay.example/{KEY}".lower().replace(KEY.lower(), KEY),
    ],
)
def test_one_address_has_one_form(text: str) -> None:
    assert parse_relay(text).text == f"relay+wss://relay.example/{KEY}"


LOW_ORDER = base64.urlsafe_b64encode(b"\1" + bytes(31)).decode().rstrip("=")
OTHER_BITS = KEY[:-1] + chr(ord(KEY[-1]) + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay+wss:",
        "relay+wss://",
        f"relay+wss:///{KEY}",
        f"relay+wss://:443/{KEY}",
        f"wss://relay.example/{KEY}",
        f"relay+http://relay.example/{KEY}",
        "relay+wss://relay.example",
        "relay+wss://relay.example/",
        f"relay+wss://relay.example/{KEY}/",
        f"relay+wss://relay.example/{KEY[:-1]}",
        f"relay+wss://relay.example/{KEY}A",
        f"relay+wss://relay.example/{KEY}=",
        f"relay+wss://relay.example/{KEY[:-1]}!",
        f"relay+wss://relay.example/!{KEY}",
        f"relay+wss://relay.example/{OTHER_BITS}",
        f"relay+wss://relay.example/{LOW_ORDER}",
        f"relay+wss://relay.example/{'A' * 43}",
        f"relay+wss://relay.example/{KEY}?x=1",
        f"relay+wss://relay.example/{KEY}?",
        f"relay+wss://relay.example/{KEY}#x",
        f"relay+wss://user@relay.example/{KEY}",
        f"relay+wss://:secret@relay.example/{KEY}",
        f"relay+wss://relay.example:99999/{KEY}",
        f"relay+wss://relay.example:port/{KEY}",
        f"relay+wss://[::1/{KEY}",
        f"relay+wss://relay\n.example/{KEY}",
        f" relay+wss://relay.example/{KEY}",
        f"relay+wss://relay.example/ {KEY}",
        f"relay+wss://r\u00e9lay.example/{KEY}",
        f"relay+wss://{'h' * 256}/{KEY}",
    ],
)
def test_bad_ones(text: str) -> None:
    with pytest.raises(ValueError, match=r"relay|address|key|port|URL|IPv6|Port"):
        parse_relay(text)


def test_the_other_base64_is_refused() -> None:
    for number in range(200):
        raw = Identity.from_seed(number.to_bytes(32)).sign_key
        standard = base64.b64encode(raw).decode().rstrip("=")
        if "+" in standard or "/" in standard:
            with pytest.raises(ValueError, match="relay"):
                parse_relay(f"relay+wss://relay.example/{standard}")


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    for candidate in (text, f"relay+wss://{text}/{KEY}", f"relay+ws://h/{text}", f"relay+wss://h{text}/{KEY}"):
        try:
            address = parse_relay(candidate)
        except ValueError:
            continue
        assert parse_relay(address.text) == address
        assert address.text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))
        assert address.url.startswith(("ws://", "wss://"))
        assert address.url.endswith("/")


@given(st.binary(min_size=32, max_size=32))
def test_any_key(seed: bytes) -> None:
    identity = Identity.from_seed(seed)
    address = parse_relay(format_relay("wss://relay.example/", identity.sign_id))
    assert raw_key(address.key) == identity.sign_key
