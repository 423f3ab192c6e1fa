"""The contract of transports that must agree with the peer on how to meet, by signals over a link that is up."""

from abc import abstractmethod
from typing import ClassVar, Final

from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import Transport

SIGNAL_LIMIT: Final = 16 * 1024  # bytes of a signal


class SignallingTransport(Transport):
    """A transport that is dialled only while another link to the peer is up, over which it signals."""

    address: ClassVar[str]
    """The one address of the transport, the same for every peer: it listens there when the node has a relay."""

    @abstractmethod
    def signalled(self, peer: SignId, data: bytes) -> None:
        """Take a signal of the transport at ``peer``, who has proven its key. ``data`` is hostile input."""

    def prepare(self) -> None:
        """Load what is needed: a dial or a signal will come soon."""
