"""Names for the core of a relay: the box of an address of RMB, and the id of an envelope in it. Pure.

::

    box of a session     "rmb" 0   twin, 4 bytes   digest of the session, 24 bytes (zeros for the one without a name)
    box of a relay       "rmb" 1   digest of its name, 28 bytes
    id of an envelope    kind, 1 byte   twin, 4 bytes   digest of the session, 4 bytes   uid

No key that anybody signs with is a box: to make one that begins so takes as long as to find a key of somebody else.
"""

from hashlib import blake2b
from typing import Final, NamedTuple

from mm_relay.ports import INNER
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbRequest

_SESSION, _RELAY = INNER
_KINDS: Final = {RmbRequest: b"q", RmbError: b"e"}  # all others: r
_TWIN: Final = slice(1, 5)
_UID: Final = 9


class SentName(NamedTuple):
    """What the id of an envelope says: whether it is a request, to which twin, its uid."""

    request: bool
    twin: int
    uid: str


def box_of(address: TwinAddress) -> bytes:
    """Return the key of the mailbox of a session of a twin."""
    digest = blake2b(address.session.encode(), digest_size=24).digest() if address.session else bytes(24)
    return _SESSION + address.twin.to_bytes(4) + digest


def box_of_relay(name: str) -> bytes:
    """Return the key of the mailbox of what goes to another relay of RMB."""
    return _RELAY + blake2b(name.encode(), digest_size=28).digest()


def id_of(envelope: RmbEnvelope, destination: TwinAddress) -> bytes:
    """Return the id of an envelope in its box: one sent twice is kept once."""
    kind = _KINDS.get(type(envelope.message), b"r")
    return kind + destination.twin.to_bytes(4) + box_of(destination)[8:12] + envelope.uid.encode()


def sent_name(id: bytes) -> SentName:  # noqa: A002 - what it is
    """Return what an id says."""
    return SentName(id[:1] == b"q", int.from_bytes(id[_TWIN]), id[_UID:].decode())
