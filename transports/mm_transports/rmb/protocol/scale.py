"""SCALE, the encoding of Substrate (https://docs.polkadot.com/polkadot-protocol/parachain-basics/data-encoding/).

Sans-I/O. As much of it as twins, their changes and the description of both need. There is one form of everything: what
is read in another one is refused.
"""

from collections.abc import Iterable
from typing import Final

from mmplatform.errors import ProtocolError

_FOUR_BYTES: Final = 2  # the mode of a compact number, in its two lowest bits; 3 is a number of its own length
_LONG_MODE: Final = 3
_MAX_COMPACT_BYTES: Final = 8


def compact(number: int) -> bytes:
    """Encode a number below 2**64, the shorter the smaller it is."""
    if number < 1 << 6:
        return (number << 2).to_bytes(1)
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    if number < 1 << 30:
        return (number << 2 | _FOUR_BYTES).to_bytes(4, "little")
    size = (number.bit_length() + 7) // 8
    return (size - 4 << 2 | _LONG_MODE).to_bytes(1) + number.to_bytes(size, "little")


def u32(number: int) -> bytes:
    """Encode a number of 32 bits."""
    return number.to_bytes(4, "little")


def octets(data: bytes) -> bytes:
    """Encode bytes of any length."""
    return compact(len(data)) + data


def text(words: str) -> bytes:
    """Encode a text."""
    return octets(words.encode())


def vector(elements: Iterable[bytes]) -> bytes:
    """Encode a list of encoded elements."""
    found = list(elements)
    return compact(len(found)) + b"".join(found)


def option(element: bytes | None) -> bytes:
    """Encode an encoded element, or that there is none."""
    return b"\x00" if element is None else b"\x01" + element


class Scale:
    """Reads a value from its start to its end; every method raises ProtocolError for what cannot be."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._at

    def fixed(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        if size > self.left:
            raise ProtocolError("cut", "a value goes on behind the end")
        self._at += size
        return self._data[self._at - size : self._at]

    def u8(self) -> int:
        return self.fixed(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.fixed(4), "little")

    def compact(self) -> int:
        """Read a number below 2**64 in its shortest form."""
        first = self.u8()
        mode = first & 3
        if mode == _LONG_MODE:
            size = (first >> 2) + 4
            if size > _MAX_COMPACT_BYTES:
                raise ProtocolError("too-large", "a number beyond 64 bits")
            number = int.from_bytes(self.fixed(size), "little")
        else:
            rest = self.fixed((1 << mode) - 1)
            number = int.from_bytes(bytes((first,)) + rest, "little") >> 2
            size = 1 + len(rest)
        if len(compact(number)) != size + (mode == _LONG_MODE):
            raise ProtocolError("long-number", "a number in more bytes than it needs")
        return number

    def octets(self, most: int) -> bytes:
        """Read at most ``most`` bytes behind their number."""
        size = self.compact()
        if size > most:
            raise ProtocolError("too-long", f"{size} bytes, at most {most}")
        return self.fixed(size)

    def option(self) -> bool:
        """Read whether something follows."""
        flag = self.u8()
        if flag > 1:
            raise ProtocolError("bad-option", f"there is a value (1), or none (0), not {flag}")
        return flag == 1

    def end(self) -> None:
        """Make sure that all was read."""
        if self.left:
            raise ProtocolError("too-long", f"{self.left} bytes behind the end of a value")
