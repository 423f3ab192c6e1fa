"""What clients of RMB look for in the storage of the chain: which key asks for which twin, what is answered. Pure."""

from hashlib import blake2b
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.chain_storage import ACCOUNTS, EVENTS, HASH, PALLET, TWINS, encode_twin
from mm_transports.rmb.protocol.scale import u32
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import ProtocolError

MAX_KEY: Final = 256  # hexadecimal digits of any key, 0x included


class TwinAsked(NamedTuple):
    """The twin that a key asks for. ``number``: whether only the number is wanted."""

    key: Key
    number: bool


def key_bytes(text: object, most: int = MAX_KEY) -> bytes:
    """Return the bytes of a key of the storage, or of another value. Raises ProtocolError."""
    if not isinstance(text, str) or len(text) > most or not text.startswith("0x"):
        raise ProtocolError("bad-key", f"0x and at most {most - 2} hexadecimal digits")
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise ProtocolError("bad-key", "not hexadecimal") from None


def asked(text: str) -> TwinAsked | None:
    """Return what a key of the storage asks for, None for a place where nothing is. Raises ProtocolError."""
    key = key_bytes(text)
    pallet, item, rest = key[:HASH], key[HASH : 2 * HASH], key[2 * HASH :]
    digest, inner = rest[:HASH], rest[HASH:]
    if pallet != PALLET or digest != blake2b(inner, digest_size=HASH).digest():
        return None
    if item == TWINS and len(inner) == 4:
        return TwinAsked(int.from_bytes(inner, "little"), number=False)
    if item == ACCOUNTS and len(inner) == 32:
        return TwinAsked(inner, number=True)
    return None


def is_events(key: bytes) -> bool:
    """Whether a key asks for what has happened in a block."""
    return key == EVENTS


def value(one: TwinAsked, twin: TwinInfo | None) -> str | None:
    """Return what is answered, in hex; None when there is no such twin."""
    if twin is None:
        return None
    return f"0x{(u32(twin.number) if one.number else encode_twin(twin)).hex()}"
