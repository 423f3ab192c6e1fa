"""The envelope, the one message of RMB: its fields, its bytes, and how much of each there may be.

::

     1 uid             5 source        7 request     9 signature    13 plain
     2 tags            6 destination   8 response   10 schema       14 cipher
     3 timestamp                      12 error      11 federation
     4 expiration                     15 ping       17 relays (repeated)
                                      16 pong

Of the third column there is exactly one, of the last at most one. Relays forward the bytes that came: decoding and
encoding again changes those of a client that writes zeros, or has fields of a later version.
"""

from typing import Final

from mm_transports.rmb.protocol.address import MAX_SESSION, MAX_TWIN, TwinAddress
from mm_transports.rmb.protocol.fields import (
    BYTES,
    U32,
    U64,
    VARINT,
    bytes_field,
    key,
    number_field,
    read_fields,
    text,
    text_field,
)  # fmt: skip
from mmplatform.codec import Struct, field
from mmplatform.errors import InvalidPayload, ProtocolError

MAX_ENVELOPE: Final = 1024 * 1024  # bytes of all
MAX_UID: Final = 255
MAX_TAGS: Final = 1024
MAX_COMMAND: Final = 255
MAX_ERROR: Final = 64 * 1024
MAX_SCHEMA: Final = 255
MAX_FEDERATION: Final = 1024
MAX_RELAY: Final = 255
MAX_RELAYS: Final = 16
SIGNATURE_SIZE: Final = 65  # a letter for the kind of key, and 64 bytes
SEAL_SIZE: Final = 28  # bytes of a cipher that holds nothing: nonce and tag

FAIL_FAST: Final = "fail-fast"  # the one tag that relays read: keep nothing for who is away


class RmbRequest(Struct, frozen=True, gc=False):
    """Asks a twin to run a command."""

    command: str


class RmbResponse(Struct, frozen=True, gc=False):
    """Answers the request with the same uid."""


class RmbError(Struct, frozen=True, gc=False):
    """Answers a request with a failure: the codes are in docs/protocol/rmb.rst."""

    code: int
    message: str


class RmbPing(Struct, frozen=True, gc=False):
    """Asks the relay whether it is there: pages in browsers cannot send pings of WebSocket."""


class RmbPong(Struct, frozen=True, gc=False):
    """Answers the ping with the same uid."""


RmbMessage = RmbRequest | RmbResponse | RmbError | RmbPing | RmbPong


class RmbEnvelope(Struct, gc=False, kw_only=True):
    """One message between two twins, or between a twin and its relay.

    ``expiration`` counts seconds from ``timestamp``, in Unix seconds. What is None is absent.
    """

    uid: str
    message: RmbMessage
    timestamp: int = 0
    expiration: int = 0
    source: TwinAddress | None = None
    destination: TwinAddress | None = None
    tags: str | None = None
    signature: bytes | None = None
    schema: str | None = None
    federation: str | None = None
    plain: bytes | None = None
    cipher: bytes | None = None
    relays: list[str] = field(default_factory=list)

    @property
    def fail_fast(self) -> bool:
        """Whether the sender wants to hear at once that the destination is away."""
        return self.tags is not None and FAIL_FAST in self.tags.replace(",", " ").split()


_UID, _TAGS, _TIMESTAMP, _EXPIRATION = key(1, BYTES), key(2, BYTES), key(3, VARINT), key(4, VARINT)
_SOURCE, _DESTINATION, _SIGNATURE = key(5, BYTES), key(6, BYTES), key(9, BYTES)
_SCHEMA, _FEDERATION, _PLAIN, _CIPHER, _RELAYS = (key(number, BYTES) for number in (10, 11, 13, 14, 17))
_REQUEST, _RESPONSE, _ERROR, _PING, _PONG = (key(number, BYTES) for number in (7, 8, 12, 15, 16))
_KINDS: Final = (_REQUEST, _RESPONSE, _ERROR, _PING, _PONG)
_NUMBER, _FIRST_TEXT, _SECOND_TEXT = key(1, VARINT), key(1, BYTES), key(2, BYTES)

_AROUND: Final = 512  # bytes of an inner message beside its text: keys, and fields of later versions
_ENVELOPE: Final = {
    _UID: MAX_UID, _TAGS: MAX_TAGS, _TIMESTAMP: U64, _EXPIRATION: U64,
    _SOURCE: MAX_SESSION + _AROUND, _DESTINATION: MAX_SESSION + _AROUND,
    _REQUEST: MAX_COMMAND + _AROUND, _RESPONSE: _AROUND, _ERROR: MAX_ERROR + _AROUND, _PING: _AROUND, _PONG: _AROUND,
    _SIGNATURE: SIGNATURE_SIZE, _SCHEMA: MAX_SCHEMA, _FEDERATION: MAX_FEDERATION,
    _PLAIN: MAX_ENVELOPE, _CIPHER: MAX_ENVELOPE, _RELAYS: MAX_RELAY,
}  # fmt: skip
_REPEATED: Final = {_RELAYS: MAX_RELAYS}
_ADDRESS: Final = {_NUMBER: MAX_TWIN, _SECOND_TEXT: MAX_SESSION}
_COMMAND: Final = {_FIRST_TEXT: MAX_COMMAND}
_FAILURE: Final = {_NUMBER: U32, _SECOND_TEXT: MAX_ERROR}


def decode_envelope(data: bytes) -> RmbEnvelope:
    """Read an envelope. Raises ProtocolError; docs/protocol/rmb.rst has the reasons."""
    if len(data) > MAX_ENVELOPE:
        raise ProtocolError("too-long", f"an envelope has at most {MAX_ENVELOPE} bytes")
    found = read_fields(data, _ENVELOPE, _REPEATED)
    chunks = found.chunks
    plain, cipher, relays = chunks.get(_PLAIN), chunks.get(_CIPHER), found.lists.get(_RELAYS)
    if plain is not None and cipher is not None:
        raise ProtocolError("two-payloads", "a payload is plain or encrypted, not both")
    if cipher is not None and len(cipher) < SEAL_SIZE:
        raise ProtocolError("bad-cipher", f"an encrypted payload has at least {SEAL_SIZE} bytes")
    return RmbEnvelope(
        uid=text(chunks.get(_UID, b"")),
        message=_message(chunks),
        timestamp=found.numbers.get(_TIMESTAMP, 0),
        expiration=found.numbers.get(_EXPIRATION, 0),
        source=_address(chunks.get(_SOURCE)),
        destination=_address(chunks.get(_DESTINATION)),
        tags=_optional(chunks, _TAGS),
        signature=chunks.get(_SIGNATURE),
        schema=_optional(chunks, _SCHEMA),
        federation=_optional(chunks, _FEDERATION),
        plain=plain,
        cipher=cipher,
        relays=list(map(text, relays)) if relays else [],
    )


def encode_envelope(envelope: RmbEnvelope) -> bytes:
    """Write an envelope, its fields by their numbers. Raises InvalidPayload for one that nobody could read."""
    try:
        data = _encoded(envelope)
        decode_envelope(data)
    except ProtocolError as error:
        raise InvalidPayload(f"no envelope of RMB: {error}") from None
    return data


def _encoded(envelope: RmbEnvelope) -> bytes:
    kind, body = _body(envelope.message)
    fields = {
        _UID: text_field(_UID, envelope.uid or None),
        _TAGS: text_field(_TAGS, envelope.tags),
        _TIMESTAMP: number_field(_TIMESTAMP, envelope.timestamp),
        _EXPIRATION: number_field(_EXPIRATION, envelope.expiration),
        _SOURCE: bytes_field(_SOURCE, _written(envelope.source)),
        _DESTINATION: bytes_field(_DESTINATION, _written(envelope.destination)),
        kind: bytes_field(kind, body),
        _SIGNATURE: bytes_field(_SIGNATURE, envelope.signature),
        _SCHEMA: text_field(_SCHEMA, envelope.schema),
        _FEDERATION: text_field(_FEDERATION, envelope.federation),
        _PLAIN: bytes_field(_PLAIN, envelope.plain),
        _CIPHER: bytes_field(_CIPHER, envelope.cipher),
        _RELAYS: b"".join(text_field(_RELAYS, relay) for relay in envelope.relays),
    }
    return b"".join(fields[name] for name in sorted(fields))


def _message(chunks: dict[int, bytes]) -> RmbMessage:
    kinds = [kind for kind in _KINDS if kind in chunks]
    if len(kinds) != 1:
        raise ProtocolError("two-kinds" if kinds else "no-kind", "an envelope is a request, or a response, or ...")
    kind, body = kinds[0], chunks[kinds[0]]
    if kind == _REQUEST:
        command = text(read_fields(body, _COMMAND).chunks.get(_FIRST_TEXT, b""))
        if not command:
            raise ProtocolError("no-command", "a request names a command")
        return RmbRequest(command)
    if kind == _ERROR:
        found = read_fields(body, _FAILURE)
        return RmbError(found.numbers.get(_NUMBER, 0), text(found.chunks.get(_SECOND_TEXT, b"")))
    read_fields(body, {})
    return RmbResponse() if kind == _RESPONSE else RmbPing() if kind == _PING else RmbPong()


def _body(message: RmbMessage) -> tuple[int, bytes]:
    match message:
        case RmbRequest(command):
            return _REQUEST, text_field(_FIRST_TEXT, command)
        case RmbError(code, words):
            return _ERROR, number_field(_NUMBER, code) + text_field(_SECOND_TEXT, words or None)
        case RmbResponse():
            return _RESPONSE, b""
        case RmbPing():
            return _PING, b""
        case RmbPong():
            return _PONG, b""


def _address(chunk: bytes | None) -> TwinAddress | None:
    if chunk is None:
        return None
    found = read_fields(chunk, _ADDRESS)
    return TwinAddress(found.numbers.get(_NUMBER, 0), _optional(found.chunks, _SECOND_TEXT))


def _written(address: TwinAddress | None) -> bytes | None:
    if address is None:
        return None
    return number_field(_NUMBER, address.twin) + text_field(_SECOND_TEXT, address.session)


def _optional(chunks: dict[int, bytes], name: int) -> str | None:
    return text(chunks[name]) if name in chunks else None
