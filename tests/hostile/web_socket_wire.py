"""A bare client of a WebSocket: the upgrade, frames, answers to pings, and the reason of the end."""

import asyncio
from typing import Final, TypeVar

from tests.hostile.raw_link import PATIENCE, Gone, Traffic, Wire

T = TypeVar("T")

MASK: Final = bytes(4)  # of frames: a mask of zeros leaves the data as it is
CONTINUED, TEXT, BINARY, CLOSE_FRAME, PING_FRAME, PONG_FRAME = 0, 1, 2, 8, 9, 10


def framed(payload: bytes, opcode: int = BINARY, last: bool = True) -> bytes:
    """Return a WebSocket frame of a client."""
    size = len(payload)
    first = bytes([opcode | (0x80 if last else 0)])
    if size < 126:
        return first + bytes([0x80 | size]) + MASK + payload
    if size < 65_536:
        return first + b"\xfe" + size.to_bytes(2) + MASK + payload
    return first + b"\xff" + size.to_bytes(8) + MASK + payload


def request(target: str = "/", *headers: str) -> bytes:
    """Return a request for a WebSocket, without the empty line at its end."""
    lines = (
        f"GET {target} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *headers,
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines).encode()


class WebSocketWire(Wire):
    """One connection. Messages are for :meth:`message`; ``ended_for``: why it ended, as far as that was said."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self.ended_for = ""
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()

    async def upgrade(self, asked: bytes) -> None:
        """Send a whole request and wait until it is a WebSocket. Raises Gone."""
        await self.write(asked)
        await self.patiently(self.upgraded)

    async def patiently(self, future: "asyncio.Future[T]") -> T:
        """Wait for what the other end is to say. Raises Gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            raise Gone("no answer in time") from None

    def message(self, payload: bytes) -> None:
        """Take a message."""

    def ended(self, why: str) -> None:
        """Take note that nothing more comes; may be called more than once."""
        self.ended_for = self.ended_for or why
        fail(self.upgraded, why)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._buffer += data
        if not self.upgraded.done():
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head[:20]:
                self.ended(head.decode("latin-1").partition("\r\n")[0])
                return
            self.upgraded.set_result(None)
            self._buffer = bytearray(rest)
        while (frame := self._next()) is not None:
            self._frame(*frame)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended(self.ended_for or f"lost: {exc or ''}")

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
            self.pinged(payload)
        if opcode == CLOSE_FRAME:
            self.ended_for = self.ended_for or payload[2:].decode(errors="replace")
        if opcode in (BINARY, TEXT):
            self.message(payload)

    def pinged(self, payload: bytes) -> None:
        """Answer a ping."""
        self.transport.write(framed(payload, PONG_FRAME))


def fail(future: "asyncio.Future[T]", why: str) -> None:
    """Have who waits for ``future`` hear why nothing comes."""
    if not future.done():
        future.set_exception(Gone(why))
        future.exception()
