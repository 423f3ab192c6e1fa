"""Signs and checks what the DHT keeps: NodeInfos and application records (directory.rst, "Records").

Both prove themselves: bytes from anywhere pass :func:`open_record`, so a :class:`SignedRecord` in hand is signed by the
key under whose name it is kept. The highest rank wins, which is the highest ``seq``.
"""

from functools import lru_cache
from typing import Final

from mm_services.kademlia.protocol.contact import box_id_key, record_key, sign_id_key
from mm_services.kademlia.protocol.wire import MAX_RECORD
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import BadSignature, CodecError
from mmplatform.identity.keys import Identity, raw_key, verify
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.record_checks import check_date, check_numbers, reject

LABEL: Final = "mm/1 record"
MAX_NAME: Final = 64  # bytes of UTF-8
MAX_VALUE: Final = 1024
LONGEST: Final = 32 * 24 * 3600  # seconds ahead that a record may expire

_ALWAYS: Final = -1.0  # before everything expires: open_record looks at the date
_NODE_INFO: Final = b"\x97"  # an array of seven; an application record is one of six


class SignedRecord:
    """A proven record. ``keys``: where it belongs. Holds ``info`` (a NodeInfo), or ``name`` and ``value``."""

    __slots__ = ("data", "expires", "info", "keys", "name", "rank", "seq", "sign_key", "value")

    def __init__(
        self,
        data: bytes,
        sign_key: bytes,
        seq: int,
        expires: int,
        signature: bytes,
        keys: tuple[int, ...],
        info: NodeInfo | None = None,
        name: str = "",
        value: bytes = b"",
    ) -> None:
        self.data, self.sign_key, self.seq, self.expires = data, sign_key, seq, expires
        self.rank = (seq, expires, signature)  # like nodeinfo.newest: all nodes keep the same one of two equals
        self.keys, self.info, self.name, self.value = keys, info, name, value


class _RecordWire(Struct, array_like=True, forbid_unknown_fields=True):
    sign_key: bytes
    name: str
    value: bytes
    seq: int
    expires: int
    signature: bytes


_decoder = Decoder(_RecordWire, MAX_RECORD)


def make_record(identity: Identity, name: str, value: bytes, seq: int, expires: int) -> bytes:
    """Sign an application record; ``expires`` in Unix seconds. Raises InvalidRecord."""
    parts = _parts(name, value, seq, expires)
    signature = identity.sign(LABEL, *parts)
    return encode(_RecordWire(identity.sign_key, name, value, seq, expires, signature))


def open_record(data: bytes, now: float) -> SignedRecord:
    """Return the record in ``data``, proven and in date. Raises InvalidRecord, which begins with the reason."""
    if len(data) > MAX_RECORD:
        reject("size", f"{len(data)} bytes, at most {MAX_RECORD} allowed")
    record = _node_info(data) if data.startswith(_NODE_INFO) else _application(data)
    check_date(record.expires, now, LONGEST)
    return record


def newer(one: SignedRecord | None, other: SignedRecord | None) -> SignedRecord | None:
    """Return the record that wins: the one of the higher rank."""
    if one is None or other is None:
        return one or other
    return other if other.rank > one.rank else one


def _node_info(data: bytes) -> SignedRecord:
    return _of_info(NodeInfo.decode(data, _ALWAYS), data)


@lru_cache(maxsize=1024)
def _of_info(info: NodeInfo, data: bytes) -> SignedRecord:
    keys = (sign_id_key(info.sign_id), box_id_key(info.box_id))
    return SignedRecord(data, raw_key(info.sign_id), info.seq, info.expires, info.signature, keys, info)


@lru_cache(maxsize=1024)
def _application(data: bytes) -> SignedRecord:
    try:
        wire = _decoder.decode_exact(data)
    except CodecError as error:
        reject("malformed", str(error))
    parts = _parts(wire.name, wire.value, wire.seq, wire.expires)
    try:
        verify(wire.sign_key, wire.signature, LABEL, *parts)
    except BadSignature as error:
        reject("signature", str(error))
    key = record_key(wire.sign_key, wire.name)
    return SignedRecord(
        data, wire.sign_key, wire.seq, wire.expires, wire.signature, (key,), name=wire.name, value=wire.value
    )


def _parts(name: str, value: bytes, seq: int, expires: int) -> tuple[bytes, ...]:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        reject("name", "not Unicode text")
    if not 0 < len(raw) <= MAX_NAME:
        reject("name", f"{len(raw)} bytes; a name has 1 to {MAX_NAME}")
    if len(value) > MAX_VALUE:
        reject("value", f"{len(value)} bytes, at most {MAX_VALUE} allowed")
    check_numbers(seq, expires)
    return raw, value, seq.to_bytes(8, "big"), expires.to_bytes(8, "big")
