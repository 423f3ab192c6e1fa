"""Receipts: how messages ended that their recipient had kept for a handler to come (docs/protocol/delivery.rst).

A receipt is an ordinary durable message back to the sender. It may come twice, and then says nothing new.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from mmplatform.codec import Decoder, Meta, encode
from mmplatform.delivery.wire import End, Integer, Lane, Short
from mmplatform.errors import CodecError

PROTOCOL: Final = "receipt"  # on the wire; the topic is the same word
MAX_ENTRIES: Final = 4096
MAX_RECEIPT: Final = 1024 * 1024  # bytes
ENTRY_SIZE: Final = 48  # bytes of an entry beside its text, at most

Entry = tuple[Lane, Integer, Integer, Integer, End, Short]  # lane, epoch, low, high, end, text for the sender

_receipts: Decoder[list[Entry]] = Decoder(Annotated[list[Entry], Meta(max_length=MAX_ENTRIES)], MAX_RECEIPT)  # type: ignore[arg-type]  # no class


def encode_receipts(ends: Iterable[Entry]) -> list[bytes]:
    """Return the payloads that tell ``ends``; neighbours that ended alike share an entry."""
    return [encode(part) for part in _parts(joined(sorted(ends)))]


def joined(ends: Iterable[Entry]) -> list[Entry]:
    """Return ``ends`` with each one that goes on where the one before ends, and ended alike, joined to it."""
    entries: list[Entry] = []
    for lane, epoch, low, high, end, text in ends:
        if entries and entries[-1] == (lane, epoch, entries[-1][2], low - 1, end, text):
            entries[-1] = (lane, epoch, entries[-1][2], high, end, text)
        else:
            entries.append((lane, epoch, low, high, end, text))
    return entries


def _parts(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Cut a list into parts that a receipt holds."""
    first = size = 0
    for at, entry in enumerate(entries):
        more = ENTRY_SIZE + len(entry[5].encode())
        if at - first == MAX_ENTRIES or size + more > MAX_RECEIPT:
            yield entries[first:at]
            first, size = at, 0
        size += more
    if entries:
        yield entries[first:]


def decode_receipt(data: bytes) -> list[Entry]:
    """Return the entries of a receipt. Raises CodecError."""
    entries = _receipts.decode(data)
    if any(entry[4] is End.KEPT for entry in entries):
        raise CodecError("a message that is kept has not ended")
    if any(low > high for _, _, low, high, _, _ in entries):
        raise CodecError("a range that ends before it begins")
    return entries
