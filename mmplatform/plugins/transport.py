"""The transport contract: whole frames in order between two ends, in the callback style of asyncio protocols.

Frames are opaque to a transport. Every callback but ``pause_writing`` comes from the event loop, never from within
``write``, ``close`` or ``abort``. A transport whose addresses lead to a meeting point and not to a host (a relay) uses
the peer's key to find it there; one that keeps mail for those who are away takes envelopes for them; one that must
agree with the peer on how to meet (webrtc) exchanges signals over whatever link is up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.plugins.check import Check

CONNECTING: Final = "connecting"  # what is wrong at a meeting point at first
LENGTH_LIMIT: Final = 256 * 1024  # no transport carries a longer frame (docs/protocol/session.rst)
SIGNAL_LIMIT: Final = 16 * 1024  # bytes of a signal


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
    def write(self, frame: bytes | bytearray) -> None:
        """Queue one frame; never blocks. After close or loss it does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Send what is queued, then close."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once; what is queued is lost."""


Accept = Callable[[Connection], Receiver]


class Node(Protocol):
    """What a transport may ask of, and tell, the platform it belongs to."""

    identity: Identity

    def now(self) -> float:
        """Unix seconds."""
        ...

    def random(self) -> float:
        """0 to 1, for jitter."""
        ...

    def failed(self, error: Exception, topic: str = "") -> None:
        """Something for the ``error`` event."""

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have these in our record, in place of those ``owner`` had there before."""

    def present(self, peer: SignId) -> None:
        """``peer``, which could not be reached, can be reached now."""

    def mail_came(self, envelope: bytes, taken: Callable[[bool], None]) -> None:
        """An envelope for us. ``taken`` is called once: True when all in it is handled and saved, False when it
        cannot be opened."""

    def mail_ended(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """What became of an envelope that was deposited: delivered, expired, refused or overflow."""

    def mail_room(self, peer: SignId) -> None:
        """Mail to ``peer`` that was declined is welcome now."""

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        ...

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        """Have the transport of ``scheme`` at ``peer`` get ``data``, at most once, over any link that is up; False
        when none is. At most SIGNAL_LIMIT bytes."""
        ...


class Transport(ABC):
    """One way to move frames. ``schemes`` are the first parts of its addresses, as in ``tcp://host:port``."""

    schemes: ClassVar[tuple[str, ...]]
    cost: ClassVar[int] = 10
    """Of its connections."""
    over_link: ClassVar[bool] = False
    """Whether it can dial only while another link to the peer is up, as it signals over that one."""

    def attach(self, node: Node) -> None:  # noqa: B027 - most transports need nothing of it
        """Called once by the platform, before anything else."""

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

    def prepare(self) -> None:  # noqa: B027 - most transports are ready
        """It will soon be dialled, or be signalled to."""

    def reachable(self) -> list[str] | None:
        """The addresses of all listeners as they are now; None when they never change."""
        return None

    def troubles(self) -> dict[str, str]:
        """Listeners that stand at a meeting point, by address, with what is wrong there now, or ""."""
        return {}

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        """Leave an envelope for ``peer`` at the relay at ``address``; returns once it is on the relay's disk, with the
        Unix milliseconds until when it is kept (at most ``expires``). The same 16-byte ``mail_id`` twice is kept once.

        Raises MailDeclined with the relay's reason, MailUncertain when it was said to the relay but not answered, or
        Unreachable when it was not."""
        raise Unreachable(f"{address}: nobody keeps mail there")

    async def checks(self) -> list[Check]:
        """What ``mm doctor`` says about it; may take some seconds to find out."""
        return []

    def clocks(self) -> dict[str, float]:
        """Clocks it has heard of: seconds ahead of ours, by whose they are."""
        return {}

    def signalled(self, peer: SignId, data: bytes) -> None:  # noqa: B027 - most transports need nothing of it
        """What the transport at ``peer``, who has proven its key, says by ``Node.signal``. It is hostile input."""

    @abstractmethod
    async def close(self) -> None:
        """Stop listening. Connections that are open stay so."""
