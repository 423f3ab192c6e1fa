"""A check that is lost is repeated soon; a question that is asked once waits as long as the library has it."""

import pytest

pytest.importorskip("aiortc")

from aioice import stun

from mm_transports.webrtc.pair import REPEAT


def delay(retransmissions: int | None) -> float:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    made = stun.Transaction(request, ("192.0.2.1", 3478), None, retransmissions=retransmissions)  # type: ignore[arg-type]
    return float(vars(made)["_Transaction__timeout_delay"])


async def test_only_what_may_be_repeated_is_repeated_sooner() -> None:
    assert delay(None) == REPEAT < stun.RETRY_RTO
    assert delay(0) == stun.RETRY_RTO
