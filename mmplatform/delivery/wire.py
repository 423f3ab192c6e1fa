"""The packets that travel inside a session: messages and acknowledgements (docs/protocol/delivery.rst).

Every value is a MessagePack array, every integer is below 2**53, times are Unix milliseconds of the sender's clock.
"""

from enum import IntEnum
from typing import Annotated, Final

from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import CodecError, ProtocolError
from mmplatform.message import MAX_PAYLOAD, MAX_TOPIC

WINDOW: Final = 8192  # messages of one lane that may be unsettled at the receiver
WINDOW_BYTES: Final = 4 * 1024 * 1024  # bytes of one lane that may be unsettled at the receiver
MAX_ACKS: Final = 256  # acknowledgements, and batches, in one frame
MAX_RANGES: Final = 64  # ranges in one acknowledgement
MAX_OUTCOMES: Final = WINDOW  # exceptional outcomes remembered of one stream; a forgotten one is told as delivered
MAX_HEAD: Final = 64 * 1024  # bytes that the encoding of a record or frame has beyond its one payload, at most
MAX_FRAME: Final = MAX_PAYLOAD + MAX_HEAD  # one frame put together from its parts
MAX_MIXED: Final = 256 * 1024  # bytes of a frame with several items, so that none is work for long
MAX_LETTER: Final = 1024  # records of one batch of a larger frame in mail
TOO_LARGE: Final = "too-large"  # why a link is closed, or a message refused
OVERHEAD: Final = 64  # what a record with an ordinary topic weighs beyond its payload

Integer = Annotated[int, Meta(ge=0, lt=2**53)]
Lane = Annotated[int, Meta(ge=0, le=3)]
Topic = Annotated[str, Meta(max_length=MAX_TOPIC)]
Short = Annotated[str, Meta(max_length=200)]


class End(IntEnum):
    """How a message ended. One that is ``KEPT`` is on the disk of its recipient; a receipt tells its end later."""

    DELIVERED = 0
    KEPT = 1
    EXPIRED = 2
    FAILED = 3
    REFUSED = 4


Ending = tuple[End, str]  # the text is for the sender
TAKEN: Final[Ending] = (End.DELIVERED, "")
UNHEARD: Final[Ending] = (End.REFUSED, "unhandled")


class Record(Struct, array_like=True, gc=False):
    """A numbered message; ``expires`` in Unix milliseconds. A record without a topic is a tombstone."""

    seq: Integer
    expires: Integer
    topic: Topic
    protocol: Short
    payload: bytes


def tombstone(seq: int, expires: int = 0) -> Record:
    """Make the record that stands for a message that was cancelled, expired or never saved."""
    return Record(seq, expires, "", "", b"")


class Piece(Struct, array_like=True, gc=False):
    """A part of the encoding of one numbered message that is too large for a frame."""

    seq: Integer
    offset: Integer
    total: Integer
    data: bytes


class Batch(Struct, array_like=True):
    """Messages of one stream. All below ``base`` is settled: the sender holds nothing of it."""

    lane: Lane
    epoch: Integer
    base: Integer
    records: Annotated[list[Record], Meta(max_length=WINDOW)]
    pieces: Annotated[list[Piece], Meta(max_length=WINDOW)]


class Ack(Struct, array_like=True):
    """What is taken of one stream: all up to ``upto``, and ``ranges`` above it; ``outcomes`` are the exceptions.

    An outcome is (low, high, end, text for the sender).
    ``partial`` is (sequence, bytes held) of a message whose pieces are coming in, or empty.
    """

    lane: Lane
    epoch: Integer
    upto: Integer
    ranges: Annotated[list[tuple[Integer, Integer]], Meta(max_length=MAX_RANGES)]
    outcomes: Annotated[list[tuple[Integer, Integer, End, Short]], Meta(max_length=MAX_OUTCOMES)]
    partial: Annotated[list[Integer], Meta(max_length=2)]


def joined(earlier: Ack, later: Ack) -> Ack:
    """Make one acknowledgement of two of a stream: how messages ended is told once, so the earlier one says it, too."""
    if not earlier.outcomes:
        return later
    outcomes = [*earlier.outcomes, *later.outcomes][-MAX_OUTCOMES:]
    return Ack(later.lane, later.epoch, later.upto, later.ranges, outcomes, later.partial)


class Event(Struct, array_like=True, gc=False):
    """A realtime message: no number, no state."""

    topic: Topic
    protocol: Short
    payload: bytes


class Request(Struct, array_like=True, gc=False):
    """A question that a handler of the peer is to answer; its reply carries the same ``id``."""

    id: Integer
    topic: Topic
    protocol: Short
    payload: bytes


class Reply(Struct, array_like=True, gc=False):
    """The answer to a request. ``status``: OK, FAILED (the payload is the error in UTF-8) or NO_RESPONDERS."""

    id: Integer
    status: Integer
    payload: bytes


OK: Final = 0
FAILED: Final = 1
NO_RESPONDERS: Final = 2


class Frame(Struct, array_like=True, tag=0):
    """All that one loop turn sends. The sender waits for no reply below ``floor``: the peer may forget those.

    A frame with nothing else in it says that its sender goes on over this link.
    """

    now: Integer
    floor: Integer
    acks: Annotated[list[Ack], Meta(max_length=MAX_ACKS)]
    batches: Annotated[list[Batch], Meta(max_length=MAX_ACKS)]
    events: list[Event]
    requests: list[Request]
    replies: list[Reply]

    @property
    def empty(self) -> bool:
        """Whether the frame only says which link its sender goes on over."""
        return not (self.batches or self.replies or self.requests or self.acks or self.events)


class _LargeFrame(Frame, array_like=True, tag=0):
    """A frame above MAX_MIXED bytes: one large item."""

    acks: Annotated[list[Ack], Meta(max_length=1)]
    batches: Annotated[list[Batch], Meta(max_length=0)]  # what is large of them is in pieces
    events: Annotated[list[Event], Meta(max_length=1)]
    requests: Annotated[list[Request], Meta(max_length=1)]
    replies: Annotated[list[Reply], Meta(max_length=1)]


class _LargeBatch(Batch, array_like=True):
    records: Annotated[list[Record], Meta(max_length=MAX_LETTER)]
    pieces: Annotated[list[Piece], Meta(max_length=0)]


class _LargeMail(Frame, array_like=True, tag=0):
    """A frame above MAX_MIXED bytes that came by mail: a message that fills an envelope, or some long ones."""

    batches: Annotated[list[_LargeBatch], Meta(max_length=4)]  # type: ignore[assignment]  # a list of batches
    events: Annotated[list[Event], Meta(max_length=0)]
    requests: Annotated[list[Request], Meta(max_length=0)]
    replies: Annotated[list[Reply], Meta(max_length=0)]


class Part(Struct, array_like=True, tag=1):
    """A slice of the encoding of one frame that is larger than the link takes."""

    offset: Integer
    total: Integer
    data: bytes


class Ping(Struct, array_like=True, tag=2):
    """Asks the peer for a Pong with the same ``id`` at once."""

    id: Integer


class Pong(Struct, array_like=True, tag=3):
    """Answers a Ping."""

    id: Integer


class Close(Struct, array_like=True, tag=4):
    """Says that the sender closes the link, and why: a reason word of the specification."""

    reason: Short


class Again(Struct, array_like=True, tag=5):
    """Asks the sender of one stream to send again what is not settled: some of it was left with the sender."""

    lane: Lane
    epoch: Integer


class Resumption(Struct, array_like=True):
    """The resume state in a handshake: the epoch of the sender, its clock in Unix ms, and what it has handled."""

    epoch: Integer
    now: Integer
    acks: Annotated[list[Ack], Meta(max_length=MAX_ACKS)]


Packet = Frame | Part | Ping | Pong | Close | Again

_packets: Decoder[Packet] = Decoder(Packet, MAX_MIXED)  # type: ignore[arg-type]  # a union is not a class
_large_frames = Decoder(_LargeFrame, MAX_FRAME)
_large_mail = Decoder(_LargeMail, MAX_FRAME)
_resumes = Decoder(Resumption, 64 * 1024)
_records = Decoder(Record, MAX_FRAME)


def decode_packet(data: bytes | bytearray) -> Packet:
    """Decode the packet in ``data``. Raises ProtocolError("bad-packet")."""
    try:
        return _packets.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", str(error)) from None


def decode_joined(data: bytes) -> Packet:
    """Decode the packet that was put together from ``data``, which may be a frame of one large item.

    Raises ProtocolError("bad-packet").
    """
    if len(data) <= MAX_MIXED:
        return decode_packet(data)
    try:
        frame = _large_frames.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", f"{len(data)} bytes, and not one large item: {error}") from None
    if len(frame.acks) + len(frame.events) + len(frame.requests) + len(frame.replies) != 1:
        raise ProtocolError("bad-packet", f"{len(data)} bytes, and not one large item")
    return frame


def decode_mail(data: bytes) -> Packet:
    """Decode the packet in an envelope, perhaps with one large message. Raises ProtocolError("bad-packet")."""
    if len(data) <= MAX_MIXED:
        return decode_packet(data)
    try:
        return _large_mail.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", str(error)) from None


def decode_resume(data: bytes) -> Resumption:
    """Decode the resume state that a handshake carried. Raises ProtocolError("bad-packet")."""
    try:
        return _resumes.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", str(error)) from None


def decode_record(data: bytes) -> Record:
    """Decode a record that was put together from pieces. Raises ProtocolError("bad-packet")."""
    try:
        return _records.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", str(error)) from None


def encode_packet(packet: Packet | Resumption | Record) -> bytes:
    """Encode a packet, a resume state, or a record that will be cut into pieces, as MessagePack."""
    return encode(packet)


def size_of(record: Record) -> int:
    """Return how many bytes a record counts in windows and quotas."""
    return len(record.payload) + OVERHEAD


def to_ranges(numbers: set[int]) -> list[tuple[int, int]]:
    """Return the numbers as inclusive ranges, in order."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
