"""Reads and writes the fields of protobuf messages (docs/protocol/rmb.rst, "Fields"), stricter than protobuf asks.

A signature covers what the fields say, not their bytes. So that everybody reads the same in them, a field that comes
twice, a number in a longer form than it needs and a wire type that is not the field's are refused.
"""

from collections.abc import Mapping
from typing import Final

from mmplatform.errors import ProtocolError

VARINT: Final = 0  # the wire types
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

U32: Final = 2**32 - 1
U64: Final = 2**64 - 1
MOST_UNKNOWN: Final = 32  # fields of later versions in one message

_LONGEST_VARINT: Final = 10
_LAST_NUMBER: Final = 2**29 - 1  # of a field, as protobuf has it
_FIXED: Final = {FIXED64: 8, FIXED32: 4}

Shape = Mapping[int, int]
"""What a message may hold: the key of a field (number and wire type) -> its largest value, or most bytes."""

_NOTHING: Final[Shape] = {}


class Fields:
    """What was found in a message. A repeated field is in ``lists``, every other one in ``numbers`` or ``chunks``."""

    __slots__ = ("chunks", "lists", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.chunks: dict[int, bytes] = {}
        self.lists: dict[int, list[bytes]] = {}


def key(number: int, wire_type: int) -> int:
    """Return what stands before the value of a field."""
    return number << 3 | wire_type


def read_fields(data: bytes, shape: Shape, repeated: Shape = _NOTHING) -> Fields:
    """Read a message; ``repeated`` has the keys of repeated fields, with how often each may come.

    Raises ProtocolError. No value is cut out before its length was compared with what its field may have.
    """
    found, unknown, at, end = Fields(), 0, 0, len(data)
    while at < end:
        name = data[at]
        at += 1
        if name > 0x7F:
            name, at = _varint(data, at - 1, U32)
        most = shape.get(name)
        if most is None:
            at, unknown = _skip(data, name, at, shape), unknown + 1
            if unknown > MOST_UNKNOWN:
                raise ProtocolError("too-many", f"more than {MOST_UNKNOWN} unknown fields")
        elif name & 7 == VARINT:
            number, at = _varint(data, at, most)
            if name in found.numbers:
                raise _twice(name)
            found.numbers[name] = number
        else:
            chunk, at = _chunk(data, at, most)
            _keep(found, name, chunk, repeated)
    return found


def number_field(name: int, value: int) -> bytes:
    """Write a number; 0 is what an absent field means, so it is left out. Raises ProtocolError."""
    if value < 0:
        raise ProtocolError("too-large", "a number below 0")
    return _encoded(name) + _encoded(value) if value else b""


def bytes_field(name: int, value: bytes | None) -> bytes:
    """Write bytes, also when there are none of them; None is an absent field."""
    return b"" if value is None else b"".join((_encoded(name), _encoded(len(value)), value))


def text_field(name: int, value: str | None) -> bytes:
    """Write a text as UTF-8. Raises ProtocolError for surrogates, which UTF-8 has not."""
    try:
        return b"" if value is None else bytes_field(name, value.encode())
    except UnicodeEncodeError:
        raise ProtocolError("not-utf-8", "a text is not UTF-8") from None


def text(chunk: bytes) -> str:
    """Return the text of a field. Raises ProtocolError."""
    try:
        return chunk.decode()
    except UnicodeDecodeError:
        raise ProtocolError("not-utf-8", "a text is not UTF-8") from None


def _keep(found: Fields, name: int, chunk: bytes, repeated: Shape) -> None:
    if name in repeated:
        listed = found.lists.setdefault(name, [])
        if len(listed) >= repeated[name]:
            raise ProtocolError("too-many", f"field {name >> 3} comes more than {repeated[name]} times")
        listed.append(chunk)
        return
    if name in found.chunks:
        raise _twice(name)
    found.chunks[name] = chunk


def _chunk(data: bytes, at: int, most: int) -> tuple[bytes, int]:
    if at < len(data) and data[at] < 0x80:  # by far the most
        size, at = data[at], at + 1
    else:
        size, at = _varint(data, at, U64)
    if size > most:
        raise ProtocolError("too-long", f"a field of {size} bytes where {most} may be")
    end = at + size
    if end > len(data):
        raise ProtocolError("cut", "a field goes on behind the end")
    return data[at:end], end


def _skip(data: bytes, name: int, at: int, shape: Shape) -> int:
    """Return where an unknown field ends."""
    number, wire_type = name >> 3, name & 7
    if not 0 < number <= _LAST_NUMBER:
        raise ProtocolError("bad-key", f"no field has the number {number}")
    if any(number == known >> 3 for known in shape):
        raise ProtocolError("bad-key", f"field {number} has the wire type {wire_type}")
    if wire_type == VARINT:
        return _varint(data, at, U64)[1]
    if wire_type == BYTES:
        size, at = _varint(data, at, U64)
        end = at + size
    elif wire_type in _FIXED:
        end = at + _FIXED[wire_type]
    else:
        raise ProtocolError("bad-key", f"wire type {wire_type} is none")
    if end > len(data):
        raise ProtocolError("cut", "a field goes on behind the end")
    return end


def _varint(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Return the number at ``at`` and where it ends."""
    value = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise ProtocolError("long-number", "a number in a longer form than it needs")
            if value > most:
                raise ProtocolError("too-large", f"a number above {most}")
            return value, at
        shift += 7
    raise ProtocolError("cut" if at == len(data) else "too-large", "a number does not end")


def _encoded(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes(1)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _twice(name: int) -> ProtocolError:
    return ProtocolError("twice", f"field {name >> 3} comes twice")
