"""What a gateway remembers of a request until its answers are there: ``msgbus.backlog.UID``, in protobuf. Pure.

::

    1 uid    2 reference (optional)    3 reply_to    4 modulee    5 ttl        (peer.proto of rmb-rs)
"""

from typing import Final

from mm_services.rmb.gateway.objects import MAX_QUEUE
from mm_transports.rmb.protocol.envelope import MAX_UID
from mm_transports.rmb.protocol.fields import BYTES, U64, VARINT, key, number_field, read_fields, text, text_field
from mmplatform.codec import Struct

_UID, _REFERENCE, _REPLY_TO, _MODULE = (key(number, BYTES) for number in range(1, 5))
_TTL: Final = key(5, VARINT)
_FIELDS: Final = {_UID: MAX_UID, _REFERENCE: MAX_UID, _REPLY_TO: MAX_QUEUE, _MODULE: 255, _TTL: U64}


class Backlog(Struct, frozen=True, gc=False):
    """Where answers to a request go: the queue ``reply_to``, with ``reference``."""

    uid: str
    reference: str | None
    reply_to: str
    ttl: int


def read_backlog(data: bytes) -> Backlog:
    """Read one. Raises ProtocolError."""
    found = read_fields(data, _FIELDS)
    reference = found.chunks.get(_REFERENCE)
    return Backlog(
        text(found.chunks.get(_UID, b"")),
        text(reference) if reference is not None else None,
        text(found.chunks.get(_REPLY_TO, b"")),
        found.numbers.get(_TTL, 0),
    )


def write_backlog(backlog: Backlog) -> bytes:
    """Write one."""
    return (
        text_field(_UID, backlog.uid or None)
        + text_field(_REFERENCE, backlog.reference)
        + text_field(_REPLY_TO, backlog.reply_to or None)
        + number_field(_TTL, backlog.ttl)
    )
