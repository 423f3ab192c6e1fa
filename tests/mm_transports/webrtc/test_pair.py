"""A check that is lost is repeated soon; a question that is asked once waits as long as the library has it."""

import asyncio

import pytest

pytest.importorskip("aiortc")

from aioice import ice, stun, turn

from mm_transports.webrtc.pair import REPEAT
from mmplatform import host_names


def delay(retransmissions: int | None) -> float:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    made = stun.Transaction(request, ("192.0.2.1", 3478), None, retransmissions=retransmissions)  # type: ignore[arg-type]
    return float(vars(made)["_Transaction__timeout_delay"])


async def test_only_what_may_be_repeated_is_repeated_sooner() -> None:
    assert delay(None) == REPEAT < stun.RETRY_RTO
    assert delay(0) == stun.RETRY_RTO


async def test_names_of_servers_are_looked_up_in_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the loop's few threads each would be taken for as long as a dead name is looked up."""
    asked: list[tuple[str, int]] = []

    async def look_up(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["2001:db8::1"]

    monkeypatch.setattr(host_names, "look_up", look_up)
    with pytest.raises(OSError, match="no IPv4 address"):
        await ice.server_reflexive_candidate(None, ("stun.example", 3478))  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r".*"):
        await turn.create_turn_endpoint(
            asyncio.DatagramProtocol, ("turn.example", 1), None, None, transport="tcp", ssl=None
        )
    assert asked == [("stun.example", 3478), ("turn.example", 1)]
