"""Vectors of rmb.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform.

No two signatures of sr25519 are the same, so those here were published, or drawn once. What is called published was
made by others: by the npm client @threefold/rmb_direct_client 2.9.2, and keys of phrases by Substrate.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

from mixed_order import ORDER_8, MixedPair
from rmb_envelopes import NOW, PUBLISHED, PUBLISHED_CHALLENGE, envelopes, invalid_envelopes, other_readings, read
from rmb_pairs import (
    TWINS,
    Case,
    account,
    ed25519,
    invalid_payloads,
    invalid_pks,
    invalid_secrets,
    payloads,
    seed,
    twin,
)
from rmb_twins import invalid_records, records

ED_ORDER = 2**252 + 27742317777372353535851937790883648493
PUBLISHED_JWT = (
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOjIwLCJpYXQiOjE3OTUyMjQ4NzYsImV4cCI6MTc5NTIyNTg3Niwic2lkIjoic2Vzcy1iIn0"
    ".ZQ2JCdCOzp1CP6gmnLFAYu-q4EwIUA2xBV2X-fE7QYA_tVuA2KbNSWRdEocO-psRRMhRJdHdVlQh0lRtJsXERQ4"
)
SR25519_JWT = (
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOjEwLCJpYXQiOjE3OTUyMjQ4NzYsImV4cCI6MTc5NTIyNTE3Nn0"
    ".c0Rcp3kA0hzAj7f6IPh3aPTmjvqa7s-i4yPXogHUE6JjPYYdPjOX2IWlKf5oMbeOZBatZTEnnZwBVlWBhsrbR4Q"
)


def rmb_json() -> Case:
    return {
        "specification": "docs/protocol/rmb.rst",
        "now": NOW,
        "twins": [twin(number) for number in TWINS],
        "invalidSecrets": invalid_secrets(),
        "envelopes": [*envelopes()],
        "invalidEnvelopes": [*invalid_envelopes()],
        "otherReadings": [*other_readings()],
        "signatures": [*signatures()],
        "payloads": payloads(),
        "invalidPayloads": [*invalid_payloads()],
        "invalidPks": invalid_pks(),
        "tokens": [*tokens()],
        "invalidTokens": [*invalid_tokens()],
        "stamps": stamps(),
        "deadlines": deadlines(),
        "places": places(),
        "invalidPlaces": invalid_places(),
        "twinRecords": [*records()],
        "invalidTwinRecords": [*invalid_records()],
    }


# "Signatures"


def signatures() -> Iterator[Case]:
    digest, good = bytes.fromhex(PUBLISHED_CHALLENGE), read(PUBLISHED)["signature"]
    scalar = int.from_bytes(good[33:], "little") & (2**255 - 1)
    plus_order = ((scalar + ED_ORDER) | 1 << 255).to_bytes(32, "little")
    schnorr: list[tuple[str, str, bytes, str]] = [
        ("published: sr25519", account(10), good, ""),
        ("without the mark of Schnorr's signatures", account(10), good[:64] + bytes([good[64] & 127]), "malleable"),
        ("the scalar plus the group order", account(10), good[:33] + plus_order, "malleable"),
        ("as ed25519", account(10), b"e" + good[1:], "key type"),
        ("in capitals", account(10), b"S" + good[1:], "key type"),
        ("without a letter", account(10), good[1:], "key type"),
        ("empty", account(10), b"", "key type"),
        ("the letter alone", account(10), b"s", "length"),
        ("cut", account(10), good[:64], "length"),
        ("a byte more", account(10), good + b"\0", "length"),
        ("all bits set", account(10), b"s" + b"\xff" * 64, "malleable"),
        ("by another twin", account(20), good, "key"),
        ("an account that is no point", "ff" * 32, good, "key"),
        ("an account of 31 bytes", account(10)[:62], good, "key"),
        ("by nobody, for the neutral element", "00" * 32, b"s" + bytes(63) + b"\x80", "key"),
    ]
    for name, public, signature, reason in schnorr:
        yield signature_case(name, public, digest, signature, reason)
    yield signature_case("of another message", account(10), digest[::-1], good, "message")
    yield from ed25519_signatures(digest)


def ed25519_signatures(digest: bytes) -> Iterator[Case]:
    good = b"e" + ed25519(30, digest)
    plus_order = (int.from_bytes(good[33:], "little") + ED_ORDER).to_bytes(32, "little")
    mixed, low = MixedPair(bytes(range(32))), b"\x01" + bytes(31)
    for name, public, signature, reason in (
        ("ed25519", account(30), good, ""),
        ("ed25519: the scalar plus the group order", account(30), good[:33] + plus_order, "malleable"),
        ("ed25519: as sr25519", account(30), b"s" + good[1:], "key type"),
        ("ed25519: cut", account(30), good[:64], "length"),
        ("ed25519: a byte more", account(30), good + b"\0", "length"),
        ("ed25519: by another twin", account(20), good, "key"),
        ("ed25519: by nobody, for the neutral element", low.hex(), b"e" + low + bytes(32), "key"),
        ("ed25519: for a point of order 8", ORDER_8.hex(), b"e" + low + bytes(32), "key"),
        ("ed25519: by a key of mixed order", mixed.public.hex(), b"e" + mixed.sign(digest), "key"),
        ("ed25519: an account that is no point", "02" + "00" * 31, good, "key"),
        ("ed25519: an account of 33 bytes", account(30) + "00", good, "key"),
    ):
        yield signature_case(name, public, digest, signature, reason)


def signature_case(name: str, public: str, message: bytes, signature: bytes, reason: str) -> Case:
    case = {"name": name, "account": public, "message": message.hex(), "signature": signature.hex()}
    return case | {"valid": not reason} | ({"reason": reason} if reason else {})


# "Tokens"

HEADER = '{"alg":"RS512","typ":"JWT"}'
CLAIMS: Case = {"sub": 20, "iat": NOW, "exp": NOW + 60, "sid": "s"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(claims: Any, header: str = HEADER, number: int = 20) -> str:
    body = claims if isinstance(claims, str) else json.dumps(claims, separators=(",", ":"))
    text = f"{b64(header.encode())}.{b64(body.encode())}"
    return f"{text}.{b64(b'e' + ed25519(number, text.encode()))}"


def tokens() -> Iterator[Case]:
    published = {"sub": 20, "iat": 1795224876, "exp": 1795225876, "sid": "sess-b"}
    assert token(published) == PUBLISHED_JWT
    no_session = {key: value for key, value in CLAIMS.items() if key != "sid"}
    shapes: list[tuple[str, str, Case, bool]] = [
        ("published: the npm client", PUBLISHED_JWT, published, True),
        ("sr25519", SR25519_JWT, {"sub": 10, "iat": 1795224876, "exp": 1795225176, "sid": None}, False),
        ("without a session", token(no_session), CLAIMS | {"sid": None}, True),
        ("of rmb-peer: a session of null", token(CLAIMS | {"sid": None}), CLAIMS | {"sid": None}, False),
        ("an empty session", token(CLAIMS | {"sid": ""}), CLAIMS | {"sid": None}, False),
        ("another algorithm in the header", token(CLAIMS, '{"alg":"none"}'), CLAIMS, False),
        ("a claim more", token(CLAIMS | {"jti": "x"}), CLAIMS, False),
        ("blanks in the claims", token(json.dumps(CLAIMS, indent=1)), CLAIMS, False),
    ]
    for name, text, claims, made in shapes:
        case = {"name": name, "token": text, "twin": claims["sub"], "session": claims["sid"]}
        case |= {"issued": claims["iat"], "expires": claims["exp"], "account": account(claims["sub"])}
        yield case | ({"seed": seed(claims["sub"]).hex()} if made else {})


def invalid_tokens() -> Iterator[Case]:
    good = token(CLAIMS)
    head, body, signature = good.split(".")
    raw = base64.urlsafe_b64decode(signature + "=")
    other_bits = signature[:-1] + chr(ord(signature[-1]) + 1)
    doubled = json.dumps(CLAIMS, separators=(",", ":"))[:-1] + ',"sub":30}'
    shapes: list[tuple[str, str, str]] = [
        ("empty", "", "bad-token"),
        ("two parts", f"{head}.{body}", "bad-token"),
        ("four parts", f"{good}.{signature}", "bad-token"),
        ("an empty header", good[len(head) :], "bad-token"),
        ("padded", f"{good}=", "bad-token"),
        ("a line break at the end", f"{good}\n", "bad-token"),
        ("the other alphabet", f"{head}.{body}.{signature[:-1]}+", "bad-token"),
        ("a length that base64 has not", f"{head}.{body}A.{signature}", "bad-token"),
        ("bits set behind the last byte", f"{head}.{body}.{other_bits}", "bad-token"),
        ("a signature of 64 bytes", f"{head}.{body}.{b64(raw[1:])}", "bad-token"),
        ("a signature of 66 bytes", f"{head}.{body}.{b64(raw + bytes(1))}", "bad-token"),
        ("4097 characters", good + "A" * (4097 - len(good)), "bad-token"),
        ("claims that are no JSON", token("{"), "bad-token"),
        ("claims that are no object", token("[]"), "bad-token"),
        ("claims that are nested deep", token("[" * 1000), "bad-token"),
        ("claims that are no UTF-8", f"{head}.{b64(bytes([255]))}.{signature}", "bad-token"),
        ("a claim twice", token(doubled), "bad-token"),
        ("no twin", token({"iat": NOW, "exp": NOW + 60}), "bad-token"),
        ("twin 0", token(CLAIMS | {"sub": 0}), "bad-token"),
        ("twin 2**32", token(CLAIMS | {"sub": 2**32}), "bad-token"),
        ("a twin as text", token(CLAIMS | {"sub": "20"}), "bad-token"),
        ("a twin that is true", token(CLAIMS | {"sub": True}), "bad-token"),
        ("a twin that is a float", token(CLAIMS | {"sub": 20.0}), "bad-token"),
        ("no iat", token({"sub": 20, "exp": NOW + 60}), "bad-token"),
        ("a negative iat", token(CLAIMS | {"iat": -1}), "bad-token"),
        ("exp as text", token(CLAIMS | {"exp": str(NOW)}), "bad-token"),
        ("exp of 2**53 + 1", token(CLAIMS | {"exp": 2**53 + 1}), "bad-token"),
        ("a session that is a number", token(CLAIMS | {"sid": 1}), "bad-token"),
        ("a session of 256 bytes", token(CLAIMS | {"sid": "s" * 256}), "bad-token"),
        ("a session with a surrogate", token(CLAIMS | {"sid": "\ud800"}), "bad-token"),
        ("ended a second ago", token(CLAIMS | {"iat": NOW - 61, "exp": NOW - 1}), "expired"),
        ("of the old rmb-rs: exp is an age", token(CLAIMS | {"exp": 60}), "expired"),
        ("61 seconds too early", token(CLAIMS | {"iat": NOW + 61, "exp": NOW + 100}), "future"),
        ("good for more than an hour", token(CLAIMS | {"exp": NOW + 3601}), "long-lived"),
        ("dated back, and good for a year", token(CLAIMS | {"iat": 0}), "long-lived"),
        ("by another twin", token(CLAIMS, number=30), "signature"),
        ("another header", f"{b64(b'{}')}.{body}.{signature}", "signature"),
        ("other claims", f"{head}.{b64(json.dumps(CLAIMS).encode())}.{signature}", "signature"),
        ("another letter", f"{head}.{body}.{b64(b's' + raw[1:])}", "signature"),
    ]
    for name, text, reason in shapes:
        yield {"name": name, "token": text, "account": account(20), "reason": reason}


# "Stamps"


def stamps() -> list[Case]:
    shapes = {
        "no stamp": (0, 300, 300),
        "now": (NOW, 300, 300),
        "still to come": (NOW + 10, 300, 300),
        "past": (NOW - 100, 300, 200),
        "just ended": (NOW - 300, 300, 0),
        "ended long ago": (NOW - 1000, 300, 0),
        "for nothing": (NOW, 0, 0),
    }
    return [
        {"name": name, "timestamp": timestamp, "expiration": expiration, "left": left}
        for name, (timestamp, expiration, left) in shapes.items()
    ]


def deadlines() -> list[Case]:
    shapes: dict[str, tuple[int, int, Any]] = {
        "fresh": (NOW, 60, NOW + 60),
        "its last second": (NOW - 59, 60, NOW + 1),
        "ended now": (NOW - 60, 60, "expired"),
        "ended long ago": (1000, 60, "expired"),
        "without a time to live": (NOW, 0, "expired"),
        "without a stamp": (0, 300, "expired"),
        "a clock a minute ahead": (NOW + 60, 60, NOW + 120),
        "a clock 61 seconds ahead": (NOW + 61, 60, "future"),
        "the largest stamp": (2**64 - 1, 2**64 - 1, "future"),
        "longer than anything lives": (NOW, 2**64 - 1, NOW + 7200),
        "absolute, as grid3 has it": (NOW, NOW + 60, NOW + 7200),
    }
    return [
        {"name": name, "timestamp": timestamp, "expiration": expiration}
        | ({"reason": end} if isinstance(end, str) else {"deadline": end})
        for name, (timestamp, expiration, end) in shapes.items()
    ]


# "Relays": what a client with the claim mm has taken


def places() -> list[Case]:
    shapes = {
        "none": ("", []),
        "one": ("1", [1]),
        "a row": ("1-3", [1, 2, 3]),
        "rows and single ones": ("1-3 5 7-8", [1, 2, 3, 5, 7, 8]),
        "in another order": ("8 1-2", [1, 2, 8]),
        "named twice": ("2 1-3", [1, 2, 3]),
        "a row of one": ("4-4", [4]),
        "a row that ends before it begins": ("4-3", []),
        "place 0, where nothing comes": ("0-1", [1]),
        "leading zeros": ("007", [7]),
    }
    return [{"name": name, "told": 8, "text": text, "places": found} for name, (text, found) in shapes.items()]


def invalid_places() -> list[Case]:
    shapes = {
        "where nothing came yet": "9",
        "a row to where nothing came yet": "1-9",
        "a blank": " ",
        "a blank in front": " 1",
        "two blanks": "1  2",
        "a blank behind": "1 ",
        "a comma": "1,2",
        "a sign": "-1",
        "three ends": "1-2-3",
        "no end": "1-",
        "sixteen digits": "0000000000000001",
        "other digits": "\u0661",
        "a line end behind": "1\n",
        "more than 1024 bytes": "1 " * 512 + "1",
    }
    return [{"name": name, "told": 8, "text": text, "reason": "bad-places"} for name, text in shapes.items()]
