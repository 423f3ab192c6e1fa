"""An answer to requests for WebSockets that needs no relay behind it."""

from collections.abc import Callable, Sequence

from mm_relay.doors.upgrade import Accepted, Answer, UpgradeRefused, UpgradeRequest
from mm_transports.relay.protocol.items import VERSION
from mm_transports.relay.websocket import WebSocket, WebSocketOwner


def answering(
    owner_of: Callable[[WebSocket], WebSocketOwner],
    subprotocols: Sequence[str] = (VERSION,),
    admit: Callable[[str], str] = lambda ip: "",
    *,
    text: bool = False,
) -> Answer:
    """Take whoever offers one of ``subprotocols``; the first of ours is spoken."""

    def answer(request: UpgradeRequest) -> Accepted:
        if refusal := admit(request.ip):
            raise UpgradeRefused(503, refusal)
        for ours in subprotocols:
            if ours in request.subprotocols:
                return Accepted(owner_of, ours, text)
        raise UpgradeRefused(
            400, f"this relay speaks {', '.join(subprotocols)}; offered: {', '.join(request.subprotocols)}"
        )

    return answer
