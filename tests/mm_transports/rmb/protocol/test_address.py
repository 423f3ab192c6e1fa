"""Addresses of twins: a number in its one form, and a session of any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.address import MAX_SESSION, MAX_TWIN, TwinAddress, is_session, parse_twin
from mmplatform.errors import ProtocolError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1", TwinAddress(1)),
        ("30:js-a", TwinAddress(30, "js-a")),
        ("30:a:b", TwinAddress(30, "a:b")),
        (f"{MAX_TWIN}", TwinAddress(MAX_TWIN)),
        (f"7:{'s' * MAX_SESSION}", TwinAddress(7, "s" * MAX_SESSION)),
        ("7:é", TwinAddress(7, "é")),
    ],
)
def test_good_ones(text: str, address: TwinAddress) -> None:
    assert parse_twin(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "07", "-1", "+1", "1.0", " 1", "1 ", "1\n", "x", ":", ":s", "1:", "٣", "²", f"{MAX_TWIN + 1}",
        "1" * 5000, f"1:{'s' * (MAX_SESSION + 1)}", f"1:{'é' * 128}", "1:\ud800",
    ],
)  # fmt: skip
def test_bad_ones(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_twin(text)
    assert caught.value.reason == "bad-address"


@given(st.integers(1, MAX_TWIN), st.none() | st.text(min_size=1, max_size=60))
def test_round_trip(twin: int, session: str | None) -> None:
    address = TwinAddress(twin, session)
    assert parse_twin(str(address)) == address


def test_no_session_and_an_empty_one_are_one() -> None:
    assert TwinAddress(7).same(TwinAddress(7, ""))
    assert not TwinAddress(7).same(TwinAddress(7, "s"))
    assert not TwinAddress(7, "s").same(TwinAddress(8, "s"))
    assert str(TwinAddress(7, "")) == "7"


def test_what_a_session_may_be_called() -> None:
    assert is_session("")
    assert is_session("s" * MAX_SESSION)
    assert not is_session("s" * (MAX_SESSION + 1))
    assert not is_session("\udfff")
