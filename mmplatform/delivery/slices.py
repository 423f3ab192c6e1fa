"""Cuts a frame with many items into frames of a few, in order: one is worked on at a time, others come between."""

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from mmplatform.delivery.wire import (
    MAX_MIXED,
    Ack,
    Batch,
    Event,
    Frame,
    Packet,
    Part,
    Reply,
    Request,
    encode_packet,
)  # fmt: skip

PART_HEAD: Final = 64  # bytes that a part has beside its slice, at most
WORK: Final = 2  # realtime messages that are as much work as a durable one, or a request
WORK_OF_STREAM: Final = 8  # that are as much work as a batch, whose stream may be new
OUTCOMES: Final = 16  # outcomes of an acknowledgement that weigh as much as a realtime message

Item = TypeVar("Item")


def weight(frame: Frame) -> int:
    """Return about how much work ``frame`` is, in realtime messages."""
    work = len(frame.events) + WORK * (len(frame.requests) + len(frame.replies))
    for batch in frame.batches:
        work += WORK_OF_STREAM + WORK * (len(batch.records) + len(batch.pieces))
    for ack in frame.acks:
        work += 1 + len(ack.ranges) + len(ack.outcomes) // OUTCOMES
    return work


def sliced(frame: Frame, most: int) -> Iterator[Frame]:
    """Yield ``frame`` in frames whose weight is about ``most``; acknowledgements come first, as in the frame itself."""
    some = max(1, most // WORK)
    for ack in frame.acks:
        yield _part(frame, acks=[ack])
    for batch in frame.batches:
        for part in _batches(batch, some):
            yield _part(frame, batches=[part])
    for events in _portions(frame.events, most):
        yield _part(frame, events=events)
    for requests in _portions(frame.requests, some):
        yield _part(frame, requests=requests)
    for replies in _portions(frame.replies, some):
        yield _part(frame, replies=replies)


def encodings(packet: Packet, room: int) -> Iterable[bytes]:
    """Return ``packet`` as packets of at most ``room`` bytes each: a frame that is too large for a peer in several, and
    what is still too large for the link in parts."""
    data = encode_packet(packet)
    return (data,) if len(data) <= room and len(data) <= MAX_MIXED else _divided(packet, data, room)


def _divided(packet: Packet, data: bytes, room: int) -> Iterator[bytes]:
    if len(data) > MAX_MIXED and type(packet) is Frame:
        frames = list(sliced(packet, max(1, _longest(packet) // 2)))
        if len(frames) > 1:
            for frame in frames:
                yield from encodings(frame, room)
            return
    if len(data) <= room:
        yield data
        return
    step = room - PART_HEAD
    for offset in range(0, len(data), step):
        yield encode_packet(Part(offset, len(data), data[offset : offset + step]))


def _longest(frame: Frame) -> int:
    """Return the weight of the longest list of ``frame``."""
    batches = [max(len(batch.records), len(batch.pieces)) for batch in frame.batches]
    return max(len(frame.events), WORK * max(len(frame.requests), len(frame.replies), *batches, 0))


def _part(
    frame: Frame,
    acks: list[Ack] | None = None,
    batches: list[Batch] | None = None,
    events: list[Event] | None = None,
    requests: list[Request] | None = None,
    replies: list[Reply] | None = None,
) -> Frame:
    return Frame(frame.now, frame.floor, acks or [], batches or [], events or [], requests or [], replies or [])


def _batches(batch: Batch, most: int) -> Iterator[Batch]:
    if not batch.records and not batch.pieces:
        yield batch
    for records in _portions(batch.records, most):
        yield Batch(batch.lane, batch.epoch, batch.base, records, [])
    for pieces in _portions(batch.pieces, most):
        yield Batch(batch.lane, batch.epoch, batch.base, [], pieces)


def _portions(items: list[Item], most: int) -> Iterator[list[Item]]:
    for at in range(0, len(items), most):
        yield items[at : at + most]
