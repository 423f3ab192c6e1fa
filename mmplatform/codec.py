"""MessagePack with limits; the only home of codec libraries.

Wire formats are typed (:class:`Struct` with :class:`Decoder`): one call decodes and validates a whole frame.
Application payloads are free-form (:func:`encode`, :func:`decode`).
"""

from typing import Generic, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from mmplatform.errors import CodecError, InvalidPayload

__all__ = ["Decoder", "Meta", "Struct", "decode", "encode", "field", "pack", "unpack"]

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


pack = _encoder.encode
unpack = _decoder.decode
"""The two below without their typed errors, for hot paths that treat every exception alike."""


def encode(value: object) -> bytes:
    """MessagePack of ``value`` (None, bool, int, float, str, bytes, list, tuple, dict, set, datetime, UUID, Struct).

    Raises :class:`InvalidPayload` for anything else, for integers beyond 64 bits and for too deep nesting.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidPayload(f"cannot encode a {type(value).__name__}: {error}") from None


def decode(data: bytes) -> object:
    """The value in ``data``; raises :class:`CodecError` for malformed, truncated or too deeply nested bytes."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(str(error)) from None


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
