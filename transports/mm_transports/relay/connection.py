"""One link through a relay, as a connection: frames to and from one peer under one number."""

from typing import Final, Protocol, cast

from mm_transports.relay.protocol.items import Closed, Data, Item, Open
from mmplatform.errors import Absent, RemoteError, Unreachable
from mmplatform.plugins.transport import RELAYED, Accept, Connection, FrameReceiver
from mmplatform.text import escaped

PAUSED_HERE: Final = 1  # a connection is paused because our way to the relay is full
SLOW: Final = 2  # a connection is paused because too much waits at the relay for the peer
WORDS: Final = {
    "absent": "the peer is not at the relay now",
    "gone": "the peer has left the relay",
    "overflow": "the peer did not take what was sent to it",
    "denied": "refused there",
    "unknown": "the peer knows nothing of this link",
    "unreachable": "the peer's relay cannot be reached through ours",
}


class RelayLink(Protocol):
    """Our own connection to the relay, which carries the links."""

    @property
    def full(self) -> bool: ...

    def tell(self, item: Item) -> bool: ...

    def paused_here(self, connection: "RelayConnection") -> None:
        """Release ``connection``, which was paused, when this link is writable again."""

    def pause_reading(self, connection: "RelayConnection") -> None:
        """Read nothing from the relay until ``connection`` goes on: it shares the way with all others."""

    def resume_reading(self, connection: "RelayConnection") -> None: ...

    def leave(self, connection: "RelayConnection", error: Exception | None) -> None:
        """Forget ``connection``, which is over; call :meth:`RelayConnection.lose` in a later turn of the loop."""


class RelayConnection(Connection):
    """A connection to ``peer``. ``number`` is that of the link, ``answered`` whether a frame of the peer has come."""

    cost = RELAYED
    relayed = True

    def __init__(self, link: RelayLink, peer: bytes, number: int, max_frame: int, address: str, via: str = "") -> None:
        """Make a connection; ``via``: a relay of the peer, when that is not the one our link leads to."""
        self.peer, self.number, self.max_frame, self.address, self.via = peer, number, max_frame, address, via
        self.answered = False
        self._link = link
        self._receiver: FrameReceiver | None = None
        self._opened = False
        self._over = False
        self._held = 0

    def join(self, accept: Accept, opened: bool) -> None:
        """Make the receiver; ``opened``: the peer has sent the first frame."""
        self._opened = self.answered = opened
        self._receiver = accept(self)
        if self._held:
            self._receiver.pause_writing()

    # What its owner calls.

    def write(self, frame: bytes | bytearray) -> None:
        if self._over:
            return
        data = cast(bytes, frame)  # a copy would cost, and nobody changes the frame any more
        if self._opened:
            self._link.tell(Data(self.peer, self.number, data))
        else:
            self._opened = True
            self._link.tell(Open(self.peer, self.number, data, self.via))
        if self._link.full and not self._held & PAUSED_HERE:
            self._link.paused_here(self)
            self.hold(PAUSED_HERE)

    def pause_reading(self) -> None:
        if not self._over:
            self._link.pause_reading(self)

    def resume_reading(self) -> None:
        self._link.resume_reading(self)

    def close(self) -> None:
        self._leave("closed", None)

    def abort(self) -> None:
        self._leave("gone", ConnectionAbortedError("closed here"))

    # What the link to the relay calls.

    def received(self, frame: bytes) -> None:
        self.answered = True
        if self._receiver is not None and not self._over:
            self._receiver.frame_received(memoryview(frame))

    def closed(self, reason: str) -> None:
        """End the connection: the peer, or the relay in its place, has closed the link."""
        if reason == "closed":
            self.end(None)
        else:
            self.end(self.error(WORDS.get(reason) or escaped(reason)))

    def end(self, error: Exception | None) -> None:
        """End the connection without a word to the peer."""
        if not self._over:
            self._over = True
            self._link.leave(self, error)

    def error(self, why: str) -> Exception:
        text = f"{self.address}: {why}"
        if self.answered:
            return RemoteError(text)
        return Absent(text) if why == WORDS["absent"] else Unreachable(text)

    def hold(self, why: int) -> None:
        if not self._held and self._receiver is not None:
            self._receiver.pause_writing()
        self._held |= why

    def release(self, why: int) -> None:
        was, self._held = self._held, self._held & ~why
        if was and not self._held and self._receiver is not None and not self._over:
            self._receiver.resume_writing()

    def lose(self, error: Exception | None) -> None:
        """Call ``connection_lost`` of the receiver."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(error)

    def _leave(self, reason: str, error: Exception | None) -> None:
        if not self._over:
            if self._opened:
                self._link.tell(Closed(self.peer, self.number, reason))
            self.end(error)
