"""The request for a WebSocket, and the answers to it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from mm_transports.relay.websocket import WebSocket, WebSocketOwner


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What a client sent to ask for a WebSocket. Nothing of it is proven.

    Attributes:
        path: As it was sent, without the query; percent signs are not decoded.
        query: All behind the first question mark, as it was sent.
        headers: By names in lower case; one that came several times has its values joined by ", ".
        subprotocols: Those offered, the preferred one first.
        ip: Who connects, behind the proxies that are believed.

    """

    path: str
    query: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    ip: str


class Accepted(NamedTuple):
    """The answer that makes the request a WebSocket.

    Attributes:
        owner_of: Makes the owner of the connection when it is open.
        subprotocol: What both ends speak from now on, "" to agree on none.
        text: Messages of both directions are text frames; binary ones otherwise. The other kind ends the connection.

    """

    owner_of: Callable[[WebSocket], WebSocketOwner]
    subprotocol: str = ""
    text: bool = False


class UpgradeRefused(Exception):
    """Raised to answer the request with an HTTP ``status`` and a line of text; the connection ends.

    Raises ValueError for a status that HTTP does not have, or that refuses nothing.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = HTTPStatus(status)
        if status < HTTPStatus.MULTIPLE_CHOICES:
            raise ValueError(f"HTTP {status} refuses nothing")


Answer = Callable[[UpgradeRequest], Accepted | Awaitable[Accepted]]  # both raise UpgradeRefused
