"""Contents of bundles for messenger_vectors.py: sealed step by step, and what must not open."""

import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import nacl.bindings as sodium
from mail_vectors import flip
from messenger_streams import LAST, MORE, PUSH, REKEY, SEGMENT, cut, stream

Case = dict[str, Any]
Labelled = Callable[..., bytes]
Hash = Callable[[bytes], bytes]
SEALED, COMPRESSED = 1, 2


class Peer:
    """Long-term keys, and one mail key."""

    def __init__(self, name: str, labelled: Labelled) -> None:
        self.name, self.seed, self.labelled = name, seed(name), labelled
        self.public, self.secret = sodium.crypto_sign_seed_keypair(self.seed)
        self.box = sodium.crypto_sign_ed25519_pk_to_curve25519(self.public)
        self.mail_secret = seed(f"{name}'s mail key")
        self.mail = sodium.crypto_scalarmult_base(self.mail_secret)

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sodium.crypto_sign(self.labelled(label, *parts), self.secret)[:64]


class Sealing:
    """One content that is sealed, step by step. What is given replaces what the specification says."""

    def __init__(self, peers: dict[str, Peer], hashed: Hash, data: bytes = b"hello", **other: Any) -> None:
        self.peers, self.hashed, self.data = peers, hashed, data
        labelled = peers["alice"].labelled
        self.sender: str = other.get("sender", "alice")
        self.to: list[str] = other.get("to", ["bob"])
        self.boxed_to_mail_keys: bool = other.get("mail", False)
        self.flags: int = other.get("flags", 0) | SEALED
        self.kind: int = other.get("kind", 0)
        self.secret, self.key = seed("e"), seed("K")
        self.ephemeral = sodium.crypto_scalarmult_base(self.secret)
        for_bob_only: bytes = other.get("another_key_for_bob", self.key)
        named = [peers[name].public for name in self.to]
        keys = [for_bob_only if name == "bob" else self.key for name in self.to]
        self.boxes = [self.box(peers[name], key) for name, key in zip(self.to, keys, strict=True)]
        parts = (bytes([self.flags]), peers[other.get("about_sender", self.sender)].public)
        self.about = labelled("mm/1 bundle content", *parts, *other.get("about", named))
        commitment = hashed(labelled("mm/1 stream", self.key, self.ephemeral, self.about))[:24]
        self.header: bytes = other.get("header", commitment)
        plain = other.get("length", len(data)).to_bytes(8, "big") + data
        if "plain" in other:
            plain = other["plain"]
        else:
            plain += other.get("after", bytes(size_class(len(plain)) - len(plain)))
        self.sealed = stream(self.key, self.header, cut(plain, other.get("last", LAST)))

    def box(self, peer: Peer, key: bytes) -> bytes:
        sealed_to = peer.mail if self.boxed_to_mail_keys else peer.box
        nonce = self.hashed(peer.labelled("mm/1 stream key", self.ephemeral, sealed_to, peer.public))[:24]
        return sodium.crypto_box_easy_afternm(key, nonce, sodium.crypto_box_beforenm(sealed_to, self.secret))

    @property
    def start(self) -> bytes:
        return bytes([self.flags]) + self.ephemeral + b"".join(self.boxes) + self.header

    @property
    def content(self) -> bytes:
        return self.start + b"".join(self.sealed)

    def opened_by(self, name: str, content: bytes | None = None, **other: Any) -> Case:
        """``sender`` and ``recipients`` are those of the header; all else of it has no part in this."""
        reader: Peer = self.peers[other.get("reader") or self.to[0]]
        return {
            "name": name,
            "kind": self.kind,
            "sender": self.peers[other.get("sender", self.sender)].public.hex(),
            "recipients": [self.peers[peer].public.hex() for peer in other.get("recipients", self.to)],
            "readerSeed": reader.seed.hex(),
            "mailSecrets": [secret.hex() for secret in other.get("secrets", [reader.mail_secret])],
            "content": (self.content if content is None else content).hex(),
        }

    def steps(self, name: str) -> Case:
        return self.opened_by(name, reader=self.to[-1]) | {
            "mailKeys": [self.peers[peer].mail.hex() if self.boxed_to_mail_keys else "" for peer in self.to],
            "ephemeralSecret": self.secret.hex(),
            "key": self.key.hex(),
            "about": self.about.hex(),
            "commitment": self.header.hex(),
            "data": self.data.hex(),
        }


Seal = Callable[..., Sealing]


def contents(peers: dict[str, Peer], hashed: Hash) -> Case:
    def seal(data: bytes = b"hello", **other: Any) -> Sealing:
        return Sealing(peers, hashed, data, **other)

    def plain(name: str, content: bytes, kind: int = 0, to: tuple[str, ...] = ()) -> Case:
        return seal(to=list(to), kind=kind).opened_by(name, content, reader="bob")

    valid = [
        ("to a boxId", seal()),
        ("to a mail key", seal(mail=True)),
        ("to three", seal(to=["bob", "carol", "dave"])),
        ("nothing in it", seal(b"")),
        ("a reference", seal(kind=3)),
        ("longer than the shortest class", seal(data_of(600))),
    ]
    return {
        "classes": [{"name": str(size), "needs": size, "size": size_class(size)} for size in SIZES],
        "sealed": [made.steps(name) for name, made in valid],
        "large": large(seal, hashed),
        "readable": [
            *(made.opened_by(name) | {"data": b"hello".hex()} for name, made in readable(seal)),
            plain("for everybody", b"\0hello") | {"data": b"hello".hex()},
            plain("for everybody, nothing in it", b"\0") | {"data": ""},
            plain("for everybody, compressed", b"\2" + stored(b"hello")) | {"data": b"hello".hex()},
            plain("a receipt is not sealed", b"\0hello", 1, ("bob",)) | {"data": b"hello".hex()},
            plain("a letter is not sealed", b"\0hello", 2, ("bob",)) | {"data": b"hello".hex()},
        ],
        "unreadable": [
            plain("a flag that is none", b"\4hello") | {"reason": "bad-content"},
            plain("sealed, and for everybody", seal().content) | {"reason": "bad-content"},
            plain("not sealed, and for somebody", b"\0hello", 0, ("bob",)) | {"reason": "bad-content"},
            plain("a receipt that is sealed", seal().content, 1, ("bob",)) | {"reason": "bad-content"},
            *(
                plain(f"compressed, {name}", b"\2" + body) | {"reason": "bad-content"}
                for name, body in compressed_badly(stored(b"hello"))
            ),
            *outside(seal),
            *(made.opened_by(name) | {"reason": reason} for name, made, reason in inside(seal)),
        ],
    }


SIZES = [1, 511, 512, 513, 544, 545, 1024, 1025, 65535, 65536, 65537, 1_000_000, 2**20, 2**20 + 1, 63 * 2**20]


def compressed_badly(good: bytes) -> list[tuple[str, bytes]]:
    return [
        ("and cut off", good[:-1]),
        ("something follows", good + b"\0"),
        ("its checksum altered", flip(good, len(good) - 1)),
        ("no zlib at all", b"hello"),
        ("nothing", b""),
    ]


def readable(seal: Seal) -> list[tuple[str, Sealing]]:
    """Not as this implementation seals, and to be taken."""
    return [
        ("compressed", seal(stored(b"hello"), flags=COMPRESSED)),
        ("not padded", seal(after=b"")),
        ("padded to a size of its own", seal(after=bytes(777))),
    ]


def outside(seal: Seal) -> list[Case]:
    """What anybody can do to a content, and what a recipient can do who knows the key."""
    good, three = seal(), seal(to=["bob", "carol", "dave"])
    content, box, commitment = good.content, 33, 33 + 48
    low = content[:1] + bytes(32) + content[33:]
    shapes: list[tuple[str, bytes, str]] = [
        ("E of low order", low, "bad-key"),
        ("E altered", flip(content, 1), "bad-box"),
        ("the bit of E that X25519 ignores", flip(content, 32, 0x80), "bad-box"),
        ("our box altered", flip(content, box), "bad-box"),
        ("the commitment altered", flip(content, commitment), "bad-box"),
        ("the first segment altered", flip(content, commitment + 24), "bad-box"),
        ("the last byte altered", flip(content, len(content) - 1), "bad-box"),
        ("said to be compressed", flip(content, 0, COMPRESSED), "bad-box"),
        ("cut by a byte", content[:-1], "bad-box"),
        ("a byte more", content + b"\0", "bad-box"),
        ("nothing but flags", content[:1], "bad-content"),
        ("cut before the first segment", content[: commitment + 24], "bad-content"),
        ("cut in the authenticator of the first segment", content[: commitment + 24 + 16], "bad-content"),
    ]
    return [
        *(good.opened_by(name, changed) | {"reason": reason} for name, changed, reason in shapes),
        good.opened_by("for somebody else", reader="eve") | {"reason": "not-ours"},
        good.opened_by("under another's name", sender="eve") | {"reason": "bad-box"},
        good.opened_by("to somebody else", recipients=["eve"], reader="eve") | {"reason": "bad-box"},
        three.opened_by("under the name of a recipient", sender="carol") | {"reason": "bad-box"},
        three.opened_by("recipients in another order", recipients=["carol", "bob", "dave"]) | {"reason": "bad-box"},
        three.opened_by("a recipient left out", recipients=["bob", "carol"]) | {"reason": "bad-box"},
        seal(mail=True).opened_by("the mail key has been wiped", secrets=[]) | {"reason": "bad-box"},
    ]


def inside(seal: Seal) -> list[tuple[str, Sealing, str]]:
    """What a hostile sender can make."""
    other = seed("another K")
    return [
        ("another key for one of two", seal(to=["bob", "carol"], another_key_for_bob=other), "bad-box"),
        ("a stream that begins as libsodium would, at random", seal(header=seed("r")[:24]), "bad-box"),
        ("bound to another sender", seal(about_sender="eve"), "bad-box"),
        ("bound to no recipients", seal(about=[]), "bad-box"),
        ("its length reaches past the end", seal(length=2**64 - 1), "bad-content"),
        ("no length", seal(plain=b"\0\0\0"), "bad-content"),
        ("nothing", seal(plain=b""), "bad-content"),
        ("other than zeros behind the data", seal(after=bytes(50) + b"\1" + bytes(50)), "bad-content"),
        ("data beyond its length", seal(length=4, after=b""), "bad-content"),
        ("a last segment that says that more follow", seal(last=MORE), "bad-content"),
        ("a last segment of another kind", seal(last=PUSH), "bad-content"),
        ("a last segment that has the key changed", seal(last=REKEY), "bad-content"),
        ("compressed, and is not", seal(flags=COMPRESSED), "bad-content"),
    ]


def large(seal: Seal, hashed: Hash) -> Case:
    """Three segments; of data and content only how they are made, their lengths and BLAKE2b-256, as they are long.

    The data are 150,000 bytes: SHA-256 of "0", of "1" and so on. ``broken``: pieces of the content, from and to, that
    are put together anew.
    """
    made = seal(data_of(150_000))
    steps = made.steps("three segments") | {"data": "", "content": ""}
    first, second = len(made.start), len(made.start) + SEGMENT + 17
    third, end = second + SEGMENT + 17, len(made.content)
    assert made.content[third:] == made.sealed[2]
    pieces = [
        ("cut off behind the second segment", [[0, third]], "bad-content"),
        ("cut off behind the first segment", [[0, second]], "bad-content"),
        ("cut off before the first segment", [[0, first]], "bad-content"),
        ("cut off within the third segment", [[0, end - 1]], "bad-box"),
        ("cut off within the second segment", [[0, third - 1]], "bad-box"),
        ("the second segment left out", [[0, second], [third, end]], "bad-box"),
        ("the first segment left out", [[0, first], [second, end]], "bad-box"),
        ("two segments swapped", [[0, first], [second, third], [first, second], [third, end]], "bad-box"),
        ("a segment twice", [[0, second], [first, end]], "bad-box"),
    ]
    return steps | {
        "size": end,
        "dataHash": hashed(made.data).hex(),
        "contentHash": hashed(made.content).hex(),
        "broken": [{"name": name, "pieces": ranges, "reason": reason} for name, ranges, reason in pieces],
    }


def data_of(size: int) -> bytes:
    """Bytes that do not compress."""
    return b"".join(sha256(b"%d" % number).digest() for number in range(size // 32 + 1))[:size]


def stored(data: bytes) -> bytes:
    """RFC 1950 and 1951, blocks that are stored: no two libraries compress alike."""
    blocks = [data[at : at + 0xFFFF] for at in range(0, len(data), 0xFFFF)] or [b""]
    made = b"\x78\x01"
    for number, block in enumerate(blocks, 1):
        size = len(block).to_bytes(2, "little")
        made += bytes([number == len(blocks)]) + size + bytes(one ^ 0xFF for one in size) + block
    return made + zlib.adler32(data).to_bytes(4, "big")


def size_class(needed: int) -> int:
    """PADME in its published form: by counting, not by shifting."""
    if needed <= 512:
        return 512
    exponent = 0
    while 2 ** (exponent + 1) <= needed:
        exponent += 1
    bits_of_exponent = 0
    while 2**bits_of_exponent <= exponent:
        bits_of_exponent += 1
    step: int = 2 ** (exponent - bits_of_exponent)
    return needed + -needed % step


def seed(text: str) -> bytes:
    return sha256(b"mm/1 messenger vectors: " + text.encode()).digest()
