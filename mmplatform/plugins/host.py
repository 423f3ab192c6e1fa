"""What every plugin may ask of the node it belongs to, and tell it."""

from collections.abc import Sequence
from typing import Protocol

from mmplatform.addresses import Reach
from mmplatform.identity.keys import Identity, SignId


class Failed(Protocol):
    """Takes reports of errors: listeners of the ``error`` event hear them, else the log does."""

    def __call__(self, error: Exception, topic: str = "") -> None:
        """Report ``error``; ``topic`` is that of the message whose handler raised it, "" for errors of the node."""


class PluginHost(Protocol):
    """The part of a node that transports, carriers of mail and services share."""

    @property
    def identity(self) -> Identity:
        """The keys of the node."""
        ...

    def now(self) -> float:
        """Return the time in Unix seconds."""
        ...

    def random(self) -> float:
        """Return a number from 0 to below 1, for jitter."""
        ...

    def failed(self, error: Exception, topic: str = "") -> None:
        """Report an error: listeners of the ``error`` event hear it, else the log does."""

    def reach(self, peer: SignId, /) -> Reach:
        """Return where ``peer`` may make us go. Whoever connects, or sends, to an address that a peer named asks
        :meth:`Reach.names` before the host is looked up, and :meth:`Reach.admits` for the address that was found."""
        ...

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Replace the addresses (URIs) of ``owner`` in our record. Raises StorageError; it is tried again later."""
