"""What an endpoint hands to the application."""

from collections.abc import Callable
from typing import NamedTuple

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbMessage


class ReceivedEnvelope(NamedTuple):
    """What another twin sent. Its signature, its time and its payload were checked.

    Attributes:
        message: A request, a response or an error.
        source: Who sent it, proven.
        account: The key of ``source`` that proved it.
        uid: That of the request, for a response or an error.
        payload: Decrypted.
        schema: What the payload is, as in ``application/json``.
        tags: Those of the sender.
        end: Until when it is good, in Unix seconds.
        encrypted: Whether nobody else could read the payload.
        taken: To be called when it is dealt with, and need not come again: what is not called comes again when the
            connection is another one, and holds a place among the few that a relay hands over at a time.

    """

    message: RmbMessage
    source: TwinAddress
    account: bytes
    uid: str
    payload: bytes
    schema: str
    tags: str
    end: int
    encrypted: bool
    taken: Callable[[], None]
