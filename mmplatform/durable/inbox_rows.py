"""The rows of the inbox: how their keys and values are made and read.

The key of a kept message has all that is needed to count it, so a start reads keys only. Keys sort by sender, protocol,
topic and number, so a scan finds the messages of a topic in the order in which they came.
"""

from dataclasses import dataclass, replace
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.receipts import EndOfOne
from mmplatform.delivery.sender import LANES
from mmplatform.delivery.wire import OVERHEAD, End, Ending, Integer, Lane, Short
from mmplatform.errors import CodecError
from mmplatform.message import MAX_PAYLOAD

HELD: Final = b"held/"  # the start of the keys of messages that wait for a handler
FAILED: Final = b"failed/"  # of those whose handlers failed
ENDED: Final = b"ended/"  # of ends that are not told to their senders yet
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


class _End(Struct, array_like=True):
    end: End
    text: Short


_values = Decoder(_Value, MAX_PAYLOAD + 64 * 1024)
_ends = Decoder(_End, 4096)


@dataclass(frozen=True, slots=True)
class InboxKey:
    """Where a kept message is, and what of it is counted. ``expires``: Unix milliseconds of this node's clock."""

    prefix: bytes
    peer: str
    protocol: str
    topic: str
    number: int
    expires: int
    size: int
    encoded: bytes


@dataclass(frozen=True, slots=True)
class InboxMessage:
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
        return f"{self.epoch}.{self.lane}.{self.seq}@{self.peer}"

    def key(self, number: int) -> InboxKey:
        """Return the key under which the message is kept as the ``number``-th that came."""
        prefix, size = FAILED if self.error else HELD, len(self.payload) + OVERHEAD
        encoded = topic_prefix(prefix, self.peer, self.protocol, self.topic)
        encoded += number.to_bytes(8) + self.expires.to_bytes(8) + size.to_bytes(8)
        return InboxKey(prefix, self.peer, self.protocol, self.topic, number, self.expires, size, encoded)

    def among_failed(self, error: str) -> "InboxMessage":
        """Return the message as one whose handlers failed."""
        return replace(self, error=error[:MAX_ERROR] or "failed", told=True)

    def among_waiting(self, expires: int) -> "InboxMessage":
        """Return the message as one that waits for handlers until ``expires``."""
        return replace(self, error="", expires=expires)


def topic_prefix(prefix: bytes, peer: str, protocol: str, topic: str) -> bytes:
    """Return the start of the keys of all messages of one topic."""
    return b"%b%b/%b\0%b\0" % (prefix, peer.encode(), protocol.encode(), topic.encode())


def parse_key(key: bytes) -> InboxKey | None:
    """Return what the key of a kept message says, None for a damaged key."""
    prefix = HELD if key.startswith(HELD) else FAILED
    parts = key[len(prefix) + SIGN_ID + 1 : -24].split(b"\0")
    if len(parts) != 3 or parts[2] or not key.startswith(prefix):
        return None
    number, expires, size = (int.from_bytes(key[at : at + 8]) for at in range(len(key) - 24, len(key), 8))
    if key[len(prefix) + SIGN_ID] != SLASH or number >= MAX_NUMBER or size > MAX_PAYLOAD + OVERHEAD:
        return None
    try:
        peer = key[len(prefix) : len(prefix) + SIGN_ID].decode("ascii")
        return InboxKey(prefix, peer, parts[0].decode(), parts[1].decode(), number, expires, size, key)
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


def ended_row(message: InboxMessage, ending: Ending) -> tuple[bytes, bytes]:
    """Return the row that notes how a message ended until its sender is told."""
    place = bytes([message.lane]) + message.epoch.to_bytes(8) + message.seq.to_bytes(8)
    return ENDED + message.peer.encode() + b"/" + place, encode(_End(*ending))


def parse_ended(key: bytes, value: bytes) -> tuple[str, bytes, EndOfOne]:
    """Return the peer, the key and the end that a row notes. Raises CodecError."""
    place = key[len(ENDED) + SIGN_ID + 1 :]
    peer = key[len(ENDED) : len(ENDED) + SIGN_ID]
    epoch, seq = int.from_bytes(place[1:9]), int.from_bytes(place[9:])
    if len(place) != 17 or place[0] >= LANES or not peer.isascii() or max(epoch, seq) >= 2**53:
        raise CodecError("the key of an end is damaged")
    said = _ends.decode(value)
    if said.end is End.KEPT:
        raise CodecError("a message that is kept has not ended")
    return peer.decode(), key, (place[0], epoch, seq, said.end, said.text)
