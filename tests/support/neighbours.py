"""Peers that a carrier asks, in the place of the platform: each request waits for what the test answers."""

import asyncio
from typing import NamedTuple, cast

from mm_services.messenger.answering import Answering
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.packets import Meet
from mmplatform.errors import MMError
from mmplatform.messaging.upstream import Upstream


class PeerRequest(NamedTuple):
    """What was asked of a peer, and where the reply goes."""

    peer: str
    topic: str
    protocol: str
    payload: bytes
    timeout: float
    reply: "asyncio.Future[bytes]"


class ScriptedUpstream:
    """Gives requests to the test, to the carriers in ``handlers``, or has them fail with what is in ``failures``."""

    def __init__(self, own: str = "") -> None:
        self.own = own
        self.requests: asyncio.Queue[PeerRequest] = asyncio.Queue()
        self.handlers: dict[str, Answering] = {}
        self.failures: dict[str, MMError] = {}
        self.begun: list[str] = []
        """Who was greeted."""

    def upstream(self) -> Upstream:
        """Itself, as what only asks."""
        return cast("Upstream", self)

    def ask(
        self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float, patience: float = 0.0
    ) -> "asyncio.Future[bytes]":
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if isinstance(packets.request(payload), Meet):
            self.begun.append(destination)
        if destination in self.failures:
            reply.set_exception(self.failures[destination])
        elif destination in self.handlers:
            result = self.handlers[destination].on_request("friends", topic, self.own, payload, reply.set_result)  # type: ignore[arg-type]  # all that is called of it
            assert result is None
        else:
            self.requests.put_nowait(PeerRequest(destination, topic, protocol, payload, timeout, reply))
        return reply

    async def next(self) -> PeerRequest:
        """The next request that nobody answers by itself."""
        return await self.requests.get()
