"""NAT-PMP: the bytes of RFC 6886, and what else a router, or who sits in its place, may say."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.port_map.protocol.natpmp import ask, read_address, read_given_back, read_granted
from mmplatform.errors import ProtocolError


def test_the_bytes_of_the_rfc() -> None:
    assert ask(7000, 7001, 3600).hex() == "000200001b581b5900000e10"
    assert str(read_address(bytes.fromhex("00800000000141670b4d0001"))) == "11.77.0.1"
    assert read_granted(bytes.fromhex("00820000000141671b581b590000003c"), 7000) == (7000, 7001, 60)
    read_given_back(bytes.fromhex("00820000000141671b58000000000000"), 7000)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "does not speak"),
        (b"hello", "does not speak"),
        (bytes.fromhex("00820002000000000000000000000000"), "declined: not allowed there"),
        (bytes.fromhex("00820063000000000000000000000000"), "declined: result 99"),
        (bytes.fromhex("0082000000000000"), "too short"),
        (bytes.fromhex("00820000000141671b591b590000003c"), "another port"),
        (bytes.fromhex("00820000000141671b5803ff0000003c"), "something else"),
        (bytes.fromhex("00820000000141671b581b5900000000"), "something else"),
    ],
)
def test_what_is_no_grant(answer: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read_granted(answer, 7000)


@given(st.binary(max_size=40))
def test_nothing_else_escapes(answer: bytes) -> None:
    for read in (read_granted, read_given_back):
        with suppress(ProtocolError):
            read(answer, 7000)
    with suppress(ProtocolError):
        read_address(answer)
