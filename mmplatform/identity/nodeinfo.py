"""NodeInfo: a signed, dated record of who a node is and where it is reached (docs/protocol/identity.rst, "NodeInfo").

Bytes from anywhere pass :meth:`NodeInfo.decode`, so a record in hand is a proven one. Of two records of one key
the one with the higher ``seq`` wins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import BadSignature, CodecError, InvalidKey, InvalidRecord
from mmplatform.identity.keys import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    BoxId,
    Identity,
    SignId,
    box_id_of,
    is_box_key,
    raw_key,
    sign_id_of,
    verify,
)
from mmplatform.identity.record_checks import check_numbers, reject

LABEL: Final = "mm/1 nodeinfo"
MAX_RECORD: Final = 8 * 1024
MAX_ADDRESSES: Final = 16  # of one record, for all who read one: each of them gets its turn
MAX_ADDRESS: Final = 256
CACHED_RECORDS: Final = 1024

_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]*")


class ExpiredRecord(InvalidRecord):
    """The record was good once, or a clock is wrong."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Made by :meth:`create` or :meth:`decode`, which check everything; the plain constructor checks nothing."""

    sign_id: SignId
    box_id: BoxId
    mail_key: bytes
    connection_info: tuple[str, ...]
    seq: int
    expires: int
    signature: bytes

    @classmethod
    def create(
        cls, identity: Identity, connection_info: Sequence[str], seq: int, expires: int, mail_key: bytes = b""
    ) -> "NodeInfo":
        """A record of ``identity``, signed. ``expires`` is in unix seconds, ``mail_key`` a raw X25519 key or empty."""
        unsigned = cls(identity.sign_id, identity.box_id, mail_key, tuple(connection_info), seq, expires, b"")
        unsigned._check()
        return replace(unsigned, signature=identity.sign(LABEL, *unsigned._signed_parts()))

    @classmethod
    def decode(cls, data: bytes, now: float) -> "NodeInfo":
        """The record in ``data``, every claim proven; raises :class:`InvalidRecord` that begins with the reason."""
        if len(data) > MAX_RECORD:
            reject("size", f"{len(data)} bytes, at most {MAX_RECORD} allowed")
        record = _proven(bytes(data))
        if record.expires <= now:
            raise ExpiredRecord(f"expired: it was good until {record.expires}, now is {int(now)}")
        return record

    def encode(self) -> bytes:
        wire = _Wire(
            raw_key(self.sign_id),
            raw_key(self.box_id),
            self.mail_key,
            list(self.connection_info),
            self.seq,
            self.expires,
            self.signature,
        )
        return encode(wire)

    def payload(self) -> dict[str, object]:
        """The form on the bus, with MicroMinion's names; ``record`` is what proves the rest."""
        return {
            "signId": self.sign_id,
            "boxId": self.box_id,
            "connectionInfo": list(self.connection_info),
            "expireTime": self.expires * 1000,
            "record": self.encode(),
        }

    @classmethod
    def from_payload(cls, value: object, now: float) -> "NodeInfo":
        """The proven record inside the form on the bus; keys beside it must be its own."""
        record = value.get("record") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(record, bytes):
            reject("malformed", "a NodeInfo on the bus is a mapping with its signed bytes under 'record'")
        info = cls.decode(record, now)
        if value.get("signId", info.sign_id) != info.sign_id or value.get("boxId", info.box_id) != info.box_id:
            reject("box-id", "the keys beside the record are not those in it")
        return info

    def _check(self) -> None:
        if self.mail_key and not is_box_key(self.mail_key):
            reject("mail-key", "neither empty nor a usable X25519 key")
        if len(self.connection_info) > MAX_ADDRESSES:
            reject("addresses", f"{len(self.connection_info)}, at most {MAX_ADDRESSES} allowed")
        for address in self.connection_info:
            if not is_address(address):
                reject("addresses", f"not a URI of at most {MAX_ADDRESS} visible ASCII characters: {address[:80]!r}")
        check_numbers(self.seq, self.expires)

    def _signed_parts(self) -> list[bytes]:
        """Fixed parts first: whatever follows them are the addresses."""
        numbers = [number.to_bytes(8, "big") for number in (self.seq, self.expires)]
        addresses = [address.encode("ascii") for address in self.connection_info]
        return [raw_key(self.sign_id), raw_key(self.box_id), self.mail_key, *numbers, *addresses]


def is_address(value: object) -> bool:
    """Whether ``value`` may stand in a record: a URI of visible ASCII characters."""
    return isinstance(value, str) and len(value) <= MAX_ADDRESS and _ADDRESS.fullmatch(value) is not None


def newest(first: NodeInfo, second: NodeInfo) -> NodeInfo:
    """The record that wins: higher ``seq``; between equals the longer valid, then one fixed choice for everybody."""
    if first.sign_id != second.sign_id:
        raise ValueError("records of two different keys do not compete")
    return max(first, second, key=lambda info: (info.seq, info.expires, info.signature))


class _Wire(Struct, array_like=True, forbid_unknown_fields=True):
    sign_key: bytes
    box_key: bytes
    mail_key: bytes
    connection_info: list[str]
    seq: int
    expires: int
    signature: bytes


_decoder = Decoder(_Wire, MAX_RECORD)


@lru_cache(maxsize=CACHED_RECORDS)
def _proven(data: bytes) -> NodeInfo:
    """Everything but the expiry, which time changes; every handshake repeats the same bytes."""
    try:
        wire = _decoder.decode_exact(data)
    except CodecError as error:
        reject("malformed", str(error))
    if (len(wire.sign_key), len(wire.box_key), len(wire.signature)) != (KEY_SIZE, KEY_SIZE, SIGNATURE_SIZE):
        reject("malformed", "a key or the signature has the wrong length")
    info = _from_wire(wire)
    info._check()
    try:
        verify(wire.sign_key, wire.signature, LABEL, *info._signed_parts())
    except BadSignature as error:
        reject("signature", str(error))
    return info


def _from_wire(wire: _Wire) -> NodeInfo:
    sign_id = sign_id_of(wire.sign_key)
    try:
        box_id = box_id_of(sign_id)
    except InvalidKey as error:
        reject("sign-id", str(error))
    if raw_key(box_id) != wire.box_key:
        reject("box-id", "the boxId is not the image of the signId")
    return NodeInfo(sign_id, box_id, wire.mail_key, tuple(wire.connection_info), wire.seq, wire.expires, wire.signature)
