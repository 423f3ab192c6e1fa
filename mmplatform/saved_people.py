"""The rows of whom a node knows: also for who reads them without a node, to complete names in a shell."""

from typing import Final

from mmplatform.codec import Decoder, Struct
from mmplatform.errors import CodecError

CIRCLES: Final = b"circle/"  # the start of the keys of all members of circles
PEERS: Final = b"peer/"  # the start of the keys of all peers


class DirectoryRow(Struct, array_like=True):
    """What is saved of one peer."""

    record: bytes
    name: str
    found_by: str
    added: bool


_numbers: Decoder[int] = Decoder(int, 16)
_rows = Decoder(DirectoryRow, 16 * 1024)


def circle_prefix(circle: str) -> bytes:
    """Return the start of the keys of the members of a circle: each has a row, so that a change costs the same however
    many there are."""
    return CIRCLES + circle.encode() + b"/"


def member_in(key: bytes, value: bytes) -> tuple[str, int]:
    """Return the member in a row, and its number: a higher one came later. Raises CodecError."""
    try:
        return key.removeprefix(CIRCLES).partition(b"/")[2].decode("ascii"), _numbers.decode(value)
    except UnicodeDecodeError:
        raise CodecError("a key that is not ASCII") from None


def peer_in(row: bytes) -> DirectoryRow:
    """Return what the saved row of a peer says. Raises CodecError."""
    return _rows.decode(row)
