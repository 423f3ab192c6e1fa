"""What an acknowledgement says of messages that were not simply delivered, for their sender. Sans-I/O."""

from bisect import bisect_right

from mmplatform.delivery.outgoing_stream import OutgoingStream
from mmplatform.delivery.wire import Ack, End, to_ranges
from mmplatform.message import DELIVERED, EXPIRED, Outcome
from mmplatform.text import escaped


def outcomes_of(seqs: list[int], exceptions: list[tuple[int, int, End, str]]) -> tuple[dict[int, Outcome], list[int]]:
    """Return the outcomes of ``seqs``, and those of ``seqs`` that the peer keeps.

    Each is looked up in the disjoint ``exceptions``, however wide they claim to be.
    """
    found: dict[int, Outcome] = {}
    kept: list[int] = []
    exceptions = sorted(exceptions)
    starts = [low for low, _, _, _ in exceptions]
    for seq in seqs:
        position = bisect_right(starts, seq) - 1
        if position < 0 or seq > exceptions[position][1]:
            continue
        _, _, end, text = exceptions[position]
        if end is End.KEPT:
            kept.append(seq)
        elif end is not End.DELIVERED:
            found[seq] = outcome_of(end, text)
    return found, kept


def outcome_of(end: End, text: str) -> Outcome:
    """Return how a message ended, as its peer says. A message that is kept has not ended."""
    if end is End.EXPIRED:
        return EXPIRED
    if end is End.DELIVERED:
        return DELIVERED
    return Outcome("failed" if end is End.FAILED else "refused", escaped(text))


def expiries(stream: OutgoingStream, ack: Ack) -> dict[int, int]:
    """Return when the records expire that an acknowledgement may say are kept."""
    last = max((high for _, high, end, _ in ack.outcomes if end is End.KEPT), default=0)
    if last < stream.base:
        return {}
    found = {record.seq: record.expires for record in stream.flight}
    for record in stream.waiting:
        if record.seq > last:
            break
        found[record.seq] = record.expires
    return found


def to_expiring_ranges(seqs: list[int], expiry: dict[int, int]) -> list[tuple[int, int, int]]:
    """Return ``seqs`` as ranges, each with the last expiry in it."""
    return [(low, high, max(expiry.get(seq, 0) for seq in range(low, high + 1))) for low, high in to_ranges(set(seqs))]
