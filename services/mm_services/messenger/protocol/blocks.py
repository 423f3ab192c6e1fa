"""The blocks of a content: each has its hash, and what the hashes hash to stands in the header.

So a carrier checks a block as soon as it has it, and takes a content up where it stopped, on another day and from
another carrier (docs/protocol/messenger.rst, "Blocks").
"""

from typing import Final

from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.limits import BLOCK, HASH
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import digest

BLOCK_LABEL: Final = "mm/1 bundle block"
ROOT_LABEL: Final = "mm/1 bundle root"


def count(length: int) -> int:
    """Return how many blocks ``length`` bytes have."""
    return -(-length // BLOCK)


def hashes_of(content: bytes) -> bytes:
    """Return the hashes of the blocks of a content, joined."""
    return b"".join(digest(BLOCK_LABEL, content[at : at + BLOCK]) for at in range(0, len(content), BLOCK))


def root_of(length: int, hashes: bytes) -> bytes:
    """Return what stands in the header for a content of ``length`` bytes with these ``hashes``."""
    return digest(ROOT_LABEL, length.to_bytes(8), hashes)


def check_hashes(header: Header, hashes: bytes) -> None:
    """Raise ProtocolError ("bad-content") unless ``hashes`` are those of the blocks that the sender signed."""
    if len(hashes) != count(header.length) * HASH or root_of(header.length, hashes) != header.root:
        raise ProtocolError("bad-content", "the hashes of the blocks are not those that were signed")


def check_block(header: Header, hashes: bytes, offset: int, block: bytes) -> None:
    """Raise ProtocolError unless ``block`` is that of the content at ``offset``: "bad-offset" for a place where none
    begins, "bad-content" for one of another size or with another hash."""
    if offset % BLOCK or not 0 <= offset < header.length:
        raise ProtocolError("bad-offset", f"no block of {header.length} bytes begins at {offset}")
    place = offset // BLOCK * HASH
    right_size = len(block) == min(BLOCK, header.length - offset)
    if not right_size or digest(BLOCK_LABEL, block) != hashes[place : place + HASH]:
        raise ProtocolError("bad-content", f"the block at {offset} is not what was signed")


def verified(header: Header, hashes: bytes, content: bytes) -> int:
    """Return how many bytes at the start of ``content``, which may be cut off, are whole blocks that were signed."""
    for offset in range(0, min(len(content), header.length), BLOCK):
        try:
            check_block(header, hashes, offset, content[offset : offset + BLOCK])
        except ProtocolError:
            return offset
    return min(len(content), header.length)
