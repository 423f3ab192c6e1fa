"""The rows of whom a node knows: also for who reads them without a node, to complete names in a shell."""

from typing import Final

from mmplatform.codec import Decoder, Struct

CIRCLES: Final = b"circle/"  # the start of the keys of all circles
PEERS: Final = b"peer/"  # the start of the keys of all peers

_members: Decoder[list[str]] = Decoder(list[str], 16 * 1024 * 1024)


class DirectoryRow(Struct, array_like=True):
    """What is saved of one peer."""

    record: bytes
    name: str
    found_by: str
    added: bool


_rows = Decoder(DirectoryRow, 16 * 1024)


def members_in(row: bytes) -> list[str]:
    """Return the members in the saved row of a circle. Raises CodecError."""
    return _members.decode(row)


def peer_in(row: bytes) -> DirectoryRow:
    """Return what the saved row of a peer says. Raises CodecError."""
    return _rows.decode(row)
