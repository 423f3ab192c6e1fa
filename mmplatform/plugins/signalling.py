"""The contract of transports that must agree with the peer on how to meet, by signals over a link that is up."""

from abc import abstractmethod
from typing import ClassVar, Final

from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import Transport

SIGNAL_LIMIT: Final = 16 * 1024  # bytes of a signal


class SignallingTransport(Transport):
    """Dialled only while another link to the peer is up; says its signals by ``TransportHost.signal``."""

    address: ClassVar[str]
    """Its one address, the same for every peer: where it listens when the node has a relay to meet at."""

    @abstractmethod
    def signalled(self, peer: SignId, data: bytes) -> None:
        """Take what the transport at ``peer``, who has proven its key, says. It is hostile input."""

    def prepare(self) -> None:
        """Load what is needed: it will soon be dialled, or be signalled to."""
