"""Lets a WebSocket be read frame by frame: the library reads all that has come at once, however many frames it is."""

from collections.abc import Generator

from websockets.server import ServerProtocol
from websockets.streams import StreamReader


class _Gate(StreamReader):
    """Stops before each frame until the frame is let in. The library asks for the end before each."""

    waits = False  # whether a frame has begun to come that was not let in
    open = False

    def at_eof(self) -> Generator[None, None, bool]:
        while True:
            if not self.buffer:
                if self.eof:
                    return True
            elif self.open:
                self.open = False
                return False
            else:
                self.waits = True
            yield


class MeteredProtocol(ServerProtocol):
    """The server's half of a WebSocket; of what ``receive_data`` is given, ``next_frame`` takes one frame at a time."""

    gate: _Gate

    @property
    def buffered(self) -> int:
        """Bytes that have come and are in no event yet."""
        return len(self.gate.buffer)

    @property
    def has_more(self) -> bool:
        """Whether an event waits to be handled, or ``next_frame`` has something to take."""
        return self.gate.waits or bool(self.events)

    def next_frame(self) -> None:
        """Take the next frame, if all of it is there; ``events_received`` has it then."""
        self.gate.waits, self.gate.open = False, True
        next(self.parser)

    def drop(self) -> None:
        """Drop what has come and was not taken, and what this and its parser hold each other by."""
        self.gate.buffer.clear()
        self.events.clear()
        self.parser.close()
        self.parser_exc = None  # its frames are those of the parser
        del self.parser

    def parse(self) -> Generator[None]:
        self.reader = self.gate = _Gate()
        yield from super().parse()
