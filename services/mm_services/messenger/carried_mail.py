"""Mail of the platform that goes by carriers: ``platform.messaging.send`` works between people who never meet.

An envelope becomes a bundle for its recipient, and what comes in a bundle is handed to the node like mail from a relay.
The recipient acknowledges by mail, too, which finds its way back in the same manner. A node that takes mail so says so
in its record, by the address ``carry:``.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from mmplatform.errors import MailDeclined, MailHeldUp, MMError, NotRunning, StorageError, Unreachable
from mmplatform.identity.keys import SignId

SCHEME: Final = "carry"
ADDRESS: Final = f"{SCHEME}:"
MOST_REMEMBERED: Final = 16_384  # envelopes that were left, so that one that is left again is not carried twice
RETRY: Final = 60.0  # seconds until what there was no room for may be left again

PostMail = Callable[[SignId, bytes, float], Awaitable[None]]
"""Keeps an envelope for a peer, and hands it on until a Unix time. Raises MMError."""


class CarriedMail:
    """The envelopes that the node leaves with us. ``post`` keeps one."""

    def __init__(self, post: PostMail) -> None:
        self._post = post
        self._left: OrderedDict[tuple[SignId, bytes], int] = OrderedDict()

    async def deposit(self, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        """Keep an envelope; see :meth:`mmplatform.plugins.mail_carrier.MailCarrier.deposit`.

        Always raises: MailHeldUp once it is on our disk, since nobody knows whether a carrier comes by its recipient,
        and a relay may be quicker; MailDeclined or Unreachable when it is not kept.
        """
        key = peer, mail_id
        if key not in self._left:
            try:
                await self._post(peer, envelope, expires / 1000)
            except (StorageError, NotRunning) as error:
                raise Unreachable(str(error)) from error
            except MMError as error:
                raise MailDeclined(str(error), RETRY) from error
            self._left[key] = expires
            if len(self._left) > MOST_REMEMBERED:
                self._left.popitem(last=False)
        raise MailHeldUp(self._left[key])
