"""What every plugin may ask of the node it belongs to, and tell it."""

from collections.abc import Sequence
from typing import Protocol

from mmplatform.identity.keys import Identity


class Failed(Protocol):
    """Where errors are reported: listeners of the ``error`` event hear them, else the log does."""

    def __call__(self, error: Exception, topic: str = "") -> None: ...


class PluginHost(Protocol):
    """The part of a node that transports, carriers of mail and services share."""

    @property
    def identity(self) -> Identity:
        """The keys of the node."""
        ...

    def now(self) -> float:
        """Unix seconds."""
        ...

    def random(self) -> float:
        """0 to 1, for jitter."""
        ...

    def failed(self, error: Exception, topic: str = "") -> None:
        """Report what went wrong: listeners of the ``error`` event hear it, else the log does."""

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have ``addresses`` (URIs) in our record, in place of those ``owner`` had there before."""
