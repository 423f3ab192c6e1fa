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

CONNECTING: Final = "connecting"  # the trouble at a meeting point before its first answer
LENGTH_LIMIT: Final = 256 * 1024  # bytes: no transport carries a longer frame (docs/protocol/session.rst)

# What a connection costs: the cheapest is chosen first. links.paths weighs round trips, too.
IN_PROCESS: Final = 0
DIRECT: Final = 10  # to an address of the peer, LAN or WAN
PUNCHED: Final = 20  # to an address of the peer through NATs, with more work a frame
RELAYED: Final = 40  # through a third party


class FrameReceiver(Protocol):
    """The end of a connection that the core holds: the connection calls these methods."""

    def frame_received(self, frame: memoryview) -> None:
        """Take one whole frame; its memory belongs to the connection and is valid during the call only."""

    def holds(self, size: int) -> None:
        """Take note that the connection keeps ``size`` bytes for a frame that is not whole yet, or 0, none any more.

        Of a connection that keeps more than a few kilobytes this is the way to say so: where too much is kept, it is
        closed from within.
        """

    def connection_lost(self, error: Exception | None) -> None:
        """Take note of the end: the last callback, made once. ``error`` is None when either side closed in order."""

    def pause_writing(self) -> None:
        """Write only what cannot wait: more is buffered than should be. May come from within ``write``."""

    def resume_writing(self) -> None:
        """Write again: the buffer has drained."""


class Connection(ABC):
    """One open connection to a peer; it moves whole frames in order and proves nothing."""

    address: str
    """Where the other end is, for people and logs."""
    max_frame: int
    """The longest frame that the connection carries, in bytes."""
    cost: int
    """What using the connection costs, lower is better: IN_PROCESS, DIRECT, PUNCHED, RELAYED, or between."""
    relayed: bool = False
    """Whether frames go through a third party."""

    @abstractmethod
    def write(self, frame: bytes | bytearray) -> None:
        """Queue one frame of at most ``max_frame`` bytes; never blocks, and does nothing after close or loss."""

    def pause_reading(self) -> None:  # noqa: B027 - a connection that shares its way with others cannot pause
        """Hand over no more frames for now, and hold up the sender, as far as the way to it allows; may come from
        within ``frame_received``. A connection that cannot goes on: its receiver puts by a few frames."""

    def resume_reading(self) -> None:  # noqa: B027
        """Hand over frames again, from a later turn of the loop on."""

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
    """URLs of STUN servers, which tell a host its address as seen from outside (RFC 8489); may be empty."""
    turn: Sequence[tuple[str, str, str]]
    """URL, user name and password of TURN servers, which pass UDP on (RFC 8656); may be empty."""
    proxy: str | None
    """URL of the proxy that leads to meeting points, "" for none, None for what the environment says."""

    def present(self, peer: SignId) -> None:
        """Report that ``peer``, which could not be reached, can be reached now."""

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        ...

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        """Send ``data`` to the transport of ``scheme`` at ``peer``, at most once, over any link that is up.

        ``data`` has at most ``signalling.SIGNAL_LIMIT`` bytes. Returns False when no link is up.
        """
        ...


class Transport(ABC):
    """One way to move frames.

    ``schemes`` are the first parts of the addresses, as in ``tcp://host:port``. docs/extend/transport.rst shows one in
    ten lines.
    """

    schemes: ClassVar[tuple[str, ...]]
    cost: ClassVar[int] = DIRECT
    """The cost of its connections: IN_PROCESS, DIRECT, PUNCHED or RELAYED."""
    relayed: ClassVar[bool] = False
    """Whether its connections go through a third party."""
    everyday: ClassVar[bool] = True
    """Whether a node that is told nothing about transports uses it once it is installed."""
    listens_at: ClassVar[tuple[str, ...]] = ()
    """Where a node that is told nothing listens with it."""

    def attach(self, host: TransportHost) -> None:  # noqa: B027 - most transports need nothing of it
        """Keep ``host``; called once, before anything else."""

    @abstractmethod
    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        """Connect to ``peer`` at ``address``; the side that dials writes the first frame.

        Args:
            address: a URI of one of our schemes.
            peer: whose key finds the peer at a meeting point; the handshake, not the transport, proves who answers.
            accept: gives the receiver of the connection; to be called before the first frame comes.

        Raises Unreachable (for a meeting point it may come later, as the error of ``connection_lost``), or ValueError
        for an address that is malformed or not of our schemes. The caller bounds the time by cancelling.

        """

    @abstractmethod
    async def listen(self, hint: str, accept: Accept) -> list[str]:
        """Accept connections from now on.

        Args:
            hint: a URI of one of our schemes: where to listen; port 0 is any free one.
            accept: gives the receiver of each connection that comes in.

        Returns the addresses that others may dial. Raises LocalError when the transport cannot listen there.

        """

    def near(self, address: str) -> bool:
        """Whether dialling ``address`` needs no new connection: it is a meeting point where we are signed in."""
        return False

    def reachable(self) -> list[str] | None:
        """Return the addresses of all listeners as they are now, None when they never change."""
        return None

    def troubles(self) -> dict[str, str]:
        """Return what is wrong now at each meeting point where we listen, by address; "" when nothing is."""
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Stop listening. Connections that are open stay open."""
