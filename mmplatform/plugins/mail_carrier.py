"""The contract of carriers: they keep sealed envelopes for peers that are away, and bring them to their recipient.

A carrier may be a transport (a relay is both), a service, or an object of its own. Where it keeps mail for this node
is an address in our record (``advertise``, or what a transport listens at); senders choose a carrier by its scheme.
Envelopes are sealed: a carrier sees their recipient and their size. A message counts as delivered when its recipient
has acknowledged it, whatever carriers say.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from mmplatform.identity.keys import SignId
from mmplatform.plugins.host import PluginHost


class MailHost(PluginHost, Protocol):
    """What a carrier may tell the node it belongs to."""

    def mail_received(self, envelope: bytes, done: Callable[[bool], None]) -> None:
        """Hand over an envelope for us.

        Args:
            envelope: sealed bytes (docs/protocol/mail.rst, "Envelope"), at most 1 MiB + 16 KiB.
            done: is called once: ``done(True)`` when all messages in the envelope are handled and saved, so that the
                carrier forgets it, ``done(False)`` when it cannot be handled.

        """

    def mail_finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """Report what became of an envelope that this node left for ``peer``.

        Args:
            peer: the recipient.
            mail_id: the 16 bytes that ``deposit`` was called with.
            state: "delivered", "expired", "refused" or "overflow".

        """

    def mail_welcome(self, peer: SignId) -> None:
        """Report that mail to ``peer``, which was declined before, is welcome now."""


class MailCarrier(ABC):
    """Keeps mail at addresses of its own schemes.

    ``schemes`` are the first parts of those addresses, as in ``relay+wss://host/KEY``.
    """

    schemes: ClassVar[tuple[str, ...]]

    async def carry(self, host: MailHost) -> None:  # noqa: B027 - a carrier may bring nothing itself
        """Bring what comes for us to ``host`` from now on.

        Called once, when the node starts: before transports listen and services start, and before our first record is
        signed, so that what is advertised here stands in that record. Raises LocalError when the carrier cannot work;
        the node does not start then.
        """

    @abstractmethod
    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        """Leave an envelope for ``peer`` at ``address``.

        Args:
            address: an address of one of our schemes in the record of ``peer``.
            peer: the recipient.
            mail_id: 16 bytes; the same one twice is kept once.
            expires: Unix milliseconds until when it should be kept.
            envelope: sealed bytes, at most 1 MiB + 16 KiB.

        Returns once the envelope is safe (on the carrier's disk), with the Unix milliseconds until when it is kept, at
        most ``expires``. Raises MailHeldUp when it is safe, but not where its recipient comes for it, so that a copy
        should be left elsewhere; MailDeclined with the carrier's reason, MailUncertain when the envelope was sent but
        no answer came, or Unreachable when nothing was sent.

        """

    def at_hand(self, address: str) -> bool:
        """Whether mail can be left at ``address`` without having anybody pass it on: such addresses are tried first."""
        return False

    async def close(self) -> None:  # noqa: B027 - one that is a service, too, ends when that is stopped
        """Stop, also when :meth:`carry` was not called or has raised. Keep every envelope that is not done with: it
        comes again in the next run."""
