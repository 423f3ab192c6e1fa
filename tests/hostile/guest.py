"""A bare client of a relay: TCP or TLS, the upgrade, the sign-in, and whatever bytes come next."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import tls
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import PEER, VERSION, Bye, Challenge, Item, Welcome
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from tests.hostile.raw_link import PATIENCE, Gone, Traffic, Wire
from tests.hostile.web_socket_wire import WebSocketWire, fail, framed, request

REQUEST: Final = request("/", f"Sec-WebSocket-Protocol: {VERSION}")


def said(*items: Item) -> bytes:
    """Return the WebSocket message that says these items."""
    return framed(encode_items(items))


class Guest(WebSocketWire):
    """One connection. ``heard`` is called for each item that comes; ``key`` is that of the relay, raw."""

    def __init__(self, traffic: Traffic, key: bytes, identity: Identity | None = None) -> None:
        super().__init__(traffic)
        self.identity = identity or Identity.generate()
        self.heard: Callable[[Item], None] | None = None
        self._key = key
        loop = asyncio.get_running_loop()
        self.challenged: asyncio.Future[Challenge] = loop.create_future()
        self.welcomed: asyncio.Future[None] = loop.create_future()

    async def challenge(self, headers: bytes = b"") -> Challenge:
        """Send the request and wait for the challenge. Raises Gone."""
        await self.write(REQUEST + headers + b"\r\n")
        return await self.patiently(self.challenged)

    async def sign_in(self, role: int = PEER, address: str = "") -> None:
        """Prove the key. Raises Gone."""
        challenge = await self.challenge()
        answer = signin.answer(self.identity, challenge, self._key, os.urandom(32), role, address)
        await self.say(answer)
        await self.patiently(self.welcomed)

    async def say(self, *items: Item) -> None:
        await self.write(said(*items))

    # What comes in.

    def message(self, payload: bytes) -> None:
        try:
            for item in decode_items(payload):
                self._item(item)
        except ProtocolError as error:
            self.ended(str(error))

    def ended(self, why: str) -> None:
        super().ended(why)
        fail(self.challenged, why)
        fail(self.welcomed, why)

    def _item(self, item: Item) -> None:
        if isinstance(item, Challenge) and not self.challenged.done():
            self.challenged.set_result(item)
        elif isinstance(item, Welcome) and not self.welcomed.done():
            self.welcomed.set_result(None)
        elif isinstance(item, Bye):
            self.ended_for = item.reason
        if self.heard is not None:
            self.heard(item)


async def reach(wire: Wire, port: int, source: str, folder: str = "") -> None:
    """Connect to a relay of this machine from ``source``; ``folder`` has its certificate. Raises Gone."""
    context: ssl.SSLContext | None = tls.client_context(Path(folder)) if folder else None
    try:
        async with asyncio.timeout(PATIENCE):
            loop = asyncio.get_running_loop()
            host = "localhost" if context else None
            await loop.create_connection(
                lambda: wire, "127.0.0.1", port, local_addr=(source, 0), ssl=context, server_hostname=host
            )
    except (OSError, TimeoutError) as error:
        raise Gone(f"no connection: {error or 'no answer'}") from None


def names(guests: Sequence[Guest]) -> list[str]:
    """Return the keys of these clients, in hex."""
    return [guest.identity.sign_key.hex() for guest in guests]
