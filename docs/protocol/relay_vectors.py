"""Vectors of relay.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform.

Messages are given as values (bytes as ``{"hex": ...}``) and as bytes. A sign-in lists what goes in and both signatures.
A case of ``invalidSignIns`` is refused by the relay; by the client when it has ``dialled`` (the key in the address) or
``welcomeSignature``.
"""

import base64
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgpack  # type: ignore[import-untyped]
import nacl.bindings as sodium
from mixed_order import MixedPair

Case = dict[str, Any]
Labelled = Callable[..., bytes]

NOW = 1_800_000_000_000
KEY, OTHER = sha256(b"a peer").digest(), sha256(b"another peer").digest()
ID, SIGNATURE = sha256(b"an id").digest()[:16], sha256(b"s").digest() * 2
RELAY = sodium.crypto_sign_seed_keypair(b"\x02" * 32)[0]
ADDRESS = "relay+wss://relay.example/" + base64.urlsafe_b64encode(RELAY).decode().rstrip("=")
LIMITS = [262144, 1064960, 1_209_600_000, 2**26, 10_000, 2**26, 10_000, 0, 0, 2**20, 256]

ITEMS: dict[str, list[Any]] = {
    "challenge": [0, KEY, OTHER, "relay.example"],
    "sign in": [1, KEY, OTHER, SIGNATURE, 0, ""],
    "sign in of a relay": [1, KEY, OTHER, SIGNATURE, 1, ADDRESS],
    "welcome": [2, SIGNATURE, NOW, LIMITS],
    "bye": [3, "taken-over", 0],
    "open": [4, KEY, 1, b"\x6d\x6d\x01\x01", ""],
    "open through another relay": [4, KEY, 2**53 - 1, b"\x00", ADDRESS],
    "data": [5, KEY, 2**53 - 1, bytes(range(256))],
    "data of nothing": [5, KEY, 1, b""],
    "shut": [6, KEY, 0, "gone"],
    "pause": [7, KEY],
    "resume": [8, KEY],
    "present": [9, KEY],
    "deposit": [10, KEY, ID, NOW + 86_400_000, b"\x6d\x6d\x01\x10", ""],
    "deposit at another relay": [10, KEY, ID, NOW + 86_400_000, b"\x6d\x6d\x01\x10", ADDRESS],
    "stored": [11, KEY, ID, NOW + 86_400_000, False],
    "stored, held up": [11, KEY, ID, NOW + 86_400_000, True],
    "declined": [12, KEY, ID, "overflow", 60_000],
    "room": [13, KEY],
    "ended": [14, 1, KEY, ID, "delivered"],
    "noted": [15, 2**53 - 1],
    "mail": [16, 7, KEY, b"\x6d\x6d\x01\x10"],
    "taken": [17, [7, 8, 10], False],
    "refused": [17, [9], True],
    "carried": [18, KEY, OTHER, [5, OTHER, 1, b"\x01"]],
    "carried mail": [18, KEY, OTHER, [10, OTHER, ID, NOW, b"\x01", ADDRESS]],
    "waiting": [19, ""],
}

# Defaults that were left out, and elements that a later version may add.
LENIENT: dict[str, tuple[list[Any], list[Any]]] = {
    "sign in without role and address": (ITEMS["sign in"][:4], ITEMS["sign in"]),
    "bye without retry": ([3, "stopping"], [3, "stopping", 0]),
    "open without via": (ITEMS["open"][:4], ITEMS["open"]),
    "an element more": ([*ITEMS["pause"], "later"], ITEMS["pause"]),
    "a limit more": ([2, SIGNATURE, NOW, [*LIMITS, 5]], ITEMS["welcome"]),
}

INVALID: dict[str, Any] = {
    "an item and no array of items": ITEMS["pause"],
    "a map": {"0": ITEMS["pause"]},
    "no tag": [[]],
    "an unknown tag": [[20, KEY]],
    "a tag that is text": [["7", KEY]],
    "too few elements": [[5, KEY, 1]],
    "a key of 31 bytes": [[7, KEY[:31]]],
    "a key of 33 bytes": [[7, KEY + b"\0"]],
    "a key as text": [[7, KEY.hex()[:32]]],
    "an id of 17 bytes": [[11, KEY, ID + b"\0", NOW]],
    "a signature of 63 bytes": [[1, KEY, OTHER, SIGNATURE[:63], 0, ""]],
    "a negative link": [[5, KEY, -1, b""]],
    "a link of 2**53": [[5, KEY, 2**53, b""]],
    "a link that is a float": [[5, KEY, 1.5, b""]],
    "a reason of 201 characters": [[6, KEY, 1, "r" * 201]],
    "a name of 256 characters": [[0, KEY, OTHER, "n" * 256]],
    "an address of 257 characters": [[4, KEY, 1, b"", "a" * 257]],
    "a welcome with ten limits": [[2, SIGNATURE, NOW, LIMITS[:10]]],
    "mail carried": [[18, KEY, OTHER, ITEMS["mail"]]],
    "carried twice": [[18, KEY, OTHER, ITEMS["carried"]]],
    "a sign-in carried": [[18, KEY, OTHER, ITEMS["sign in"]]],
}


def relay_json(labelled: Labelled) -> Case:
    whole = msgpack.packb([ITEMS["data"], ITEMS["pause"]])
    messages = [message(name, [value]) for name, value in ITEMS.items()]
    messages += [message("nothing", []), message("two items", [ITEMS["data"], ITEMS["pause"]])]
    lenient = [
        message(name, [meant]) | {"hex": msgpack.packb([sent]).hex(), "readOnly": True}
        for name, (sent, meant) in LENIENT.items()
    ]
    broken = [
        ("empty", b"", 0),
        ("cut", whole[:-1], 0),
        ("a byte more", whole + b"\0", 0),
        ("4097 items", msgpack.packb([[15, 1]] * 4097), 0),
        ("4294967295 items announced", b"\xdd\xff\xff\xff\xff", 0),
        ("a frame of 262145 bytes", b"\x91\x94\x05\xc4\x20" + KEY + b"\x01\xc6\x00\x04\x00\x01", 262145),
        ("an envelope of 1064961 bytes", b"\x91\x94\x10\x01\xc4\x20" + KEY + b"\xc6\x00\x10\x40\x01", 1064961),
        ("a message of 2097153 bytes", b"\xc6\x00\x1f\xff\xfc", 2097148),
    ]
    refused = [
        {"name": name, "hex": msgpack.packb(value).hex(), "reason": "bad-item"} for name, value in INVALID.items()
    ]
    refused += [{"name": name, "hex": data.hex(), "zeros": zeros, "reason": "bad-item"} for name, data, zeros in broken]
    return {
        "specification": "docs/protocol/relay.rst",
        "messages": messages + lenient,
        "invalidMessages": refused,
        "signIns": [SignIn(labelled).case("a peer"), SignIn(labelled, role=1, address=ADDRESS).case("a relay")],
        "invalidSignIns": invalid_sign_ins(labelled),
    }


def message(name: str, items: list[Any]) -> Case:
    return {"name": name, "items": readable(items), "hex": msgpack.packb(items).hex()}


def readable(value: Any) -> Any:
    """Bytes as {"hex": ...}: JSON has no bytes."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [readable(inner) for inner in value] if isinstance(value, list) else value


class SignIn:
    """One sign-in by both sides. What is given replaces what the client signs."""

    def __init__(self, labelled: Labelled, role: int = 0, address: str = "", signed: Case | None = None) -> None:
        self.labelled, self.role, self.address, self.relay_name = labelled, role, address, "relay.example"
        self.client_seed, self.relay_seed = b"\x01" * 32, b"\x02" * 32
        self.client, client_secret = sodium.crypto_sign_seed_keypair(self.client_seed)
        self.relay, self.relay_secret = sodium.crypto_sign_seed_keypair(self.relay_seed)
        self.challenge, self.nonce = sha256(b"the challenge").digest(), sha256(b"the client's nonce").digest()
        parts: dict[str, bytes] = {
            "challenge": self.challenge,
            "relay": self.relay,
            "name": self.relay_name.encode(),
            "client": self.client,
            "nonce": self.nonce,
            "role": role.to_bytes(8, "big"),
            "address": address.encode(),
        }
        changed: Case = {"label": "mm/1 relay", "secret": client_secret} | parts | (signed or {})
        label, secret = changed.pop("label"), changed.pop("secret")
        self.signature = self.sign(secret, label, *changed.values())
        self.welcome = self.welcomed(self.relay_secret)

    def sign(self, secret: bytes | MixedPair, label: str, *parts: bytes) -> bytes:
        if isinstance(secret, MixedPair):
            return secret.sign(self.labelled(label, *parts))
        return sodium.crypto_sign(self.labelled(label, *parts), secret)[:64]

    def welcomed(self, secret: bytes, **changed: bytes) -> bytes:
        parts = {
            "nonce": self.nonce,
            "challenge": self.challenge,
            "relay": self.relay,
            "name": self.relay_name.encode(),
            "client": self.client,
        }
        return self.sign(secret, "mm/1 relay welcome", *(parts | changed).values())

    def case(self, name: str) -> Case:
        return {
            "name": name,
            "clientSeed": self.client_seed.hex(),
            "relaySeed": self.relay_seed.hex(),
            "relayName": self.relay_name,
            "challenge": self.challenge.hex(),
            "nonce": self.nonce.hex(),
            "role": self.role,
            "address": self.address,
            "signature": self.signature.hex(),
            "welcomeSignature": self.welcome.hex(),
        }

    def refused(self, name: str, reason: str, **more: Any) -> Case:
        shown = {
            "name": name,
            "challenge": self.challenge.hex(),
            "relay": self.relay.hex(),
            "relayName": self.relay_name,
            "key": self.client.hex(),
            "nonce": self.nonce.hex(),
            "role": self.role,
            "address": self.address,
            "signature": self.signature.hex(),
            "reason": reason,
        }
        return shown | more


def invalid_sign_ins(labelled: Labelled) -> list[Case]:
    good = SignIn(labelled)
    other_public, other_secret = sodium.crypto_sign_seed_keypair(b"\x03" * 32)
    signed: dict[str, dict[str, Any]] = {
        "replayed: for an earlier challenge": {"challenge": sha256(b"an earlier challenge").digest()},
        "for another relay": {"relay": other_public},
        "for another name": {"name": b"other.example"},
        "for another key": {"client": other_public},
        "for another nonce": {"nonce": bytes(32)},
        "for another role": {"role": (1).to_bytes(8, "big")},
        "role in one byte": {"role": b"\0"},
        "for another address": {"address": ADDRESS.encode()},
        "under another label": {"label": "mm/1 relay welcome"},
        "by another key": {"secret": other_secret},
        "name and key run together": {"name": good.relay_name.encode() + good.client, "client": b""},
    }
    cases = [SignIn(labelled, signed=changes).refused(name, "bad-sign-in") for name, changes in signed.items()]
    cases.append(good.refused("no signature", "bad-sign-in", signature=bytes(64).hex()))
    cases.append(good.refused("a key of low order", "bad-sign-in", key=(b"\1" + bytes(31)).hex()))
    mixed = MixedPair(b"\x01" * 32)
    theirs = SignIn(labelled, signed={"secret": mixed, "client": mixed.public})
    cases.append(theirs.refused("a key of mixed order", "bad-sign-in", key=mixed.public.hex()))
    cases.append(good.refused("another relay answers", "wrong-relay", dialled=other_public.hex()))
    welcomes = {
        "a welcome by another key": good.welcomed(other_secret),
        "a welcome for another nonce": good.welcomed(good.relay_secret, nonce=bytes(32)),
        "a welcome for another client": good.welcomed(good.relay_secret, client=other_public),
        "the client's signature as a welcome": good.signature,
    }
    return cases + [good.refused(name, "wrong-relay", welcomeSignature=value.hex()) for name, value in welcomes.items()]
