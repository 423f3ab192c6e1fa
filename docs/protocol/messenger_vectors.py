"""Vectors of messenger.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform.

Bytes are hex; what ends with many zeros is ``{"start", "repeat", "times"}``. A hop is ``[to, signature]``.
"""

from itertools import pairwise
from typing import Any

import msgpack  # type: ignore[import-untyped]
from mail_vectors import flip, folded
from messenger_contents import Case, Hash, Labelled, Peer, contents, seed
from messenger_packets import packets, receipts
from mixed_order import MixedPair

CREATED = 1_800_000_000_123_456
HOUR, DAY = 3600, 86400
SKEW = 2 * DAY
BLOCK = 32 * 1024
LARGEST = 64 * 1024 * 1024
NAMES = ("alice", "bob", "carol", "dave", "eve")
ORDER = 2**252 + 27742317777372353535851937790883648493

Hop = tuple[bytes, bytes]


def messenger_json(labelled: Labelled, hashed: Hash) -> Case:
    peers = {name: Peer(name, labelled) for name in NAMES}
    made = Maker(peers, labelled, hashed)
    return {
        "specification": "docs/protocol/messenger.rst",
        "headers": headers(made),
        "invalidHeaders": invalid_headers(made),
        "expiries": expiries(),
        "hops": chains(made),
        "invalidHops": invalid_chains(made),
        "blocks": blocks(made),
        "invalidBlocks": invalid_blocks(made),
        **contents(peers, hashed),
        **receipts(),
        **packets(),
    }


class Bundle:
    """A header; what is given replaces what the specification says."""

    def __init__(self, maker: "Maker", **other: Any) -> None:
        peers, alice = maker.peers, maker.peers["alice"]
        self.version: int = other.get("version", 1)
        self.kind: Any = other.get("kind", 0)
        self.sender: bytes = other.get("sender", alice.public)
        self.recipients: list[bytes] = [peers[one].public for one in other.get("to", ["bob"])]
        self.recipients = other.get("recipients", self.recipients)
        self.numbers = [
            other.get(name, usual)
            for name, usual in (("created", CREATED), ("lifespan", DAY), ("max_hops", 8), ("length", 600))
        ]
        self.root: bytes = other.get("root", seed("root"))
        numbers = [min(max(int(number), 0), 2**64 - 1).to_bytes(8, "big") for number in self.numbers]
        kind = bytes([self.version & 255, int(self.kind)])
        self.signed = [kind, self.sender, b"".join(self.recipients), *numbers, self.root]
        signer: Any = other.get("signer", alice)
        label: str = other.get("label", "mm/1 bundle")
        self.signature: bytes = other.get("signature", b"") or signer.sign(label, *self.signed)
        self.id = maker.hashed(maker.labelled("mm/1 bundle id", *self.signed))[:16]
        self.fields = [self.version, self.kind, self.sender, self.recipients, *self.numbers, self.root, self.signature]
        self.header: bytes = msgpack.packb(self.fields)

    def case(self, name: str) -> Case:
        created, lifespan, max_hops, length = self.numbers
        return {
            "name": name,
            "senderSeed": seed("alice").hex(),
            "kind": self.kind,
            "sender": self.sender.hex(),
            "recipients": [one.hex() for one in self.recipients],
            "created": created,
            "lifespan": lifespan,
            "maxHops": max_hops,
            "length": length,
            "root": self.root.hex(),
            "signature": self.signature.hex(),
            "id": self.id.hex(),
            "header": self.header.hex(),
        }


class Maker:
    """Makes bundles and what goes with them."""

    def __init__(self, peers: dict[str, Peer], labelled: Labelled, hashed: Hash) -> None:
        self.peers, self.labelled, self.hashed = peers, labelled, hashed

    def bundle(self, **other: Any) -> Bundle:
        return Bundle(self, **other)

    def chain(self, bundle: Bundle, *names: str, **other: Any) -> list[Hop]:
        """Hand the bundle from the first to the second and so on; ``signer`` signs the last hop, not who has it."""
        before: bytes = other.get("before", b"")
        hops: list[Hop] = []
        for number, (by, to) in enumerate(pairwise(names), 2):
            signer = other.get("signer", by) if number == len(names) else by
            key = self.peers[to].public
            label = other.get("label", "mm/1 bundle hop")
            before = self.peers[signer].sign(label, bundle.id, before, key)
            hops.append((key, before))
        return hops

    def hashes(self, content: bytes) -> bytes:
        parts = [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]
        return b"".join(self.hashed(self.labelled("mm/1 bundle block", part)) for part in parts)

    def root(self, length: int, hashes: bytes) -> bytes:
        return self.hashed(self.labelled("mm/1 bundle root", length.to_bytes(8, "big"), hashes))


def headers(made: Maker) -> list[Case]:
    many = [seed(f"recipient {number}") for number in range(256)]
    largest = {"created": 2**53 - 1, "lifespan": 366 * DAY, "max_hops": 64, "length": LARGEST}
    least = {"created": 1, "lifespan": 1, "max_hops": 1, "length": 1}
    shapes: dict[str, Case] = {
        "to one": {},
        "to everybody": {"to": []},
        "to three": {"to": ["bob", "carol", "dave"]},
        "to the sender itself": {"to": ["alice"]},
        "a receipt": {"kind": 1},
        "a letter": {"kind": 2},
        "a reference": {"kind": 3},
        "the least numbers": least,
        "the largest numbers, 256 recipients of whom nobody has the secret": largest | {"recipients": many},
        "the longest receipt": {"kind": 1, "length": 1 + 16 * 1024},
        "the longest letter": {"kind": 2, "length": 1 + 1024 * 1024 + 16 * 1024},
    }
    return [made.bundle(**shape).case(name) for name, shape in shapes.items()]


def invalid_headers(made: Maker) -> list[Case]:
    good = made.bundle()
    whole = good.header
    eve = made.peers["eve"]
    many = [seed(f"recipient {number}") for number in range(257)]
    mixed = MixedPair(seed("mixed"))
    by_mixed = Bundle(made, sender=mixed.public, signature=bytes(64))
    by_mixed = Bundle(made, sender=mixed.public, signature=mixed.sign(made.labelled("mm/1 bundle", *by_mixed.signed)))
    scalar = int.from_bytes(good.signature[32:], "little") + ORDER
    unreduced = good.signature[:32] + scalar.to_bytes(32, "little")
    longer = whole.replace(msgpack.packb(DAY), b"\xcf" + DAY.to_bytes(8, "big"))

    def with_field(index: int, value: Any) -> bytes:
        return bytes(msgpack.packb([*good.fields[:index], value, *good.fields[index + 1 :]]))

    def signed(**other: Any) -> bytes:
        return Bundle(made, **other).header

    shapes: list[tuple[str, bytes, str]] = [
        ("empty", b"", "bad-header"),
        ("cut", whole[:-1], "bad-header"),
        ("a byte more", whole + b"\0", "bad-header"),
        ("random bytes", seed("random") * 6, "bad-header"),
        ("longer than 9 KiB", whole + bytes(9 * 1024 + 1 - len(whole)), "bad-header"),
        ("a map", msgpack.packb({"version": 1}), "bad-header"),
        ("version 2, whatever follows", b"\x92\2", "wrong-version"),
        ("version 2", signed(version=2), "wrong-version"),
        ("version 0", signed(version=0), "wrong-version"),
        ("version 200", signed(version=200), "bad-header"),
        ("the version in a longer form", whole[:1] + b"\xcc\1" + whole[2:], "bad-header"),
        ("a field less", msgpack.packb(good.fields[:-1]), "bad-header"),
        ("a field more", msgpack.packb([*good.fields, 0]), "bad-header"),
        ("a number in a longer form", longer, "bad-header"),
        ("a kind that is none", signed(kind=4), "bad-header"),
        ("the kind is true", signed(kind=True), "bad-header"),
        ("a sender of 31 bytes", with_field(2, good.sender[:31]), "bad-header"),
        ("the sender as text", with_field(2, "a" * 32), "bad-header"),
        ("no list of recipients", with_field(3, None), "bad-header"),
        ("a recipient of 33 bytes", with_field(3, [eve.public + b"\0"]), "bad-header"),
        ("a recipient twice", signed(to=["bob", "carol", "bob"]), "bad-header"),
        ("257 recipients", signed(recipients=many), "bad-header"),
        ("a receipt for everybody", signed(kind=1, to=[]), "bad-header"),
        ("a receipt to two", signed(kind=1, to=["bob", "carol"]), "bad-header"),
        ("a letter for everybody", signed(kind=2, to=[]), "bad-header"),
        ("no date", signed(created=0), "bad-header"),
        ("a date of 2**53", signed(created=2**53), "bad-header"),
        ("a negative date", signed(created=-1), "bad-header"),
        ("the date is a float", signed(created=float(CREATED)), "bad-header"),
        ("no lifespan", signed(lifespan=0), "bad-header"),
        ("a lifespan of more than 366 days", signed(lifespan=366 * DAY + 1), "bad-header"),
        ("no hops", signed(max_hops=0), "bad-header"),
        ("65 hops", signed(max_hops=65), "bad-header"),
        ("no content", signed(length=0), "too-big"),
        ("more than 64 MiB", signed(length=LARGEST + 1), "too-big"),
        ("a receipt that is too long", signed(kind=1, length=16 * 1024 + 2), "too-big"),
        ("a letter that is too long", signed(kind=2, length=1024 * 1024 + 16 * 1024 + 2), "too-big"),
        ("a root of 31 bytes", with_field(8, good.root[:31]), "bad-header"),
        ("a signature of 65 bytes", with_field(9, good.signature + b"\0"), "bad-header"),
        ("a zero signature", with_field(9, bytes(64)), "bad-signature"),
        ("signed by another", signed(signer=eve), "bad-signature"),
        ("signed under another label", signed(label="mm/1 bundle hop"), "bad-signature"),
        ("the id signed", signed(label="mm/1 bundle id"), "bad-signature"),
        ("a signature with a scalar that is not reduced", with_field(9, unreduced), "bad-signature"),
        ("another sender", with_field(2, eve.public), "bad-signature"),
        ("a sender of low order", signed(sender=b"\1" + bytes(31)), "bad-signature"),
        ("a sender of mixed order", by_mixed.header, "bad-signature"),
        ("the kind changed", with_field(1, 3), "bad-signature"),
        ("another recipient", with_field(3, [eve.public]), "bad-signature"),
        ("a recipient more", with_field(3, [*good.recipients, eve.public]), "bad-signature"),
        ("for everybody, afterwards", with_field(3, []), "bad-signature"),
        ("the date changed", with_field(4, CREATED + 1), "bad-signature"),
        ("the lifespan changed", with_field(5, DAY + 1), "bad-signature"),
        ("the hops changed", with_field(6, 9), "bad-signature"),
        ("the length changed", with_field(7, 601), "bad-signature"),
        ("the root changed", with_field(8, flip(good.root, 31)), "bad-signature"),
    ]
    return [{"name": name, "header": data.hex(), "reason": reason} for name, data, reason in shapes]


def expiries() -> list[Case]:
    """``age`` and ``lifespan`` in seconds, ``now`` and ``until`` in seconds after the date of the bundle."""
    shapes: list[tuple[str, int, float, float, float | str]] = [
        ("new", DAY, 0, 0, DAY),
        ("an hour old, all clocks right", DAY, HOUR, HOUR, DAY),
        ("its last second", DAY, DAY - 1, DAY - 1, DAY),
        ("over", DAY, DAY, DAY, "expired"),
        ("our clock is 48 h ahead", DAY, HOUR, HOUR + SKEW, DAY + SKEW),
        ("our clock is 48 h behind", DAY, HOUR, HOUR - SKEW, DAY - SKEW),
        ("our clock is 49 h ahead", HOUR, 1, 49 * HOUR, "expired"),
        ("its date is 48 h ahead", DAY, 0, -SKEW, DAY - SKEW),
        ("its date is more than 48 h ahead", DAY, 0, -SKEW - 1, "future"),
        ("short, and our clock is 48 h behind", 2, 1, 1 - SKEW, 2 - SKEW),
        ("short, and over, and our clock is 48 h behind", 2, 3, 3 - SKEW, "expired"),
        ("a negative age counts as none", DAY, -HOUR, 0, DAY),
        ("said to be new a year later", DAY, 0, 365 * DAY, "expired"),
        ("said to be new, as late as that is believed", DAY, 0, 3 * DAY - 1, 3 * DAY),
        ("said to be new, later than that", DAY, 0, 3 * DAY, "expired"),
        ("said to be over at once", 30 * DAY, 30 * DAY, 0, 28 * DAY),
        ("said to be over, and of less than 48 h", DAY, DAY, 0, "expired"),
    ]
    return [
        {"name": name, "created": CREATED, "lifespan": lifespan, "age": age, "now": now}
        | ({"reason": until} if isinstance(until, str) else {"until": until})
        for name, lifespan, age, now, until in shapes
    ]


def chain_case(name: str, bundle: Bundle, hops: list[Hop], came_from: bytes, own: bytes) -> Case:
    return {
        "name": name,
        "header": bundle.header.hex(),
        "hops": [[to.hex(), signature.hex()] for to, signature in hops],
        "cameFrom": came_from.hex(),
        "own": own.hex(),
    }


def chains(made: Maker) -> list[Case]:
    bundle, keys = made.bundle(), {name: peer.public for name, peer in made.peers.items()}
    two = made.bundle(max_hops=2)
    return [
        chain_case("from the sender", bundle, made.chain(bundle, "alice", "bob"), keys["alice"], keys["bob"]),
        chain_case("over two", bundle, made.chain(bundle, *NAMES[:4]), keys["carol"], keys["dave"]),
        chain_case("as many as allowed", two, made.chain(two, *NAMES[:3]), keys["bob"], keys["carol"]),
    ]


def invalid_chains(made: Maker) -> list[Case]:
    bundle, other, two = made.bundle(), made.bundle(created=CREATED + 1), made.bundle(max_hops=2)
    alice, bob, carol, dave, eve = (made.peers[name].public for name in NAMES)
    good, long = made.chain(bundle, *NAMES[:4]), made.chain(bundle, *NAMES)
    short = made.chain(bundle, "alice", "carol", "dave")
    loop = made.chain(bundle, "alice", "bob", "carol", "bob", "dave")
    back = made.chain(bundle, "alice", "bob", "alice", "carol", "dave")
    twice = made.chain(bundle, "alice", "dave", "carol", "dave")
    forged = made.chain(bundle, *NAMES[:4], signer="eve")
    labelled = made.chain(bundle, *NAMES[:4], label="mm/1 bundle")
    begun = made.chain(bundle, *NAMES[:4], before=b"\0")
    shapes: list[tuple[str, Bundle, list[Hop], bytes, bytes, str]] = [
        ("no hops", bundle, [], carol, dave, "bad-hops"),
        ("no hops, and we are the sender", bundle, [], alice, alice, "bad-hops"),
        ("one more than allowed", two, made.chain(two, *NAMES[:4]), carol, dave, "too-many-hops"),
        ("it came from somebody else", bundle, good, eve, dave, "bad-hops"),
        ("it was for somebody else", bundle, good, carol, eve, "bad-hops"),
        ("the last hop cut off", bundle, good[:-1], carol, dave, "bad-hops"),
        ("over one twice", bundle, loop, bob, dave, "bad-hops"),
        ("back over its sender", bundle, back, carol, dave, "bad-hops"),
        ("it was here before", bundle, twice, carol, dave, "bad-hops"),
        ("the first hop stripped", bundle, good[1:], carol, dave, "bad-signature"),
        ("a hop in the middle stripped", bundle, [long[0], *long[2:]], dave, eve, "bad-signature"),
        ("a hop inserted", bundle, [short[0], (eve, short[1][1]), short[1]], eve, dave, "bad-signature"),
        ("two hops swapped", bundle, [good[1], good[0], good[2]], bob, dave, "bad-signature"),
        ("a carrier renamed", bundle, [good[0], (eve, good[1][1]), good[2]], eve, dave, "bad-signature"),
        ("another chain before the last hop", bundle, [short[0], good[2]], carol, dave, "bad-signature"),
        ("the last hop forged", bundle, forged, carol, dave, "bad-signature"),
        ("a signature altered", bundle, [(good[0][0], flip(good[0][1], 5)), *good[1:]], carol, dave, "bad-signature"),
        ("hops of another bundle", bundle, made.chain(other, *NAMES[:4]), carol, dave, "bad-signature"),
        ("under another label", bundle, labelled, carol, dave, "bad-signature"),
        ("with something before the first", bundle, begun, carol, dave, "bad-signature"),
    ]
    return [chain_case(name, *rest[:-1]) | {"reason": rest[-1]} for name, *rest in shapes]


def blocks(made: Maker) -> list[Case]:
    shapes = {
        "one byte": b"x",
        "just a block": b"x" + bytes(BLOCK - 1),
        "a byte more": b"x" + bytes(BLOCK),
        "three blocks and some": b"x" + bytes(3 * BLOCK + 99),
    }
    cases = []
    for name, content in shapes.items():
        hashes = made.hashes(content)
        case = {"name": name, "content": folded(content), "hashes": hashes.hex()}
        cases.append(case | {"root": made.root(len(content), hashes).hex()})
    return cases


def invalid_blocks(made: Maker) -> list[Case]:
    """Of a content of two blocks and some, all zeros but the first byte of each: hashes, or a block with its offset."""
    content = (b"1" + bytes(BLOCK - 1)) + (b"2" + bytes(BLOCK - 1)) + b"3" + bytes(99)
    hashes = made.hashes(content)
    first, second, third = content[:BLOCK], content[BLOCK : 2 * BLOCK], content[2 * BLOCK :]
    good = {"length": len(content), "root": made.root(len(content), hashes).hex()}
    lists = [
        ("hashes cut off", hashes[:-1]),
        ("a hash less", hashes[:-32]),
        ("a hash more", hashes + hashes[:32]),
        ("a hash altered", flip(hashes, 40)),
        ("two hashes swapped", hashes[32:64] + hashes[:32] + hashes[64:]),
        ("no hashes", b""),
    ]
    shapes: list[tuple[str, int, bytes, str]] = [
        ("an offset where none begins", 1, second, "bad-offset"),
        ("a negative offset", -BLOCK, first, "bad-offset"),
        ("an offset behind the end", 3 * BLOCK, third, "bad-offset"),
        ("a block of another place", 0, second, "bad-content"),
        ("a block altered", BLOCK, flip(second, 9), "bad-content"),
        ("a block cut off", BLOCK, second[:-1], "bad-content"),
        ("a block and a byte", BLOCK, second + b"\0", "bad-content"),
        ("the last block as long as the others", 2 * BLOCK, third + bytes(BLOCK - len(third)), "bad-content"),
        ("nothing", 0, b"", "bad-content"),
    ]
    return [
        *({"name": name} | good | {"hashes": listed.hex(), "reason": "bad-content"} for name, listed in lists),
        *(
            {"name": name} | good | {"hashes": hashes.hex(), "offset": at, "block": folded(block), "reason": reason}
            for name, at, block, reason in shapes
        ),
    ]
