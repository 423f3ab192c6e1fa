"""Two platforms as their WebRTC transports see them, with a link between them that only carries signals."""

import asyncio
from collections.abc import Callable

import pytest
from aioice.ice import get_host_addresses

from mm_transports.testing import ConnectionEnd
from mm_transports.webrtc.protocol.signalling import Signal, decode_signal, encode_signal
from mm_transports.webrtc.transport import WebRTC
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.identity.keys import Identity, SignId
from mmplatform.plugins.transport import Connection


def addresses() -> list[str]:
    """Those that WebRTC would offer."""
    return get_host_addresses(use_ipv4=True, use_ipv6=True)


needs_addresses = pytest.mark.skipif(
    not addresses(),
    reason="WebRTC offers no loopback addresses, and this machine has no others (ip addr add 10.9.0.1/24 dev lo)",
)


class Node:
    """``passes`` says of a signal whether the other hears it; ``said`` has them all."""

    def __init__(self, who: Identity, transport: WebRTC | None = None) -> None:
        self.identity = who
        self.other: Node | None = None
        self.reaches = ANYWHERE
        self.said: list[Signal] = []
        self.passes: Callable[[Signal], bool] = lambda signal: True
        self.came: asyncio.Queue[ConnectionEnd] = asyncio.Queue()
        self.webrtc = transport or WebRTC()
        self.webrtc.attach(self)

    def reach(self, peer: SignId) -> Reach:
        return self.reaches

    def linked(self, peer: str) -> bool:
        return self.other is not None

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        if self.other is None or peer != self.other.identity.sign_id:
            return False
        assert scheme == "webrtc"
        signal = decode_signal(data)
        self.said.append(signal)
        if self.passes(signal):
            asyncio.get_running_loop().call_soon(self.other.webrtc.signalled, self.identity.sign_id, data)
        return True

    def say(self, kind: int, attempt: bytes, body: str = "") -> None:
        assert self.other is not None
        self.signal(self.other.identity.sign_id, "webrtc", encode_signal(Signal(kind, attempt, body)))

    def kinds(self) -> list[int]:
        return [signal.kind for signal in self.said]

    def accept(self, connection: Connection) -> ConnectionEnd:
        self.came.put_nowait(ConnectionEnd(connection))
        return self.came._queue[-1]

    async def dial(self) -> ConnectionEnd:
        assert self.other is not None
        ends: list[ConnectionEnd] = []

        def accept(connection: Connection) -> ConnectionEnd:
            ends.append(ConnectionEnd(connection))
            return ends[0]

        assert await self.webrtc.dial("webrtc:", self.other.identity.sign_id, accept) is ends[0].connection
        return ends[0]


def joined(near: Node, far: Node) -> tuple[Node, Node]:
    near.other, far.other = far, near
    return near, far
