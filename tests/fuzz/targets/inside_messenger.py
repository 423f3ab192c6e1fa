"""What is behind the signatures and seals of the messenger: senders and carriers that are hostile, and sign it all."""

import zlib
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

from mm_services.messenger.protocol import blocks, content, hops, packets
from mm_services.messenger.protocol.content import COMPRESSED, SEALED
from mm_services.messenger.protocol.header import LABEL, Header, Kind, expiry, latest
from mm_services.messenger.protocol.hops import Hop
from mm_services.messenger.protocol.limits import MAX_HOPS, SKEW
from mm_services.messenger.protocol.packets import Parcel, PushBundles
from mmplatform import codec
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, raw_key, sign_id_of
from mmplatform.session import sealed_stream
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, target

WAY = [Identity.from_seed(bytes([number]) * 32) for number in range(1, 7)]
ALICE, BOB = WAY[0], WAY[-1]
IDS = [one.sign_id for one in WAY]
NOW = 1_800_000_000.0
DATE = int(NOW * 1e6)
USUAL: list[Any] = [0, [raw_key(BOB.sign_id)], DATE, 3600, 8, 600, bytes(32)]
TO_BOB = Header.create(ALICE, Kind.MESSAGE, (BOB.sign_id,), DATE, 3600, 8, 600, bytes(32))


@target(lambda: [codec.pack(USUAL), codec.pack([1, *USUAL[1:]]), codec.pack([0, [], *USUAL[2:]])])
def bundle_header_signed() -> Run:
    """Fields that are anybody's, under a signature that is good: what is taken is within bounds, and ends."""

    def parse(data: bytes) -> None:
        fields: Any = codec.decode(data)
        if not isinstance(fields, list):
            return
        try:
            kind, recipients, *numbers, root = fields
            raw = [one.to_bytes(8) for one in numbers]
            signature = ALICE.sign(LABEL, bytes((1, kind)), ALICE.sign_key, b"".join(recipients), *raw, root)
        except (AttributeError, OverflowError, TypeError, ValueError):
            return
        encoded = codec.pack([1, kind, ALICE.sign_key, *fields[1:], signature])
        header = Header.decode(encoded)
        assert header.encode() == encoded
        assert len(set(header.recipients)) == len(header.recipients) <= 256
        assert header.length <= 64 * 1024 * 1024
        for age in (0, -1, header.lifespan, 10**12):
            assert NOW < expiry(header, age, NOW) <= min(latest(header), NOW + header.lifespan + SKEW)

    return typed(parse)


def _chain(way: list[Identity]) -> list[Hop]:
    made: list[Hop] = []
    for by, to in pairwise(way):
        made = hops.handed(TO_BOB, made, by, to.sign_id)
    return made


def _pairs(chain: list[Hop]) -> list[list[bytes]]:
    return [[hop.to, hop.signature] for hop in chain]


@target(lambda: [codec.pack(_pairs(_chain(WAY[:size]))) for size in range(2, 7)])
def bundle_hops() -> Run:
    """Hops of anybody behind a header that is proven: only those pass that were signed as they stand."""
    genuine = [_chain(WAY[:size]) for size in range(2, 7)]

    def parse(data: bytes) -> None:
        parcel = packets.request(codec.pack([4, [[b"", codec.decode(data), 0, b"", b""]]]))
        assert isinstance(parcel, PushBundles)
        chain = parcel.parcels[0].hops
        last = [ALICE.sign_id, *hops.carriers(chain)][-2:]
        hops.check(TO_BOB, chain, last[0], last[-1])
        assert chain in genuine

    return typed(parse)


@target(lambda: [codec.pack([1, 2, 3, 4, 5]), codec.pack([1, 2, 1]), codec.pack([3, 5]), codec.pack([0])])
def bundle_hops_signed() -> Run:
    """Carriers in league, who sign whatever way they like: it passes when nobody is on it twice, and it is not long."""

    def parse(data: bytes) -> None:
        numbers = codec.decode(data)
        if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one < 6 for one in numbers):
            return
        way = [ALICE, *(WAY[number] for number in numbers)][: MAX_HOPS + 2]
        chain: list[Hop] = []
        for by, to in pairwise(way):
            before = chain[-1].signature if chain else b""
            chain.append(Hop(to.sign_key, by.sign(hops.LABEL, TO_BOB.id, before, to.sign_key)))
        good = 1 < len(way) == len(set(way)) and len(chain) <= TO_BOB.max_hops
        reason = ""
        try:
            hops.check(TO_BOB, chain, way[-2:][0].sign_id, way[-1].sign_id)
        except ProtocolError as error:
            reason = error.reason
        assert reason == "" if good else reason in ("bad-hops", "too-many-hops")

    return typed(parse)


def _insides() -> Iterator[bytes]:
    for data in (b"", b"hello", b"hello" * 200):
        yield b"\0" + len(data).to_bytes(8) + data + bytes(99)
        yield b"\0" + len(data).to_bytes(8) + data + b"\1"
        small = zlib.compress(data)
        yield b"\2" + len(small).to_bytes(8) + small
        yield b"\2" + len(small).to_bytes(8) + small[:-1]
    bomb = zlib.compress(bytes(10_000_000))
    yield b"\2" + len(bomb).to_bytes(8) + bomb


@target(lambda: list(_insides()))
def bundle_content_that_opens() -> Run:
    """A hostile sender has sealed what it likes, or left it open; what comes of it is no larger than allowed."""
    public = Header.create(ALICE, Kind.MESSAGE, (), DATE, 3600, 8, 600, bytes(32))
    drawn = partial(int.to_bytes, 7)

    def parse(data: bytes, most: int) -> None:
        flags = data[0] & COMPRESSED | SEALED
        about = content._about(flags, ALICE.sign_id, TO_BOB.recipients)
        sealed = sealed_stream.seal(data[1:], about, [(BOB.sign_id, b"")], drawn)
        assert len(content.opened(TO_BOB, bytes((flags,)) + sealed, BOB, (), most)) <= most

    def run(data: bytes) -> None:
        for most in (0, 4096, 1_000_000) if data else ():
            typed(lambda data, most=most: parse(data, most))(data)
            typed(lambda data, most=most: _bounded(content.opened(public, data, BOB, (), most), most))(data)

    return run


def _bounded(data: bytes, most: int) -> None:
    assert len(data) <= most


def _pushes() -> Iterator[bytes]:
    for data in (b"hello", b"and so on " * 9000):
        sealed = content.sealed(data, ALICE.sign_id, [(BOB.sign_id, b"")], partial(int.to_bytes, 7))
        hashes = blocks.hashes_of(sealed)
        fields = (DATE, 3600, 8, len(sealed), blocks.root_of(len(sealed), hashes))
        header = Header.create(ALICE, Kind.MESSAGE, (BOB.sign_id,), *fields)
        chain = hops.handed(header, [], ALICE, BOB.sign_id)
        parcel = Parcel(header.encode(), chain, 1000, hashes, sealed if len(sealed) < 2048 else b"", 8)
        yield codec.pack(PushBundles([parcel]))
        yield codec.pack(PushBundles([parcel, parcel]))


@target(lambda: list(_pushes()))
def pushed_bundles() -> Run:
    """All that a carrier and a recipient do with what is pushed to them: nothing is taken but what Alice wrote."""
    written = {b"hello", b"and so on " * 9000}

    def taken(parcel: Parcel) -> None:
        header = Header.unproven(parcel.header)
        expiry(header, parcel.age / 1000, NOW)
        header.prove()
        hops.check(header, parcel.hops, IDS[0], BOB.sign_id)
        blocks.check_hashes(header, parcel.hashes)
        if blocks.verified(header, parcel.hashes, parcel.content) < header.length:
            return
        assert content.opened(header, parcel.content, BOB, ()) in written
        assert header.sender == sign_id_of(ALICE.sign_key)

    def parse(data: bytes) -> None:
        packet = packets.request(data)
        if isinstance(packet, PushBundles):
            for parcel in packet.parcels:
                typed(lambda _, parcel=parcel: taken(parcel))(b"")

    return typed(parse)
