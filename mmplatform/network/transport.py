"""The transport contract: whole frames in order between two ends, in the callback style of asyncio protocols.

A transport knows nothing of keys, messages or peers. Every callback but ``pause_writing`` comes from the event loop,
never from within ``write``, ``close`` or ``abort``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

LENGTH_LIMIT: Final = 256 * 1024  # no transport carries a longer frame (docs/protocol/session.rst)


class Receiver(Protocol):
    """What a connection calls."""

    def frame_received(self, frame: memoryview) -> None:
        """One whole frame; the memory is the connection's and valid during the call only."""

    def connection_lost(self, error: Exception | None) -> None:
        """The last callback, exactly once; None when this side closed it or the other end closed it in order."""

    def pause_writing(self) -> None:
        """More is buffered than should be: write only what cannot wait. May come from within ``write``."""

    def resume_writing(self) -> None:
        """The buffer has drained."""


class Connection(ABC):
    """One open connection."""

    address: str
    """Where the other end is, for people and logs."""
    max_frame: int
    """The longest frame it carries, in bytes."""
    cost: int
    """Lower is better: 0 memory, 10 LAN or WAN tcp, 20 webrtc, 40 relay."""

    @abstractmethod
    def write(self, frame: bytes) -> None:
        """Queue one frame; never blocks. After close or loss it does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Send what is queued, then close."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once; what is queued is lost."""


Accept = Callable[[Connection], Receiver]


class Transport(ABC):
    """One way to move frames. ``scheme`` is the first part of its addresses, as in ``tcp://host:port``."""

    scheme: ClassVar[str]

    @abstractmethod
    async def dial(self, address: str, accept: Accept) -> Connection:
        """Connect. ``accept`` gives the receiver before the first frame comes. Raises Unreachable, or ValueError
        for an address that is not of this scheme."""

    @abstractmethod
    async def listen(self, hint: str, accept: Accept) -> list[str]:
        """Accept connections near ``hint`` (port 0: any); the addresses others may dial. Raises LocalError."""

    def reachable(self) -> list[str] | None:
        """The addresses of all listeners as they are now; None when they never change."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Stop listening. Connections that are open stay so."""
