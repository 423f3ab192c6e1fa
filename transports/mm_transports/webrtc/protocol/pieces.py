"""Cuts frames into pieces, one for each message of a data channel (docs/protocol/webrtc.rst, "Pieces")."""

from collections.abc import Iterator
from typing import Final

from mmplatform.errors import ProtocolError
from mmplatform.plugins.transport import LENGTH_LIMIT

MORE: Final = 0  # a part of a frame, of which more follows
LAST: Final = 1  # the rest of a frame
PING: Final = 2
PONG: Final = 3
END: Final = 4  # nothing follows: the channel may be closed
PIECE: Final = 16 * 1024  # bytes of a piece at most: in some browsers longer messages block the channel for others
SMALLEST: Final = 1200  # bytes: a peer must take messages of this length


def split(frame: bytes | bytearray, size: int = PIECE) -> Iterator[bytes]:
    """Yield the pieces of a frame, of at most ``size`` bytes each."""
    room = size - 1
    last = max(0, (len(frame) - 1) // room * room)
    for offset in range(0, last, room):
        yield b"\0" + frame[offset : offset + room]
    yield b"\1" + frame[last:]


class Assembly:
    """Puts frames together from pieces, in order; holds at most one frame of ``limit`` bytes."""

    def __init__(self, limit: int = LENGTH_LIMIT) -> None:
        self._limit = limit
        self._parts = bytearray()

    def add(self, piece: bytes) -> memoryview | None:
        """Take a piece of kind MORE or LAST; return the frame it completes, or None. Raises ProtocolError."""
        if len(self._parts) + len(piece) - 1 > self._limit:
            raise ProtocolError("too-long", f"a frame of more than {self._limit} bytes")
        if piece[0] == LAST and not self._parts:
            return memoryview(piece)[1:]
        self._parts += memoryview(piece)[1:]
        if piece[0] == LAST:
            frame, self._parts = self._parts, bytearray()
            return memoryview(frame)
        if len(piece) == 1:
            raise ProtocolError("bad-piece", "nothing, and more to follow")
        return None
