"""Signed records of twins, as a directory keeps them (docs/protocol/rmb.rst, "Records of twins"). Sans-I/O.

The account of a twin signs for its record, so whoever passes it on cannot change it. Bytes from anywhere pass
:meth:`TwinRecord.decode`: a record in hand is a proven one. Of two of one twin the one with the higher ``seq`` wins.
"""

from dataclasses import dataclass
from typing import Final

from mm_transports.rmb.protocol.envelope import SIGNATURE_SIZE
from mm_transports.rmb.protocol.keys import TwinKeys, verify
from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import BadSignature, CodecError
from mmplatform.identity.keys import labelled
from mmplatform.identity.record_checks import check_date, check_numbers, reject

LABEL: Final = "mm/1 rmb twin"
MAX_TWIN_RECORD: Final = 1232  # bytes: all that may be in one fits, and one fits into a datagram
LONGEST: Final = 32 * 24 * 3600  # seconds ahead that a record may expire
LASTS: Final = 7 * 24 * 3600  # seconds that ours do


@dataclass(frozen=True, slots=True)
class TwinRecord:
    """Made by :meth:`create` or :meth:`decode`, which check everything. ``data``: its bytes."""

    twin: TwinInfo
    seq: int
    expires: int
    data: bytes

    @classmethod
    def create(
        cls, keys: TwinKeys, number: int, relays: tuple[str, ...], seq: int, expires: int, *, encrypted: bool = True
    ) -> "TwinRecord":
        """Sign a record of the twin with these keys.

        Args:
            keys: its secrets.
            number: its number.
            relays: the names of its relays.
            seq: higher than in its records before; the time in milliseconds is.
            expires: when it is no longer good, in Unix seconds.
            encrypted: whether payloads are to be encrypted to it.

        Raises InvalidRecord.

        """
        twin = check_twin(TwinInfo(number, keys.account, keys.pk if encrypted else b"", relays))
        signature = keys.sign(labelled(LABEL, *_parts(twin, seq, expires)))
        wire = _TwinWire(twin.number, twin.account, twin.pk, list(relays), seq, expires, signature)
        return cls(twin, seq, expires, encode(wire))

    @classmethod
    def decode(cls, data: bytes, now: float) -> "TwinRecord":
        """Return the record in ``data``, proven and in date. Raises InvalidRecord, which begins with the reason."""
        record = cls.proven(data)
        check_date(record.expires, now, LONGEST)
        return record

    @classmethod
    def proven(cls, data: bytes) -> "TwinRecord":
        """Return the record in ``data``, whatever its date. Raises InvalidRecord."""
        if len(data) > MAX_TWIN_RECORD:
            reject("size", f"{len(data)} bytes, at most {MAX_TWIN_RECORD} allowed")
        try:
            wire = _decoder.decode_exact(bytes(data))
        except CodecError as error:
            reject("malformed", str(error))
        if len(wire.signature) != SIGNATURE_SIZE:
            reject("malformed", f"a signature has {SIGNATURE_SIZE} bytes")
        twin = check_twin(TwinInfo(wire.twin, wire.account, wire.pk, tuple(wire.relays)))
        message = labelled(LABEL, *_parts(twin, wire.seq, wire.expires))
        try:
            verify(twin.account, wire.signature, message)
        except BadSignature as error:
            reject("signature", str(error))
        return cls(twin, wire.seq, wire.expires, bytes(data))


class _TwinWire(Struct, array_like=True, forbid_unknown_fields=True):
    twin: int
    account: bytes
    pk: bytes
    relays: list[str]
    seq: int
    expires: int
    signature: bytes


_decoder = Decoder(_TwinWire, MAX_TWIN_RECORD)


def _parts(twin: TwinInfo, seq: int, expires: int) -> list[bytes]:
    """Return what is signed: fixed parts first, whatever follows them are the relays."""
    check_numbers(seq, expires)
    numbers = [number.to_bytes(8) for number in (seq, expires)]
    return [twin.number.to_bytes(4), twin.account, twin.pk, *numbers, *(relay.encode("ascii") for relay in twin.relays)]
