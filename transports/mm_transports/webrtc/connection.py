"""A data channel as a connection: pieces, back-pressure, a heartbeat, and a close from either side."""

import asyncio
from typing import Final, Protocol

from mm_transports.webrtc.protocol.pieces import END, LAST, MORE, PING, PONG, Assembly, split
from mmplatform.errors import ProtocolError, RemoteError
from mmplatform.plugins.transport import LENGTH_LIMIT, PUNCHED, Accept, Connection

ADDRESS: Final = "webrtc:"
HIGH_WATER: Final = 256 * 1024  # bytes in the channel above which the sender is paused
LOW_WATER: Final = 64 * 1024  # bytes in the channel at which a paused sender goes on
BEAT: Final = 1.25  # seconds of silence after which the other end is pinged
SILENCES: Final = 3  # silent beats in a row that end the connection: the path is dead


class DataChannel(Protocol):
    """The data channel, with all that is under it."""

    @property
    def buffered(self) -> int:
        """How many bytes wait in the channel."""
        ...

    @property
    def piece(self) -> int:
        """Bytes of the longest message that the other end takes, at most PIECE."""
        ...

    def send(self, data: bytes) -> None:
        """Queue one message; never blocks, and does nothing once the channel is closed."""

    async def close(self) -> None:
        """Close the channel at once, with all that is under it."""


class WebRTCConnection(Connection):
    """Either end of an open channel. The receiver is told of the end when everything is closed."""

    address = ADDRESS
    max_frame = LENGTH_LIMIT
    cost = PUNCHED

    def __init__(self, channel: DataChannel, accept: Accept) -> None:
        self._channel = channel
        self._assembly = Assembly()
        self._closing = self._over = self._paused = False
        self._loop = asyncio.get_running_loop()
        self._heard, self._silences, self._waited = True, 0, 0
        self._ending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(BEAT, self._beat)
        self._receiver = accept(self)

    # What its owner calls.

    def write(self, frame: bytes | bytearray) -> None:
        if self._closing or self._over:
            return
        channel = self._channel
        for piece in split(frame, channel.piece):
            channel.send(piece)
        if not self._paused and channel.buffered > HIGH_WATER:
            self._paused = True
            self._receiver.pause_writing()

    def close(self) -> None:
        """Ask the other end to close the channel once it has everything; should it not, the heartbeat does."""
        if not self._closing and not self._over:
            self._closing = True
            self._channel.send(bytes((END,)))

    def abort(self) -> None:
        self._end(ConnectionAbortedError("closed here"))

    # What the channel calls.

    def received(self, data: bytes | str) -> None:
        """Take one message of the channel."""
        self._heard = True
        if self._over:
            return
        try:
            self._take(data)
        except Exception as error:  # an error in the library would stop its reading for ever
            if not isinstance(error, ProtocolError):
                self._loop.call_exception_handler({"message": "a receiver failed", "exception": error})
            self._end(error)

    def drained(self) -> None:
        """Let the sender go on: LOW_WATER is reached."""
        if self._paused and not self._over:
            self._paused = False
            self._receiver.resume_writing()

    def ended(self) -> None:
        """End: the channel was closed, by the other end or by what is under it."""
        self._end(None if self._closing else ConnectionResetError("the channel was closed"))

    # Inside.

    def _take(self, data: bytes | str) -> None:
        kind = data[0] if data else None
        if kind in (LAST, MORE):
            assert isinstance(data, bytes)
            frame = self._assembly.add(data)
            if frame is not None and not self._closing:
                self._receiver.frame_received(frame)
        elif kind == END:
            self._end(None)
        elif kind == PING and len(data) == 1:
            if not self._paused:  # else an end that pings and never reads would fill our memory
                self._channel.send(bytes((PONG,)))
        elif kind != PONG or len(data) != 1:
            raise ProtocolError("bad-piece", f"of kind {kind!r}, {len(data)} bytes")

    def _beat(self) -> None:
        """Look for signs of life: messages that came, or bytes that left the channel, as somebody acknowledged them."""
        waited, self._waited = self._waited, self._channel.buffered
        if self._heard or self._waited < waited:
            self._heard, self._silences = False, 0
        else:
            self._silences += 1
            if self._silences >= SILENCES:
                self._end(RemoteError("webrtc: dead: nothing comes through any more"))
                return
            if self._silences == 1:
                self._channel.send(bytes((PING,)))
        self._timer = self._loop.call_later(BEAT, self._beat)

    def _end(self, error: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._timer.cancel()
            self._ending = self._loop.create_task(self._finish(error), name="mm webrtc close")

    async def _finish(self, error: Exception | None) -> None:
        try:
            await self._channel.close()
        finally:
            self._assembly = Assembly()
            self._receiver.connection_lost(error)
