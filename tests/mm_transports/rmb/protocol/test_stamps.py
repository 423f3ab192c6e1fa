"""When an envelope is good: stamps and times to live."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.stamps import CLOCK_SKEW, MAX_TTL, deadline, stamp
from mmplatform.errors import ProtocolError
from tests.support.rmb_values import NOW, NUMBERS, request
from tests.support.vectors import VECTORS, cases


@pytest.mark.parametrize("case", cases("rmb", "stamps"))
def test_stamps_as_specified(case: dict[str, Any]) -> None:
    envelope = request(timestamp=case["timestamp"], expiration=case["expiration"])
    stamp(envelope, NOW)
    assert (envelope.timestamp, envelope.expiration) == (NOW, case["left"])


@pytest.mark.parametrize("case", cases("rmb", "deadlines"))
def test_deadlines_as_specified(case: dict[str, Any]) -> None:
    envelope = request(timestamp=case["timestamp"], expiration=case["expiration"])
    if "reason" not in case:
        assert deadline(envelope, NOW) == case["deadline"]
        return
    with pytest.raises(ProtocolError) as caught:
        deadline(envelope, NOW)
    assert caught.value.reason == case["reason"]


@given(NUMBERS, NUMBERS, st.integers(1, 2**40), st.integers(1, 10**6))
def test_a_deadline_is_ahead_and_within_bounds(timestamp: int, expiration: int, now: int, most: int) -> None:
    envelope = request(timestamp=timestamp, expiration=expiration)
    with suppress(ProtocolError):  # anything else is a bug
        assert now < deadline(envelope, now, most) <= now + most


@given(NUMBERS, NUMBERS, st.integers(1, 2**40))
def test_a_stamp_never_lengthens_a_life(timestamp: int, expiration: int, now: int) -> None:
    envelope = request(timestamp=timestamp, expiration=expiration)
    stamp(envelope, now)
    assert envelope.timestamp == now
    assert envelope.expiration <= expiration
    before = (envelope.timestamp, envelope.expiration)
    stamp(envelope, now)
    assert (envelope.timestamp, envelope.expiration) == before


def test_the_specification_has_the_bounds() -> None:
    spec = (VECTORS.parent / "rmb.rst").read_text()
    assert f"{MAX_TTL} s" in spec
    assert f"{CLOCK_SKEW} s" in spec
