"""Payloads of RMB."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.rmb.payloads import decoded, encoded
from mmplatform.errors import InvalidPayload

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(values | st.binary())
def test_what_is_sent_is_read(value: Any) -> None:
    try:
        data, schema = encoded(value)
    except InvalidPayload:
        assert "\\ud" in ascii(value)  # half a pair of surrogates
    else:
        assert decoded(data, schema or "") == value


def test_by_the_schema() -> None:
    assert decoded(b"[1]", "application/json; charset=utf-8") == [1]
    assert decoded(b"[1]", "text/plain") == b"[1]"
    assert decoded(b"", "application/json") is None
    assert encoded(memoryview(b"x")) == (b"x", None)


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object(), "\ud800"])
def test_what_is_no_value(value: object) -> None:
    with pytest.raises(InvalidPayload):
        encoded(value)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decoded(data, "application/json")
