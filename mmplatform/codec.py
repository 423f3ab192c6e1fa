"""MessagePack with limits; the only home of codec libraries.

Wire formats are typed (:class:`Struct` with :class:`Decoder`): one call decodes and validates a whole frame.
Application payloads are free-form (:func:`encode`, :func:`decode`): one byte of them can become 80 bytes of memory, so
the values in them are counted before any is made (:func:`holds_more`).
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from mmplatform.errors import CodecError, InvalidPayload
from mmplatform.text import escaped

__all__ = [
    "Decoder", "Meta", "Struct", "decode", "encode", "field", "holds_more", "is_model", "not_encodable", "pack",
    "unpack",
]  # fmt: skip

MAX_VALUES: Final = 128 * 1024  # values of which a free-form payload may consist, where nothing else is said

LONGEST_PLACE: Final = 200  # characters of the place of a value that cannot be sent

T = TypeVar("T")


def is_model(kind: object) -> bool:
    """Whether ``kind`` is a class of pydantic's models, told by what it has: pydantic need not be there."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "__pydantic_validator__")


def _plain(value: Any) -> object:
    """Return what a model consists of; called for values that MessagePack does not know."""
    if is_model(type(value)):
        return value.model_dump(by_alias=True, round_trip=True)
    raise TypeError("no value of this type can be sent")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder()


pack = _encoder.encode
unpack = _decoder.decode
"""The two below without their typed errors, for hot paths that treat every exception alike."""


def encode(value: object) -> bytes:
    """MessagePack of ``value``: docs/payloads.rst lists what that may be.

    Raises :class:`InvalidPayload` for anything else, for integers beyond 64 bits and for too deep nesting.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise not_encodable("value", value, error, pack) from None


def not_encodable(place: str, value: object, error: Exception, encode: Callable[[Any], bytes]) -> InvalidPayload:
    """Say where in ``value``, called ``place``, which ``encode`` refused with ``error``, the one is that it refuses."""
    inner = _refused_inside(value, error, encode)
    while inner is not None:
        step, value, error = inner
        place += step
        inner = _refused_inside(value, error, encode)
    return InvalidPayload(f"cannot encode {escaped(place, LONGEST_PLACE)}, a {type(value).__name__}: {escaped(error)}")


def _refused_inside(
    value: object, error: Exception, encode: Callable[[Any], bytes]
) -> tuple[str, object, Exception] | None:
    """Return how the first value inside is reached that ``encode`` refuses, that value, and why."""
    if isinstance(error, RecursionError):
        return None  # all that is around the deepest one is too deep as well: there is no place to name
    for step, inner in _inside(value):
        try:
            encode(inner)
        except Exception as why:
            return step, inner, why
    return None


def _inside(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield " (a key)", key
            yield (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"), inner
    elif isinstance(value, list | tuple):
        names = getattr(value, "_fields", ())  # those of a NamedTuple
        yield from ((f".{names[i]}" if names else f"[{i}]", inner) for i, inner in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("[...]", inner) for inner in value)
    elif is_model(type(value)):
        yield from _inside(_plain(value))
    else:
        names = [f.name for f in fields(value)] if is_dataclass(value) else getattr(value, "__struct_fields__", ())
        yield from ((f".{name}", getattr(value, name)) for name in names)


def decode(data: bytes, most: int = MAX_VALUES) -> object:
    """The value in ``data``; raises :class:`CodecError` for malformed, truncated or too deeply nested bytes, and for
    one that consists of more than ``most`` values."""
    if holds_more(data, most):
        raise CodecError(f"more than {most} values")
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(str(error)) from None


def holds_more(data: bytes, most: int) -> bool:
    """Whether the MessagePack in ``data`` consists of more than ``most`` values, all that is inside others and the keys
    of maps counted, and what lists and maps say that they hold. Nothing is built; what is malformed or truncated need
    not be told."""
    end = len(data)
    if end <= most:  # a value takes a byte at least
        return False
    sizes, place = _SIZES, 0
    for seen in range(1, most + 1):
        first = data[place]
        size = sizes[first]
        if size:
            place += size
        elif first in _LISTED:
            width, each = _LISTED[first]
            if seen + each * int.from_bytes(data[place + 1 : place + 1 + width]) > most:
                return True
            place += 1 + width
        else:
            width, head = _LONG[first]
            place += head + int.from_bytes(data[place + 1 : place + 1 + width])
        if place >= end:
            return False
    return True


def _sizes() -> tuple[int, ...]:
    """The bytes of a value by its first one, without what is inside a list or map; 0 where a length follows."""
    sizes = [1] * 256
    sizes[0xA0:0xC0] = range(1, 33)  # short strings
    sizes[0xCA:0xD9] = (5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18)  # floats, integers, extensions of fixed sizes
    for first in (*_LONG, *_LISTED):
        sizes[first] = 0
    return tuple(sizes)


_LONG: Final = {  # binary, extensions and strings, by their first byte: the bytes of the length, and before the content
    0xC4: (1, 2), 0xC5: (2, 3), 0xC6: (4, 5), 0xC7: (1, 3), 0xC8: (2, 4), 0xC9: (4, 6),
    0xD9: (1, 2), 0xDA: (2, 3), 0xDB: (4, 5),
}  # fmt: skip
_LISTED: Final = {  # long lists and maps: the bytes of their number, and the values of each
    0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2),
}  # fmt: skip
_SIZES: Final = _sizes()


class Decoder(Generic[T]):
    """Decodes one wire type: exact structure or :class:`CodecError`, never more than ``max_size`` bytes of input."""

    def __init__(self, wire_type: type[T], max_size: int) -> None:
        self._decode = msgspec.msgpack.Decoder(wire_type).decode
        self._max_size = max_size

    def decode(self, data: bytes | bytearray) -> T:
        if len(data) > self._max_size:
            raise CodecError(f"{len(data)} bytes, at most {self._max_size} allowed")
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise CodecError(str(error)) from None

    def decode_exact(self, data: bytes) -> T:
        """As :meth:`decode`, for what is signed or hashed: there is one encoding of a value, and this must be it."""
        value = self.decode(data)
        if encode(value) != data:
            raise CodecError("not the shortest MessagePack form")
        return value
