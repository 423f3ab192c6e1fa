"""The transport contract: whole frames in order between two ends, in the callback style of asyncio protocols.

Frames are opaque to a transport. Every callback but ``pause_writing`` comes from the event loop, never from within
``write``, ``close`` or ``abort``. A transport whose addresses lead to a meeting point and not to a host (a relay) uses
the peer's key to find it there. Keeping mail (mail_carrier.py), meeting by signals (signalling.py) and being examined
(check.py) are contracts of their own, for the transports that do so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

from mmplatform.identity.keys import SignId
from mmplatform.plugins.host import PluginHost

CONNECTING: Final = "connecting"  # what is wrong at a meeting point at first
LENGTH_LIMIT: Final = 256 * 1024  # no transport carries a longer frame (docs/protocol/session.rst)

# What a connection costs: the lower, the sooner it is chosen. Between two, links.paths weighs round trips, too.
IN_PROCESS: Final = 0
DIRECT: Final = 10  # to an address of the peer, LAN or WAN
PUNCHED: Final = 20  # through NATs, with more work a frame
RELAYED: Final = 40


class FrameReceiver(Protocol):
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
    """Lower is better: IN_PROCESS, DIRECT, PUNCHED, RELAYED, or between."""
    relayed: bool = False
    """Whether frames go through a third party."""

    @abstractmethod
    def write(self, frame: bytes | bytearray) -> None:
        """Queue one frame; never blocks. After close or loss it does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Send what is queued, then close."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once; what is queued is lost."""


Accept = Callable[[Connection], FrameReceiver]


class TransportHost(PluginHost, Protocol):
    """What a transport may ask of its node, and tell it."""

    stun: Sequence[str]
    """URLs of servers that tell a host how it looks from outside (RFC 8489); named by the operator, maybe none."""
    turn: Sequence[tuple[str, str, str]]
    """URL, user name and password of servers that pass UDP on (RFC 8656)."""

    def present(self, peer: SignId) -> None:
        """``peer``, which could not be reached, can be reached now."""

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        ...

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        """Have the transport of ``scheme`` at ``peer`` get ``data``, at most once, over any link that is up; False
        when none is. At most ``signalling.SIGNAL_LIMIT`` bytes."""
        ...


class Transport(ABC):
    """One way to move frames. ``schemes`` are the first parts of its addresses, as in ``tcp://host:port``."""

    schemes: ClassVar[tuple[str, ...]]
    cost: ClassVar[int] = DIRECT
    """Of its connections."""
    relayed: ClassVar[bool] = False
    """Whether its connections go through a third party."""
    everyday: ClassVar[bool] = True
    """Whether a node that is told nothing about transports uses it once it is installed."""
    listens_at: ClassVar[tuple[str, ...]] = ()
    """Where a node that is told nothing listens with it."""

    def attach(self, host: TransportHost) -> None:  # noqa: B027 - most transports need nothing of it
        """Take ``host``; called once, before anything else."""

    @abstractmethod
    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        """Connect to ``peer`` at ``address``. ``accept`` gives the receiver before the first frame comes; the side that
        dials writes the first frame. Raises Unreachable (at a meeting point it may come later, as what the connection
        is lost by), or ValueError for an address that is not of these schemes."""

    @abstractmethod
    async def listen(self, hint: str, accept: Accept) -> list[str]:
        """Accept connections near ``hint`` (port 0: any); the addresses others may dial. Raises LocalError."""

    def near(self, address: str) -> bool:
        """Whether dialling there needs no new connection: a meeting point where we are signed in."""
        return False

    def reachable(self) -> list[str] | None:
        """The addresses of all listeners as they are now; None when they never change."""
        return None

    def troubles(self) -> dict[str, str]:
        """Listeners that stand at a meeting point, by address, with what is wrong there now, or ""."""
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Stop listening. Connections that are open stay so."""
