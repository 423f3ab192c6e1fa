"""Vectors of mail.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform.

Bytes are hex; what ends with many zeros is ``{"start", "repeat", "times"}``. A case of ``invalid`` has an envelope, who
opens it with which mail secrets and when, and the reason it is refused for.
"""

import base64
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgpack  # type: ignore[import-untyped]
import nacl.bindings as sodium

NOW = 1_800_000_000
DAY = 86400
MAIL_LIFE = 15 * DAY
LONGEST = 1024 * 1024 + 16 * 1024
LONGEST_CONTENT = 1024 * 1024
HEADER = bytes.fromhex("6d6d0110")

Case = dict[str, Any]
Labelled = Callable[..., bytes]
Hash = Callable[[bytes], bytes]


class Peer:
    """Long-term keys, and one mail key."""

    def __init__(self, name: str, labelled: Labelled) -> None:
        self.seed, self.labelled = seed(name), labelled
        self.public, self.secret = sodium.crypto_sign_seed_keypair(self.seed)
        self.box = sodium.crypto_sign_ed25519_pk_to_curve25519(self.public)
        self.mail_secret = seed(f"{name}'s mail key")
        self.mail = sodium.crypto_scalarmult_base(self.mail_secret)

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sodium.crypto_sign(self.labelled(label, *parts), self.secret)[:64]

    def record(self, expires: int = NOW + 30 * DAY, addresses: tuple[str, ...] = ("tcp://192.0.2.7:4000",)) -> bytes:
        parts = [self.public, self.box, self.mail, (1).to_bytes(8, "big"), expires.to_bytes(8, "big")]
        signature = self.sign("mm/1 nodeinfo", *parts, *(address.encode() for address in addresses))
        return bytes(msgpack.packb([self.public, self.box, self.mail, list(addresses), 1, expires, signature]))


class Letter:
    """One envelope, step by step. What is given replaces what the specification says."""

    def __init__(self, labelled: Labelled, hashed: Hash, content: bytes = b"hello", **other: Any) -> None:
        self.sender, self.recipient, self.content = Peer("alice", labelled), Peer("bob", labelled), content
        self.record: bytes = other.get("record", self.sender.record())
        self.mail_key: bytes = other.get("mail_key", self.recipient.mail)
        self.at: int = other.get("at", NOW)
        self.ephemeral_secret = seed(other.get("ephemeral", "e"))
        self.ephemeral = sodium.crypto_scalarmult_base(self.ephemeral_secret)
        sealed_to = self.mail_key or self.recipient.box
        signer: Peer = other.get("signer", self.sender)
        to: bytes = other.get("signed_for", self.recipient.public)
        parts = (self.ephemeral, sealed_to, to, self.record, other.get("signed_content", content))
        self.signature = signer.sign(other.get("label", "mm/1 mail"), *parts)
        record_length = other.get("record_length", len(self.record)).to_bytes(2, "big")
        content_length = other.get("content_length", len(content)).to_bytes(4, "big")
        plain = record_length + self.record + self.signature + content_length + content
        self.plain: bytes = other.get("plain", plain) + other.get("after", b"")
        outside = 4 + 32 + 16
        if "after" not in other and "plain" not in other:
            self.plain += bytes(size_class(outside + len(self.plain)) - outside - len(self.plain))
        named: bytes = other.get("nonce_for", self.recipient.public)
        self.nonce = hashed(labelled("mm/1 mail nonce", HEADER, self.ephemeral, sealed_to, named))[:24]
        self.key = sodium.crypto_box_beforenm(sealed_to, self.ephemeral_secret)
        self.envelope = HEADER + self.ephemeral + sodium.crypto_box_easy_afternm(self.plain, self.nonce, self.key)

    def opened_by(self, name: str, envelope: bytes | None = None, secrets: list[bytes] | None = None) -> Case:
        secrets = [self.recipient.mail_secret] if secrets is None else secrets
        return {
            "name": name,
            "recipientSeed": self.recipient.seed.hex(),
            "mailSecrets": [secret.hex() for secret in secrets],
            "now": self.at,
            "envelope": folded(self.envelope if envelope is None else envelope),
        }

    def steps(self, name: str) -> Case:
        return self.opened_by(name) | {
            "senderSeed": self.sender.seed.hex(),
            "recipient": base64.b64encode(self.recipient.public).decode(),
            "record": self.record.hex(),
            "mailKey": self.mail_key.hex(),
            "ephemeralSecret": self.ephemeral_secret.hex(),
            "ephemeral": self.ephemeral.hex(),
            "nonce": self.nonce.hex(),
            "key": self.key.hex(),
            "signature": self.signature.hex(),
            "content": folded(self.content),
            "current": msgpack.unpackb(self.record)[5] > self.at,
        }


def mail_json(labelled: Labelled, hashed: Hash) -> Case:
    def letter(content: bytes = b"hello", **other: Any) -> Letter:
        return Letter(labelled, hashed, content, **other)

    expiring = Peer("alice", labelled).record(NOW + DAY)
    frame = bytes(msgpack.packb([0, NOW * 1000, 0, [[2, 17, 7, [], [], []]], [], [], [], []]))
    valid = [
        ("to a mail key", letter()),
        ("to the boxId", letter(mail_key=b"")),
        ("nothing in it", letter(b"")),
        ("an acknowledgement: a Frame of delivery.rst", letter(frame)),
        ("longer than the shortest class", letter(bytes(range(256)) * 6)),
        ("a record that has expired meanwhile", letter(record=expiring, at=NOW + DAY)),
        ("a record that expired nearly 15 days ago", letter(record=expiring, at=NOW + DAY + MAIL_LIFE - 1)),
    ]
    return {
        "specification": "docs/protocol/mail.rst",
        "classes": [{"name": str(size), "needs": size, "size": size_class(size)} for size in SIZES],
        "valid": [made.steps(name) for name, made in valid],
        "large": large(letter(bytes(LONGEST_CONTENT)), hashed),
        "readable": readable_cases(letter),
        "invalid": invalid_cases(letter, labelled),
    }


SIZES = [1, 1023, 1024, 1025, 1088, 1089, 2048, 2049, 65535, 65536, 65537, 1_000_000, 2**20, 2**20 + 1, LONGEST]


def size_class(needed: int) -> int:
    """PADME in its published form: by counting, not by shifting."""
    if needed <= 1024:
        return 1024
    exponent = 0
    while 2 ** (exponent + 1) <= needed:
        exponent += 1
    bits_of_exponent = 0
    while 2**bits_of_exponent <= exponent:
        bits_of_exponent += 1
    step: int = 2 ** (exponent - bits_of_exponent)
    return min(needed + -needed % step, LONGEST)


def large(letter: Letter, hashed: Hash) -> Case:
    """The longest content; of its envelope only length and BLAKE2b-256, as it is a megabyte."""
    steps = letter.steps("the longest content, of zeros")
    return steps | {"envelope": "", "size": len(letter.envelope), "hash": hashed(letter.envelope).hex()}


def readable_cases(letter: Callable[..., Letter]) -> list[Case]:
    """Not as this implementation seals, and to be taken."""
    cases = [("not padded", letter(after=b"")), ("padded to a size of its own", letter(after=bytes(777)))]
    made = [one.opened_by(name) | {"content": folded(one.content)} for name, one in cases]
    old, one = seed("last week's mail key"), letter()
    secrets = [seed("next week's mail key"), one.recipient.mail_secret, old]
    return [*made, one.opened_by("the second of three mail keys", secrets=secrets) | {"content": folded(one.content)}]


def invalid_cases(letter: Callable[..., Letter], labelled: Labelled) -> list[Case]:
    good = letter()
    alice, bob, eve = (Peer(name, labelled) for name in ("alice", "bob", "eve"))
    expired = alice.record(NOW)
    outside = [
        ("empty", b"", "too-short"),
        ("another protocol", b"GET / HTTP/1.1\r\n", "wrong-magic"),
        ("version 2, whatever follows", b"mm\2", "wrong-version"),
        ("version 2", flip(good.envelope, 2, 3), "wrong-version"),
        ("a frame of a session", flip(good.envelope, 3, 0x11), "wrong-type"),
        ("shorter than any", good.envelope[:121], "too-short"),
        ("longer than any", good.envelope + bytes(LONGEST + 1 - len(good.envelope)), "too-long"),
        ("E of low order", HEADER + bytes(32) + good.envelope[36:], "bad-key"),
        ("E altered", flip(good.envelope, 4), "bad-box"),
        ("the bit of E that X25519 ignores", flip(good.envelope, 35, 0x80), "bad-box"),
        ("the authenticator altered", flip(good.envelope, 36), "bad-box"),
        ("the padding altered", flip(good.envelope, len(good.envelope) - 1), "bad-box"),
        ("cut by a byte", good.envelope[:-1], "bad-box"),
        ("a byte more", good.envelope + b"\0", "bad-box"),
        ("the nonce of another recipient", letter(nonce_for=eve.public).envelope, "bad-box"),
    ]
    lengths = (len(good.record).to_bytes(2, "big") + good.record + good.signature, (5).to_bytes(4, "big") + b"hello")
    inside = [
        ("a box with nothing but zeros", letter(plain=bytes(70)), "bad-record"),
        ("the record's length reaches past the end", letter(record_length=0xFFFF), "bad-content"),
        ("the content's length reaches past the end", letter(content_length=0xFFFFFFFF), "bad-content"),
        ("padding that is not zeros", letter(after=bytes(50) + b"\1" + bytes(50)), "bad-content"),
        ("content beyond its length", letter(plain=b"".join(lengths) + b"!"), "bad-content"),
        ("a record of 8193 bytes", letter(record=bytes(8193)), "too-long"),
        ("no record", letter(record=b""), "bad-record"),
        ("a forged record", letter(record=flip(good.record, len(good.record) - 1)), "bad-record"),
        ("the record expired 15 days ago", letter(record=expired, at=NOW + MAIL_LIFE), "bad-record"),
        ("signed by another", letter(signer=eve), "bad-signature"),
        ("sealed again by the recipient as the sender's", letter(signer=bob), "bad-signature"),
        ("another's record", letter(record=eve.record()), "bad-signature"),
        ("signed for another recipient", letter(signed_for=eve.public), "bad-signature"),
        ("signed for the recipient's boxId", letter(signed_for=bob.box), "bad-signature"),
        ("the content altered", letter(b"hello", signed_content=b"hullo"), "bad-signature"),
        ("signed under another label", letter(label="mm/1 initiate"), "bad-signature"),
    ]
    wiped = good.opened_by("the mail key has been wiped", secrets=[])
    to_eve = good.opened_by("for somebody else") | {"recipientSeed": eve.seed.hex()}
    return [
        *(good.opened_by(name, envelope) | {"reason": reason} for name, envelope, reason in outside),
        *(one.opened_by(name) | {"reason": reason} for name, one, reason in inside),
        wiped | {"reason": "bad-box"},
        to_eve | {"reason": "bad-box"},
    ]


def seed(text: str) -> bytes:
    return sha256(b"mm/1 mail vectors: " + text.encode()).digest()


def flip(data: bytes, at: int, bits: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def folded(data: bytes) -> str | Case:
    start = data.rstrip(b"\0")
    if len(data) - len(start) < 512:
        return data.hex()
    return {"start": start.hex(), "repeat": "00", "times": len(data) - len(start)}
