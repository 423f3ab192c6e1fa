"""Parsers of twins: signed records of directories, fields that somebody signed, and files that people write."""

from typing import Any

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin_record import MAX_TWIN_RECORD, TwinRecord
from mm_transports.rmb.twins.toml_file import hex_bytes, read_twins
from mmplatform import codec
from mmplatform.identity.keys import labelled
from tests.fuzz.parsers import text, typed
from tests.fuzz.target import Run, hexes, target

NOW = 1_795_224_500
ME = TwinKeys(b"fuzzing".ljust(32, b"."), "ed25519")
FILE = f"""# ours
[twin.30]
account = "{ME.account.hex()}" # mine
pk = "0x{ME.pk.hex()}"
relays = ["relay.example", 'ws:/127.0.0.1:18080']
"""


@target(hexes("rmb", "record", "twinRecords", "invalidTwinRecords"))
def rmb_twin_record() -> Run:
    """What is read has one encoding, and fits."""

    def parse(data: bytes) -> None:
        record = TwinRecord.decode(data, NOW)
        assert record.data == data
        assert len(data) <= MAX_TWIN_RECORD

    return typed(parse)


@target(lambda: [codec.pack([30, ME.account, ME.pk, ["relay.example"], NOW * 1000, NOW + 60])])
def rmb_twin_signed() -> Run:
    """Fields that are anybody's, under a signature that is good where it can be made."""

    def parse(data: bytes) -> None:
        fields: Any = codec.decode(data)
        try:
            twin, account, pk, relays, seq, expires = fields
            parts = [twin.to_bytes(4), account, pk, seq.to_bytes(8), expires.to_bytes(8)]
            signature = ME.sign(labelled("mm/1 rmb twin", *parts, *(relay.encode() for relay in relays)))
        except (AttributeError, OverflowError, TypeError, ValueError):
            signature = bytes(65)
        made = codec.pack([*fields, signature] if isinstance(fields, list) else fields)
        record = TwinRecord.decode(made, NOW)
        assert record.twin.account == ME.account
        assert record.expires > NOW

    return typed(parse)


@target(lambda: [FILE.encode(), b"[twin.1]\nrelays = []\n", b"twin = {1 = {}}", b"x = " + b"[" * 900])
def rmb_twins_file() -> Run:
    """A file that people write, and may have broken; nothing in it takes long."""

    def parse(data: bytes) -> None:
        for number, twin in read_twins(data).items():
            assert twin.number == number
            assert len(twin.account) == 32

    return typed(parse)


@target(lambda: [ME.account.hex().encode(), b"0x00"])
def rmb_hex() -> Run:
    def parse(data: bytes) -> None:
        assert hex_bytes(text(data)).hex() == text(data).lower().removeprefix("0x")

    return typed(parse, ValueError)
