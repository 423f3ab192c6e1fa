"""Writes docs/protocol/vectors/*.json; ``--check`` fails when a file on disk is another.

One function a file. This is a second implementation of the specifications beside it: it uses PyNaCl, msgpack and
protobuf, never mmplatform, so a mistake has to be made twice to go unseen. Everything is drawn from fixed seeds.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import nacl.bindings as sodium
from delivery_vectors import delivery_json
from directory_vectors import directory_json
from mail_vectors import mail_json
from messenger_vectors import messenger_json
from mixed_order import ORDER_8, MixedPair
from relay_vectors import relay_json
from rmb_vectors import rmb_json
from session_vectors import session_json
from webrtc_vectors import webrtc_json

Case = dict[str, Any]
VECTORS = Path(__file__).parent / "vectors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file differs")
    check = parser.parse_args().check
    stale = []
    for name, make in FILES.items():
        text = json.dumps(make(), indent=1, ensure_ascii=True) + "\n"
        path = VECTORS / name
        if check and (not path.exists() or path.read_text("utf-8") != text):
            stale.append(name)
        elif not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    if stale:
        print(f"differ from what {Path(__file__).name} makes: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


# identity.rst, "Keys" and "Signed and hashed strings"


def identity_json() -> Case:
    alice, bob = Pair(b"\x11" * 32), Pair(b"\x22" * 32)
    return {
        "specification": "docs/protocol/identity.rst",
        "keys": [
            pair_case("MicroMinion's first vector", alice),
            pair_case("MicroMinion's second vector", bob),
            pair_case("a seed of zeros", Pair(bytes(32))),
            pair_case("a seed of ones", Pair(b"\xff" * 32)),
        ],
        "invalidSignIds": invalid_sign_ids(alice),
        "labelled": [labelled_case(*case) for case in LABELLED],
        "signatures": signature_cases(alice, bob),
    }


class Pair:
    """An Ed25519 pair and its X25519 image."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public, self.secret = sodium.crypto_sign_seed_keypair(seed)
        self.box = sodium.crypto_sign_ed25519_pk_to_curve25519(self.public)

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sodium.crypto_sign(labelled(label, *parts), self.secret)[:64]


def pair_case(name: str, pair: Pair) -> Case:
    scalar = bytearray(hashlib.sha512(pair.seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return {
        "name": name,
        "seed": pair.seed.hex(),
        "signId": b64(pair.public),
        "boxId": b64(pair.box),
        "boxSecret": bytes(scalar).hex(),
    }


def invalid_sign_ids(pair: Pair) -> list[Case]:
    good = b64(pair.public)
    prime = (2**255 - 19).to_bytes(32, "little")
    texts = {
        "empty": ("", "length"),
        "31 bytes": (b64(pair.public[:31]), "length"),
        "33 bytes": (b64(pair.public + b"\0"), "length"),
        "no padding": (good[:-1], "length"),
        "a line break at the end": (good + "\n", "length"),
        "a blank in front, the padding cut": (" " + good[:-1], "alphabet"),
        "the URL alphabet": (b64(b"\xff" * 32).replace("/", "_"), "alphabet"),
        "not ASCII": ("\u00e9" + good[1:], "alphabet"),
        "bits set behind the last byte": (good[:-2] + LAST[LAST.index(good[-2]) + 1] + "=", "not canonical base64"),
        "the neutral element": (b64(b"\x01" + bytes(31)), "low order"),
        "a point of order 2": (b64((2**255 - 20).to_bytes(32, "little")), "low order"),
        "a point of order 4": (b64(bytes(32)), "low order"),
        "a point of order 8": (b64(ORDER_8), "low order"),
        "a key plus a point of order 8": (b64(sodium.crypto_core_ed25519_add(pair.public, ORDER_8)), "mixed order"),
        "not on the curve": (b64(b"\x02" + bytes(31)), "not on the curve"),
        "y is the field's prime": (b64(prime), "not canonical point"),
        "all bits set": (b64(b"\xff" * 32), "not canonical point"),
    }
    return [{"name": name, "signId": text, "reason": reason} for name, (text, reason) in texts.items()]


LAST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

LABELLED: list[tuple[str, str, list[bytes]]] = [
    ("a label alone", "mm/1 test", []),
    ("an empty part is not no part", "mm/1 test", [b""]),
    ("two parts", "mm/1 test", [b"ab", b"c"]),
    ("the same bytes cut elsewhere", "mm/1 test", [b"a", b"bc"]),
    ("a long part", "mm/1 test", [bytes(range(256)) * 2]),
]


def labelled(label: str, *parts: bytes) -> bytes:
    out = bytearray()
    for part in [label.encode("utf-8"), *parts]:
        out += bytes([len(part) >> 24, len(part) >> 16 & 255, len(part) >> 8 & 255, len(part) & 255]) + part
    return bytes(out)


def labelled_case(name: str, label: str, parts: list[bytes]) -> Case:
    encoded = labelled(label, *parts)
    return {
        "name": name,
        "label": label,
        "parts": [part.hex() for part in parts],
        "encoded": encoded.hex(),
        "digest": H(encoded).hex(),
    }


def signature_cases(alice: Pair, bob: Pair) -> list[Case]:
    label, parts = "mm/1 test", [b"ab", b"c"]
    good = alice.sign(label, *parts)
    order = 2**252 + 27742317777372353535851937790883648493
    plus_order = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    mixed = MixedPair(bytes(range(32)))
    shapes: list[tuple[str, Pair | MixedPair, str, list[bytes], bytes, str]] = [
        ("valid", alice, label, parts, good, ""),
        ("another key", bob, label, parts, good, "key"),
        ("another label", alice, "mm/1 tesu", parts, good, "label"),
        ("parts cut elsewhere", alice, label, [b"a", b"bc"], good, "parts"),
        ("a part more", alice, label, [*parts, b""], good, "parts"),
        ("cut", alice, label, parts, good[:63], "length"),
        ("a byte more", alice, label, parts, good + b"\0", "length"),
        ("empty", alice, label, parts, b"", "length"),
        ("the scalar plus the group order", alice, label, parts, plus_order, "malleable"),
        ("over the bare bytes", alice, label, parts, sodium.crypto_sign(b"abc", alice.secret)[:64], "no label"),
        ("by a key of mixed order", mixed, label, parts, mixed.sign(labelled(label, *parts)), "key"),
    ]
    return [
        {
            "name": name,
            "signId": b64(pair.public),
            "label": its_label,
            "parts": [part.hex() for part in its_parts],
            "signature": signature.hex(),
            "valid": not reason,
            **({"reason": reason} if reason else {}),
        }
        for name, pair, its_label, its_parts, signature, reason in shapes
    ]


# identity.rst, "NodeInfo" and "Tickets"

EXPIRES = 1_800_000_000
NOW = EXPIRES - 1


def nodeinfo_json() -> Case:
    alice, bob = Pair(b"\x11" * 32), Pair(b"\x22" * 32)
    return {
        "specification": "docs/protocol/identity.rst",
        "now": NOW,
        "valid": valid_records(alice, bob),
        "invalid": invalid_records(alice, bob),
        "tickets": ticket_cases(alice),
    }


ADDRESSES = ["tcp://192.0.2.7:4000", "relay+wss://relay.example/KEY", "webrtc:"]


def fields(pair: Pair, **changes: Any) -> dict[str, Any]:
    """The seven fields in their order; ``changes`` are made before signing."""
    plain = {"sign": pair.public, "box": pair.box, "mail": b"", "addresses": ADDRESSES, "seq": 1, "expires": EXPIRES}
    return plain | changes


def signed(pair: Pair, plain: dict[str, Any], label: str = "mm/1 nodeinfo") -> list[Any]:
    parts = [plain["sign"], plain["box"], plain["mail"]]
    parts += [plain[name].to_bytes(8, "big", signed=plain[name] < 0) for name in ("seq", "expires")]
    parts += [address.encode("utf-8") for address in plain["addresses"]]
    return [*plain.values(), pair.sign(label, *parts)]


def packed(record: Any) -> bytes:
    data = msgpack.packb(record, use_bin_type=True)
    assert isinstance(data, bytes)
    return data


def valid_records(alice: Pair, bob: Pair) -> list[Case]:
    most = [f"tcp://[2001:db8::{number:x}]:1/".ljust(256, "x") for number in range(16)]
    shapes = {
        "three addresses": (alice, fields(alice)),
        "no address": (alice, fields(alice, addresses=[])),
        "a mail key": (bob, fields(bob, mail=alice.box, seq=2)),
        "the largest": (alice, fields(alice, addresses=most, mail=bob.box, seq=2**53 - 1, expires=2**53 - 1)),
        "seq zero": (alice, fields(alice, seq=0)),
    }
    cases = []
    for name, (pair, plain) in shapes.items():
        record = signed(pair, plain)
        cases.append(
            {
                "name": name,
                "signId": b64(plain["sign"]),
                "boxId": b64(plain["box"]),
                "mailKey": plain["mail"].hex(),
                "connectionInfo": plain["addresses"],
                "seq": plain["seq"],
                "expires": plain["expires"],
                "signature": record[-1].hex(),
                "seed": pair.seed.hex(),
                "record": packed(record).hex(),
            }
        )
    return cases


def invalid_records(alice: Pair, bob: Pair) -> list[Case]:
    good = signed(alice, fields(alice))
    whole = packed(good)
    low = b"\x01" + bytes(31)

    def with_field(index: int, value: Any) -> bytes:
        return packed([*good[:index], value, *good[index + 1 :]])

    def resigned(**changes: Any) -> bytes:
        return packed(signed(alice, fields(alice, **changes)))

    long_seq = whole.replace(packed(EXPIRES), b"\xcf" + EXPIRES.to_bytes(8, "big"))
    shapes: list[tuple[str, bytes, str]] = [
        ("empty", b"", "malformed"),
        ("cut", whole[:-1], "malformed"),
        ("a byte more", whole + b"\0", "malformed"),
        ("random bytes", H(b"random bytes") * 4, "malformed"),
        ("longer than 8 KiB", whole + bytes(8193 - len(whole)), "size"),
        ("a map", packed({"signId": good[0]}), "malformed"),
        ("a field less", packed(good[:-1]), "malformed"),
        ("a field more", packed([*good, 0]), "malformed"),
        ("keys as text", packed([b64(good[0]), *good[1:]]), "malformed"),
        ("a number in a longer form", long_seq, "malformed"),
        ("seq is a float", with_field(4, 1.0), "malformed"),
        ("seq is true", with_field(4, True), "malformed"),
        ("addresses are bytes", with_field(3, [b"tcp://192.0.2.7:4000"]), "malformed"),
        ("a signId of 31 bytes", with_field(0, good[0][:31]), "malformed"),
        ("a boxId of 33 bytes", with_field(1, good[1] + b"\0"), "malformed"),
        ("a signature of 63 bytes", with_field(6, good[6][:63]), "malformed"),
        ("a signId of low order", with_field(0, low), "sign-id"),
        ("the boxId of another key", resigned(box=bob.box), "box-id"),
        ("the mail key has 31 bytes", resigned(mail=bob.box[:31]), "mail-key"),
        ("the mail key is of low order", resigned(mail=low), "mail-key"),
        ("17 addresses", resigned(addresses=["webrtc:"] * 17), "addresses"),
        ("an address of 257 characters", resigned(addresses=["tcp://".ljust(257, "x")]), "addresses"),
        ("an empty address", resigned(addresses=[""]), "addresses"),
        ("an address without a scheme", resigned(addresses=["192.0.2.7:4000"]), "addresses"),
        ("an address with a line break", resigned(addresses=["tcp://a\n"]), "addresses"),
        ("an address that is not ASCII", resigned(addresses=["tcp://\u00e9"]), "addresses"),
        ("seq is negative", resigned(seq=-1), "seq"),
        ("seq is 2**53", resigned(seq=2**53), "seq"),
        ("expires is 2**53", resigned(expires=2**53), "expires"),
        ("signed by another key", packed(signed(bob, fields(alice))), "signature"),
        ("signed under another label", packed(signed(alice, fields(alice), "mm/1 mail")), "signature"),
        ("a zero signature", with_field(6, bytes(64)), "signature"),
        ("seq changed", with_field(4, 2), "signature"),
        ("expires changed", with_field(5, EXPIRES + 1), "signature"),
        ("an address changed", with_field(3, ["tcp://192.0.2.8:4000", *ADDRESSES[1:]]), "signature"),
        ("an address taken away", with_field(3, ADDRESSES[:-1]), "signature"),
        ("addresses in another order", with_field(3, ADDRESSES[::-1]), "signature"),
        ("a mail key added", with_field(2, bob.box), "signature"),
        ("expires now", resigned(expires=NOW), "expired"),
        ("expired long ago", resigned(expires=0), "expired"),
    ]
    return [{"name": name, "record": record.hex(), "reason": reason} for name, record, reason in shapes]


def ticket_cases(alice: Pair) -> list[Case]:
    record = packed(signed(alice, fields(alice)))
    good = ticket(record)
    spoiled = packed([*signed(alice, fields(alice))[:-1], bytes(64)])
    swapped = good[:40] + good[41] + good[40] + good[42:]
    lines = "\r\n".join(good[at : at + 60] for at in range(0, len(good), 60))
    shapes: list[tuple[str, str, str]] = [
        ("as made", good, ""),
        ("in capitals", good.upper(), ""),
        ("wrapped and indented", f"  {lines}\n\t", ""),
        ("empty", "", "prefix"),
        ("the prefix alone", "mm1", "checksum"),
        ("of a later version", "mm2" + good[3:], "prefix"),
        ("the last character cut", good[:-1], "checksum"),
        ("two characters swapped", swapped, "checksum"),
        ("a character no ticket has", good[:50] + "1" + good[51:], "alphabet"),
        ("padded", good + "=", "alphabet"),
        ("the wrong checksum", "mm1" + b32(record + bytes(4)), "checksum"),
        ("an unsigned record", ticket(spoiled), "record"),
        ("an expired record", ticket(packed(signed(alice, fields(alice, expires=NOW)))), "record"),
        ("no record", ticket(b""), "record"),
    ]
    return [
        {"name": name, "ticket": text, **({"reason": reason} if reason else {"record": record.hex()})}
        for name, text, reason in shapes
    ]


def ticket(record: bytes) -> str:
    return "mm1" + b32(record + H(labelled("mm/1 ticket", record))[:4])


# what all of them use


def H(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def b32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower().rstrip("=")


FILES: dict[str, Callable[[], Case]] = {
    "identity.json": identity_json,
    "nodeinfo.json": nodeinfo_json,
    "session.json": session_json,
    "delivery.json": delivery_json,
    "directory.json": lambda: directory_json(labelled, H),
    "mail.json": lambda: mail_json(labelled, H),
    "messenger.json": lambda: messenger_json(labelled, H),
    "relay.json": lambda: relay_json(labelled),
    "rmb.json": rmb_json,
    "webrtc.json": webrtc_json,
}


if __name__ == "__main__":
    sys.exit(main())
