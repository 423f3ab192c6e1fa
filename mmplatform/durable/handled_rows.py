"""The keys of the rows that say what was handled: one a stream, those of a peer side by side."""

from typing import Final

from mmplatform.delivery.sender import LANES

PREFIX: Final = b"handled/"


def prefix_of(peer: str) -> bytes:
    """Return what the keys of one peer begin with."""
    return PREFIX + peer.encode() + b"/"


def key_of(peer: str, lane: int, epoch: int) -> bytes:
    """Return the key of one stream."""
    return prefix_of(peer) + bytes([lane]) + epoch.to_bytes(8)


def parse_key(key: bytes) -> tuple[str, int, int]:
    """Return peer, lane and epoch of a key. Raises ValueError."""
    if len(key) != 62 or key[53] >= LANES:
        raise ValueError(f"a key of {len(key)} bytes")
    return key[8:52].decode("ascii"), key[53], int.from_bytes(key[54:])
