"""Records of twins for the vectors of rmb.rst, written by msgpack and signed by libsodium."""

from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
from rmb_envelopes import NOW
from rmb_pairs import TWINS, Case, account, ed25519, seed

SR25519_RECORD = (
    "970ac42046ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47ac421035b26108e8b97479c547da4860d862d"
    "c08ab2c29ada449c74d5a9a58a6c46a8c492ad72656c61792e6578616d706c65b377733a2f3132372e302e302e313a3138303830cf00"
    "0001a1fbb7f720ce6b2b23b4c441734ced588f3bba942fbca5b91da38557ab25b0a438f3d278a5b26ada8a8e627812620c42f710fadd"
    "4a185d706d825860d944b9f383b6959db02f0ba2bea14d1383"
)
MONTH = 32 * 24 * 3600
RELAYS = ["relay.example", "ws:/127.0.0.1:18080"]


def pk(number: int) -> str:
    return TWINS[number][4]


def signed(fields: list[Any], number: int = 30) -> bytes:
    """Sign what comes before the signature, whatever it is."""
    twin, public, key, relays, seq, expires = fields
    numbers = [seq.to_bytes(8, "big"), expires.to_bytes(8, "big")]
    out = bytearray()
    for part in [b"mm/1 rmb twin", twin.to_bytes(4, "big"), public, key, *numbers, *(one.encode() for one in relays)]:
        out += len(part).to_bytes(4, "big") + part
    return b"e" + ed25519(number, bytes(out))


def fields(**other: Any) -> list[Any]:
    usual: dict[str, Any] = {
        "twin": 30, "account": bytes.fromhex(account(30)), "pk": bytes.fromhex(pk(30)), "relays": RELAYS,
        "seq": NOW * 1000, "expires": NOW + 7 * 24 * 3600,
    }  # fmt: skip
    return list((usual | other).values())


def record(**other: Any) -> bytes:
    made = fields(**other)
    packed: bytes = msgpack.packb([*made, signed(made)])
    return packed


def records() -> Iterator[Case]:
    shapes: dict[str, dict[str, Any]] = {
        "usual": {},
        "without a pk": {"pk": b""},
        "without relays": {"relays": []},
        "four of the longest relays, the largest numbers": {
            "twin": 2**32 - 1, "relays": [f"{number}".ljust(255, "~") for number in range(4)], "seq": 2**53 - 1,
            "expires": NOW + MONTH,
        },
        "the smallest numbers": {"twin": 1, "seq": 0, "expires": NOW + 1},
    }  # fmt: skip
    for name, other in shapes.items():
        twin, public, key, relays, seq, expires = fields(**other)
        case = {"name": name, "record": record(**other).hex(), "twin": twin, "account": public.hex(), "pk": key.hex()}
        yield case | {"relays": relays, "seq": seq, "expires": expires, "seed": seed(30).hex()}
    yield {"name": "sr25519", "record": SR25519_RECORD, "twin": 10, "account": account(10), "pk": pk(10)} | {
        "relays": RELAYS, "seq": NOW * 1000, "expires": NOW + MONTH,
    }  # fmt: skip


def invalid_records() -> Iterator[Case]:
    good, usual = record(), fields()
    unpacked = msgpack.unpackb(good)
    wide = good[:1] + b"\xcd\x00\x1e" + good[2:]  # 30 in three bytes
    shapes: list[tuple[str, bytes, str]] = [
        ("empty", b"", "malformed"),
        ("cut", good[:-1], "malformed"),
        ("a byte more", good + b"\0", "malformed"),
        ("a number in a longer form", wide, "malformed"),
        ("six fields", msgpack.packb(usual), "malformed"),
        ("eight fields", msgpack.packb([*unpacked, 0]), "malformed"),
        ("a map", msgpack.packb(dict(enumerate(unpacked))), "malformed"),
        ("a twin that is true", msgpack.packb([True, *unpacked[1:]]), "malformed"),
        ("a relay that is bytes", msgpack.packb([*unpacked[:3], [b"r"], *unpacked[4:]]), "malformed"),
        ("a signature of 64 bytes", msgpack.packb([*usual, signed(usual)[1:]]), "malformed"),
        ("a signature of 66 bytes", msgpack.packb([*usual, signed(usual) + b"\0"]), "malformed"),
        ("1233 bytes", bytes(1233), "size"),
        ("twin 0", record(twin=0), "twin"),
        ("a twin of 2**32", msgpack.packb([2**32, *unpacked[1:]]), "twin"),
        ("an account of 31 bytes", record(account=bytes.fromhex(account(30))[1:]), "account"),
        ("the neutral element as account", record(account=bytes(32)), "account"),
        ("a pk of 32 bytes", record(pk=bytes.fromhex(pk(30))[1:]), "pk"),
        ("a pk that is not compressed", record(pk=b"\x04" + bytes.fromhex(pk(30))[1:]), "pk"),
        ("a pk that is no point", record(pk=b"\x02" + b"\xff" * 32), "pk"),
        ("five relays", record(relays=list("abcde")), "relays"),
        ("a relay twice", record(relays=["a", "a"]), "relays"),
        ("an empty relay", record(relays=[""]), "relays"),
        ("a relay of 256 characters", record(relays=["r" * 256]), "relays"),
        ("a relay with _", record(relays=["a_b"]), "relays"),
        ("a relay with a line end", record(relays=["a\n"]), "relays"),
        ("a relay beyond ASCII", record(relays=["\u00e9"]), "relays"),
        ("a seq of 2**53", record(seq=2**53), "seq"),
        ("expires of 2**53", record(expires=2**53), "expires"),
        ("a negative seq", msgpack.packb([*unpacked[:4], -1, *unpacked[5:]]), "seq"),
        ("another twin", msgpack.packb([31, *unpacked[1:]]), "signature"),
        ("another pk", msgpack.packb([*unpacked[:2], bytes.fromhex(pk(10)), *unpacked[3:]]), "signature"),
        ("relays run together", msgpack.packb([*unpacked[:3], ["".join(RELAYS)], *unpacked[4:]]), "signature"),
        ("relays in another order", msgpack.packb([*unpacked[:3], RELAYS[::-1], *unpacked[4:]]), "signature"),
        ("later", msgpack.packb([*unpacked[:5], NOW + 1, unpacked[6]]), "signature"),
        ("by another twin", msgpack.packb([*usual, signed(usual, 20)]), "signature"),
        ("as sr25519", msgpack.packb([*usual, b"s" + signed(usual)[1:]]), "signature"),
        ("ended now", record(expires=NOW), "expired"),
        ("more than 32 days ahead", record(expires=NOW + MONTH + 1), "expires"),
    ]
    for name, data, reason in shapes:
        yield {"name": name, "record": data.hex(), "reason": reason}
