"""XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) of short texts, by which constants are checked."""

_MASK = 2**64 - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip


def _turned(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & _MASK


def _xxh64(data: bytes, seed: int) -> int:
    """Hash fewer than 32 bytes."""
    assert len(data) < 32
    out = (seed + _P5 + len(data)) & _MASK
    while len(data) >= 8:
        lane = _turned(int.from_bytes(data[:8], "little") * _P2 & _MASK, 31) * _P1 & _MASK
        out, data = (_turned(out ^ lane, 27) * _P1 + _P4) & _MASK, data[8:]
    if len(data) >= 4:
        out = (_turned(out ^ int.from_bytes(data[:4], "little") * _P1 & _MASK, 23) * _P2 + _P3) & _MASK
        data = data[4:]
    for byte in data:
        out = _turned(out ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    out = (out ^ out >> 33) * _P2 & _MASK
    out = (out ^ out >> 29) * _P3 & _MASK
    return out ^ out >> 32


def twox_128(text: str) -> bytes:
    """Return what Substrate calls TwoX 128: XXH64 with the seeds 0 and 1."""
    return b"".join(_xxh64(text.encode(), seed).to_bytes(8, "little") for seed in (0, 1))
