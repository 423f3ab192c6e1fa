"""Cuts a frame that is too large in two: frames with several items have a limit (docs/protocol/delivery.rst)."""

from collections.abc import Iterator
from typing import TypeVar

from mmplatform.delivery.wire import Batch, Frame

T = TypeVar("T")


def halves(frame: Frame) -> list[Frame]:
    """Return two frames that say the same as ``frame``, one after the other; none when it has a single item."""
    singles = [single for batch in frame.batches for single in _singles(batch)]
    room = (len(frame.acks) + len(singles) + len(frame.events) + len(frame.requests) + len(frame.replies)) // 2
    if not room:
        return []
    first, second = Frame(frame.now, frame.floor, [], [], [], [], []), Frame(frame.now, frame.floor, [], [], [], [], [])
    first.acks, second.acks, room = _cut(frame.acks, room)
    batches, others, room = _cut(singles, room)
    first.batches, second.batches = _together(batches), _together(others)
    first.events, second.events, room = _cut(frame.events, room)
    first.requests, second.requests, room = _cut(frame.requests, room)
    first.replies, second.replies, room = _cut(frame.replies, room)
    return [first, second]


def _cut(items: list[T], room: int) -> tuple[list[T], list[T], int]:
    return items[:room], items[room:], max(0, room - len(items))


def _singles(batch: Batch) -> Iterator[Batch]:
    """Yield the records of a batch, and then its pieces, each in a batch of its own."""
    for record in batch.records:
        yield Batch(batch.lane, batch.epoch, batch.base, [record], [])
    for piece in batch.pieces:
        yield Batch(batch.lane, batch.epoch, batch.base, [], [piece])


def _together(singles: list[Batch]) -> list[Batch]:
    """Return the fewest batches that say the same."""
    batches: list[Batch] = []
    for single in singles:
        last = batches[-1] if batches else None
        if last is None or _place(last) != _place(single) or (last.pieces and single.records):
            batches.append(single)
        else:
            last.records += single.records
            last.pieces += single.pieces
    return batches


def _place(batch: Batch) -> tuple[int, int, int]:
    return batch.lane, batch.epoch, batch.base
