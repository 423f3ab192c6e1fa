"""packets.py: sizes, the order of checks, and packing that survives a round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.session import packets
from mmplatform.session.packets import Cookie, Hello, Initiate, Introduction, Type
from tests.support.sessions import reason_of, refused

KEY, NONCE = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)


def test_sizes_of_the_specification() -> None:
    assert packets.SIZES == {
        Type.HELLO: (224, 224),
        Type.COOKIE: (208, 208),
        Type.INITIATE: (274, 74002),
        Type.READY: (26, 73754),
    }
    assert packets.COOKIE_SIZE == 152
    assert packets.SIZES[Type.HELLO][0] > packets.SIZES[Type.COOKIE][1]
    assert packets.SIZES[Type.INITIATE][1] < packets.MAX_FRAME


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "too-short"),
        (b"m", "too-short"),
        (b"x", "too-short"),
        (b"mm", "too-short"),
        (b"mm\x01", "too-short"),
        (b"mx", "wrong-magic"),
        (b"GET / HTTP/1.1", "wrong-magic"),
        (b"mm\x02", "wrong-version"),
        (b"mm\x00", "wrong-version"),
        (b"mm\x02\x63 a frame of the future", "wrong-version"),
        (b"mm\x01\x00", "wrong-type"),
        (b"mm\x01\x05", "wrong-type"),
        (b"mm\x01\xff" + bytes(300), "wrong-type"),
    ],
)
def test_the_header_is_checked_in_order(frame: bytes, reason: str) -> None:
    refused(reason, lambda: packets.kind_of(frame))


@pytest.mark.parametrize("kind", Type)
def test_header_round_trip(kind: Type) -> None:
    assert packets.kind_of(packets.header(kind)) is kind


@pytest.mark.parametrize("kind", Type)
def test_size_bounds(kind: Type) -> None:
    shortest, longest = packets.SIZES[kind]
    packets.check_size(bytes(shortest), kind)
    packets.check_size(bytes(longest), kind)
    refused("too-short", lambda: packets.check_size(bytes(shortest - 1), kind))
    refused("too-long", lambda: packets.check_size(bytes(longest + 1), kind))


@given(KEY, NONCE, st.binary(min_size=172, max_size=172), st.binary(min_size=188, max_size=188))
def test_hello_and_cookie_round_trip(key: bytes, nonce: bytes, hello_box: bytes, cookie_box: bytes) -> None:
    hello, cookie = Hello(key, nonce, hello_box), Cookie(nonce, cookie_box)
    assert packets.unpack_hello(packets.pack_hello(hello)) == hello
    assert packets.unpack_cookie(packets.pack_cookie(cookie)) == cookie
    packets.check_size(packets.pack_hello(hello), Type.HELLO)
    packets.check_size(packets.pack_cookie(cookie), Type.COOKIE)


@given(KEY, st.binary(min_size=152, max_size=152), st.binary())
def test_initiate_round_trip(key: bytes, cookie: bytes, box: bytes) -> None:
    initiate = Initiate(key, cookie, box)
    assert packets.unpack_initiate(packets.pack_initiate(initiate)) == initiate
    assert packets.unpack_ready(packets.pack_ready(box)) == box
    assert packets.unpack_cookie_content(packets.cookie_content(key, cookie), cookie[:16]) == (key, cookie)


@given(st.binary(max_size=300), st.binary(min_size=64, max_size=64), st.binary(max_size=300))
def test_introduction_round_trip(record: bytes, signature: bytes, resume: bytes) -> None:
    for kind, signed in ((Type.INITIATE, signature), (Type.READY, b"")):
        introduction = Introduction(record, signed, resume)
        assert packets.unpack_introduction(kind, packets.pack_introduction(kind, introduction)) == introduction


@given(st.binary(max_size=200))
def test_any_content_unpacks_or_has_a_reason(content: bytes) -> None:
    for kind in (Type.INITIATE, Type.READY):
        reason = reason_of(lambda: packets.unpack_introduction(kind, packets.header(kind) + content))  # noqa: B023
        assert reason in {"", "bad-content", "too-long"}


@pytest.mark.parametrize("kind", [Type.INITIATE, Type.READY])
def test_introduction_limits(kind: Type) -> None:
    signature = bytes(64 if kind is Type.INITIATE else 0)
    largest = Introduction(bytes(packets.MAX_RECORD), signature, bytes(packets.MAX_RESUME))
    content = packets.pack_introduction(kind, largest)
    assert packets.unpack_introduction(kind, content) == largest
    refused("too-long", lambda: packets.unpack_introduction(kind, content + b"\0"))
    refused("too-long", lambda: packets.pack_introduction(kind, largest._replace(record=bytes(8193))))
    refused("too-long", lambda: packets.pack_introduction(kind, largest._replace(resume=bytes(65537))))
    long_record = packets.header(kind) + (8193).to_bytes(2, "big") + bytes(8193) + signature
    refused("too-long", lambda: packets.unpack_introduction(kind, long_record))
    refused("bad-content", lambda: packets.unpack_introduction(kind, long_record[:-1]))


def test_a_box_repeats_its_header() -> None:
    content = packets.pack_introduction(Type.READY, Introduction(b"", b"", bytes(64)))
    refused("bad-content", lambda: packets.unpack_introduction(Type.INITIATE, content))
    refused("bad-content", lambda: packets.unpack_cookie_content(content, bytes(16)))
    refused("bad-content", lambda: packets.unpack_introduction(Type.READY, content[:3]))
