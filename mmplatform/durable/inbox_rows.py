"""The rows of the inbox: how their keys and values are made and read.

The key of a kept message has all that is needed to count it, so a start reads keys only. Keys sort by sender, protocol,
topic and number, so a scan finds the messages of a topic in the order in which they came.
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.receipts import Entry
from mmplatform.delivery.wire import OVERHEAD, Ending, Integer, Lane
from mmplatform.message import MAX_PAYLOAD, make_id

HELD: Final = b"held/"  # the start of the keys of messages that wait for a handler
FAILED: Final = b"failed/"  # of those whose handlers failed
SIGN_ID: Final = 44  # characters of a signId
SLASH: Final = ord("/")
MAX_NUMBER: Final = 2**62  # a row that says more is damaged
MAX_ERROR: Final = 1000  # characters of an error that are kept


class _Value(Struct, array_like=True):
    lane: Lane
    epoch: Integer
    seq: Integer
    at: Integer
    told: bool
    error: str
    payload: bytes


_tail = struct.Struct(">QQQ")  # number, expires, size: the end of a key
_values = Decoder(_Value, MAX_PAYLOAD + 64 * 1024)


class InboxKey(NamedTuple):
    """Where a kept message is, and what of it is counted. ``expires``: Unix milliseconds of this node's clock."""

    prefix: bytes
    peer: str
    protocol: str
    topic: str
    number: int
    expires: int
    size: int
    encoded: bytes


class InboxMessage(NamedTuple):
    """A message that is kept.

    ``at``: when it came, in Unix milliseconds. ``told``: whether its sender knows its end. ``error``: what its handlers
    raised, "" when it waits for them.
    """

    peer: str
    lane: int
    epoch: int
    seq: int
    topic: str
    protocol: str
    payload: bytes
    expires: int
    at: int
    told: bool = False
    error: str = ""

    @property
    def id(self) -> str:
        """The id of the delivery at its sender, with the sender behind the @."""
        return make_id(self.peer, self.lane, self.epoch, self.seq)

    def key(self, number: int) -> InboxKey:
        """Return the key under which the message is kept as the ``number``-th that came."""
        prefix, size = FAILED if self.error else HELD, len(self.payload) + OVERHEAD
        encoded = topic_prefix(prefix, self.peer, self.protocol, self.topic)
        encoded += _tail.pack(number, self.expires, size)
        return InboxKey(prefix, self.peer, self.protocol, self.topic, number, self.expires, size, encoded)

    def ended(self, ending: Ending) -> Entry:
        """Return what tells its sender how the message ended."""
        return self.lane, self.epoch, self.seq, self.seq, *ending

    def among_failed(self, error: str) -> "InboxMessage":
        """Return the message as one whose handlers failed."""
        return self._replace(error=error[:MAX_ERROR] or "failed", told=True)

    def among_waiting(self, expires: int) -> "InboxMessage":
        """Return the message as one that waits for handlers until ``expires``."""
        return self._replace(error="", expires=expires)


KeptMessage = tuple[InboxKey, InboxMessage]


def topic_prefix(prefix: bytes, peer: str, protocol: str, topic: str) -> bytes:
    """Return the start of the keys of all messages of one topic."""
    return b"%b%b/%b\0%b\0" % (prefix, peer.encode(), protocol.encode(), topic.encode())


def parse_key(key: bytes) -> InboxKey | None:
    """Return what the key of a kept message says, None for a damaged key."""
    place = _parse_place(key[: -_tail.size])
    if place is None:
        return None
    number, expires, size = _tail.unpack_from(key, len(key) - _tail.size)
    if number >= MAX_NUMBER or size > MAX_PAYLOAD + OVERHEAD:
        return None
    return InboxKey(*place, number, expires, size, key)


def number_of(key: bytes) -> int:
    """Return the number in a sound key of a kept message."""
    return int.from_bytes(key[-24:-16])


@lru_cache(maxsize=256)
def _parse_place(start: bytes) -> tuple[bytes, str, str, str] | None:
    """Return what the start of a key says, up to the topic: prefix, peer, protocol and topic; most keys share it."""
    prefix = HELD if start.startswith(HELD) else FAILED
    parts = start[len(prefix) + SIGN_ID + 1 :].split(b"\0")
    if len(parts) != 3 or parts[2] or not start.startswith(prefix) or start[len(prefix) + SIGN_ID] != SLASH:
        return None
    try:
        peer = start[len(prefix) : len(prefix) + SIGN_ID].decode("ascii")
        return prefix, peer, parts[0].decode(), parts[1].decode()
    except UnicodeDecodeError:
        return None


def encode_message(message: InboxMessage) -> bytes:
    """Return the value of the row of a kept message."""
    m = message
    return encode(_Value(m.lane, m.epoch, m.seq, m.at, m.told, m.error, m.payload))


def decode_message(key: InboxKey, data: bytes) -> InboxMessage:
    """Return the message under ``key``. Raises CodecError."""
    v = _values.decode(data)
    return InboxMessage(
        key.peer, v.lane, v.epoch, v.seq, key.topic, key.protocol, v.payload, key.expires, v.at, v.told, v.error
    )
