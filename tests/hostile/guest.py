"""A bare client of a relay: TCP or TLS, the upgrade, the sign-in, and whatever bytes come next."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import tls
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import PEER, Bye, Challenge, Item, Welcome
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from tests.hostile.raw_link import PATIENCE, Gone, Traffic, Wire

T = TypeVar("T")

MASK: Final = bytes(4)  # of WebSocket frames: a mask of zeros leaves the data as it is
BINARY, CONTINUED, PING_FRAME, CLOSE_FRAME = 2, 0, 9, 8
REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mm-relay.1\r\n"
)


def framed(payload: bytes, opcode: int = BINARY, last: bool = True) -> bytes:
    """Return a WebSocket frame of a client."""
    size = len(payload)
    first = bytes([opcode | (0x80 if last else 0)])
    if size < 126:
        return first + bytes([0x80 | size]) + MASK + payload
    if size < 65_536:
        return first + b"\xfe" + size.to_bytes(2) + MASK + payload
    return first + b"\xff" + size.to_bytes(8) + MASK + payload


def said(*items: Item) -> bytes:
    """Return the WebSocket message that says these items."""
    return framed(encode_items(items))


class Guest(Wire):
    """One connection. ``heard`` is called for each item that comes; ``key`` is that of the relay, raw."""

    def __init__(self, traffic: Traffic, key: bytes, identity: Identity | None = None) -> None:
        super().__init__(traffic)
        self.identity = identity or Identity.generate()
        self.heard: Callable[[Item], None] | None = None
        self.ended_for = ""
        self._key = key
        loop = asyncio.get_running_loop()
        self.challenged: asyncio.Future[Challenge] = loop.create_future()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self._buffer = bytearray()
        self._upgraded = False

    async def upgrade(self, headers: bytes = b"") -> Challenge:
        """Send the request and wait for the challenge. Raises Gone."""
        await self.write(REQUEST + headers + b"\r\n")
        return await self._patiently(self.challenged)

    async def sign_in(self, role: int = PEER, address: str = "") -> None:
        """Prove the key. Raises Gone."""
        challenge = await self.upgrade()
        answer = signin.answer(self.identity, challenge, self._key, os.urandom(32), role, address)
        await self.say(answer)
        await self._patiently(self.welcomed)

    async def say(self, *items: Item) -> None:
        await self.write(said(*items))

    # What comes in.

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._buffer += data
        if not self._upgraded:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head[:20]:
                self._end(head.decode("latin-1").partition("\r\n")[0])
                return
            self._upgraded, self._buffer = True, bytearray(rest)
        while (frame := self._next()) is not None:
            self._frame(*frame)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(self.ended_for or f"lost: {exc or ''}")

    def _next(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 127, 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(buffer[2 : 2 + width]), 2 + width
        if len(buffer) < start + size:
            return None
        opcode, payload = buffer[0] & 15, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return opcode, payload

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING_FRAME and not self.gone.is_set():
            self.transport.write(framed(payload, 10))
        if opcode == CLOSE_FRAME:
            self.ended_for = self.ended_for or payload[2:].decode(errors="replace")
        if opcode != BINARY:
            return
        try:
            for item in decode_items(payload):
                self._item(item)
        except ProtocolError as error:
            self._end(str(error))

    def _item(self, item: Item) -> None:
        if isinstance(item, Challenge) and not self.challenged.done():
            self.challenged.set_result(item)
        elif isinstance(item, Welcome) and not self.welcomed.done():
            self.welcomed.set_result(None)
        elif isinstance(item, Bye):
            self.ended_for = item.reason
        if self.heard is not None:
            self.heard(item)

    def _end(self, why: str) -> None:
        self.ended_for = self.ended_for or why
        for future in (self.challenged, self.welcomed):
            if not future.done():
                future.set_exception(Gone(why))
                future.exception()

    async def _patiently(self, future: "asyncio.Future[T]") -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            raise Gone("no answer in time") from None


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
