"""Parsers of RMB: envelopes, tokens and payloads of others, and secrets that somebody pastes."""

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any

from mm_transports.rmb.protocol.address import parse_twin
from mm_transports.rmb.protocol.challenge import challenge, verify_envelope
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import decode_envelope, encode_envelope
from mm_transports.rmb.protocol.fields import BYTES, VARINT, bytes_field, key, number_field
from mm_transports.rmb.protocol.keys import TwinKeys, verify
from mm_transports.rmb.protocol.stamps import deadline
from mm_transports.rmb.protocol.tokens import check_token, parse_token
from mmplatform import codec
from tests.fuzz.parsers import text, typed
from tests.fuzz.target import Run, hexes, target, texts, vectors

NOW = 1_795_224_500
ME = TwinKeys(b"fuzzing".ljust(32, b"."), "ed25519")
OTHER = TwinKeys(b"another twin".ljust(32, b"."))


@target(hexes("rmb", "hex", "envelopes", "invalidEnvelopes", "otherReadings"))
def rmb_envelope() -> Run:
    """What is read is written, and read again as the same; and it has a challenge."""

    def parse(data: bytes) -> None:
        envelope = decode_envelope(data)
        assert decode_envelope(encode_envelope(envelope)) == envelope
        assert len(challenge(envelope)) == 16
        verify_envelope(envelope, ME.account)

    return typed(parse)


def _values() -> Iterator[bytes]:
    yield codec.pack([[1, b"u"], [3, NOW], [4, 60], [5, [[1, 20], [2, b"s"]]], [7, [[1, b"calc.add"]]], [13, b"[1]"]])
    yield codec.pack([[1, b"u"], [6, [[1, 30]]], [12, [[1, 255], [2, b"no"]]], [17, b"relay"], [17, b"relay"]])


@target(lambda: list(_values()))
def rmb_fields() -> Run:
    """Fields that are written soundly, with any numbers and contents."""

    def parse(data: bytes) -> None:
        envelope = decode_envelope(_message(codec.decode(data)))
        assert decode_envelope(encode_envelope(envelope)) == envelope
        if envelope.timestamp < 2**63:
            assert deadline(envelope, NOW) > NOW

    return typed(parse)


def _message(value: Any) -> bytes:
    out = b""
    for field in value if isinstance(value, list) else []:
        if not (isinstance(field, list) and len(field) == 2 and type(field[0]) is int and 0 < field[0] < 2**20):
            continue
        number, content = field
        if type(content) is int:
            out += number_field(key(number, VARINT), abs(content))
        elif isinstance(content, bytes | list):
            out += bytes_field(key(number, BYTES), content if isinstance(content, bytes) else _message(content))
    return out


@target(texts("rmb", "token", "tokens", "invalidTokens"))
def rmb_token() -> Run:
    return typed(lambda data: check_token(parse_token(text(data)), ME.account, NOW))


CLAIMS = (b'{"sub":20,"iat":1795224500,"exp":1795224560,"sid":"s"}', b'{"sub":1,"iat":0,"exp":1e999}', b"[[[]]]")


@target(lambda: list(CLAIMS))
def rmb_token_signed() -> Run:
    """Claims that are anybody's, under a signature that is good."""

    def parse(data: bytes) -> None:
        signed = f"e30.{base64.urlsafe_b64encode(data).decode().rstrip('=')}"
        signature = base64.urlsafe_b64encode(ME.sign(signed.encode())).decode().rstrip("=")
        token = parse_token(f"{signed}.{signature}")
        verify(ME.account, token.signature, token.signed)
        check_token(token, ME.account, NOW)
        assert NOW <= token.expires < NOW + 3661

    return typed(parse)


@target(hexes("rmb", "signature", "signatures"))
def rmb_signature() -> Run:
    """Signatures, and accounts, that are anything: none of them is good for us."""

    def run(data: bytes) -> None:
        for account, signature in ((ME.account, data), (OTHER.account, data), (data[:32], data[32:])):
            typed(partial(verify, account, signature))(b"a message")

    return run


@target(hexes("rmb", "cipher", "payloads", "invalidPayloads"))
def rmb_payload() -> Run:
    """Ciphers of a known twin, and of a twin whose pk is anything."""
    keys = PayloadKeys(ME, bytes, cached=4)

    def run(data: bytes) -> None:
        typed(lambda cipher: keys.decrypt(cipher, OTHER.pk))(data)
        typed(lambda cipher: keys.decrypt(cipher, data[:33]))(data[33:])

    return run


@target(lambda: [case["secret"].encode() for case in vectors("rmb", "invalidSecrets")] + [b"30:js-a"])
def rmb_secret() -> Run:
    """What people paste: phrases, seeds, and addresses of twins."""

    def run(data: bytes) -> None:
        typed(lambda one: TwinKeys.from_secret(text(one)))(data)
        typed(lambda one: parse_twin(text(one)))(data)

    return run
