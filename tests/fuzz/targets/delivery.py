"""Packets and what they are cut into: bytes in, values or a typed error out, and the whole says what its parts say."""

import contextlib
from typing import Any

from mmplatform import codec
from mmplatform.accounts import Account
from mmplatform.delivery import receipts, wire
from mmplatform.delivery.fragments import Assembler
from mmplatform.delivery.slices import PART_HEAD, WORK, WORK_OF_STREAM, encodings, sliced, weight
from mmplatform.errors import MMError, ProtocolError
from mmplatform.messaging import series
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, hexes, target, vectors


@target(hexes("delivery", "hex", "packets", "invalid"))
def packet() -> Run:
    """A packet, which must be the same when it is encoded and decoded again."""

    def parse(data: bytes) -> None:
        found = wire.decode_packet(data)
        assert wire.decode_packet(wire.encode_packet(found)) == found

    return typed(parse)


@target(hexes("delivery", "hex", "resume", "invalid"))
def resumption() -> Run:
    return typed(wire.decode_resume)


@target(lambda: [codec.pack([1, 2**45, "chat", "ms", b"\xc0"]), codec.pack([1, 0, "", "", b""])])
def record_in_pieces() -> Run:
    return typed(wire.decode_record)


@target(hexes("delivery", "hex", "receipts", "invalidReceipts"))
def receipt() -> Run:
    return typed(receipts.decode_receipt)


@target(hexes("series", "hex", "pulls", "invalidPulls"))
def pull() -> Run:
    return typed(series.read_pull)


@target(hexes("series", "hex", "batches", "invalidBatches"))
def reply_batch() -> Run:
    return typed(series.read_batch)


@target(lambda: [codec.pack([[0, 6, b"abc"], [3, 6, b"def"], [0, 2, b"xy"]])])
def parts() -> Run:
    """Slices of values, in any order: what is held must always be what is counted."""

    def parse(data: bytes) -> None:
        slices = codec.unpack(data)
        above = Account(1000)
        assembler = Assembler(Account(900, above), lambda: 800)
        try:
            for offset, total, piece in slices:
                assembler.add(offset, total, piece)
                assert above.used == assembler.held
        finally:
            assert 0 <= above.used <= 900
            assembler.clear()
            assert not above.used

    def run(data: bytes) -> None:
        try:
            slices = codec.unpack(data)
        except Exception:
            return
        if isinstance(slices, list) and all(_is_slice(one) for one in slices):
            with contextlib.suppress(ProtocolError):
                parse(data)

    return run


def _is_slice(value: Any) -> bool:
    kinds = [type(one) for one in value] if isinstance(value, list) else []
    return kinds == [int, int, bytes] and value[0] >= 0 and value[1] >= 0


@target(hexes("delivery", "hex", "packets"))
def frame_in_slices() -> Run:
    """The slices of a frame, one after the other, say what the frame says; none is heavy."""

    def parse(data: bytes) -> None:
        frame = wire.decode_packet(data)
        if isinstance(frame, wire.Frame):
            for most in (1, 1 + len(data) % 9):
                _same(frame, list(sliced(frame, most)), most)

    return typed(parse)


def _same(frame: wire.Frame, slices: list[wire.Frame], most: int) -> None:
    for part in slices:
        assert (part.now, part.floor, part.empty) == (frame.now, frame.floor, False)
        assert part.acks or weight(part) <= max(WORK, most) + WORK_OF_STREAM
        assert wire.decode_packet(wire.encode_packet(part)) == part
    for kind in ("acks", "events", "requests", "replies"):
        assert [item for part in slices for item in getattr(part, kind)] == getattr(frame, kind)
    batches = [batch for part in slices for batch in part.batches]
    assert _told(batches) == _told(frame.batches)


def _told(batches: list[wire.Batch]) -> list[Any]:
    """All that batches say, item by item, whatever batch it is in."""
    said: list[Any] = []
    for batch in batches:
        stream = batch.lane, batch.epoch, batch.base
        items = [(stream, item) for item in (*batch.records, *batch.pieces)]
        said += items or [(stream, None)]
    return said


@target(hexes("delivery", "hex", "packets"))
def packet_in_parts() -> Run:
    """A packet that is too large for its link comes together at the other end."""

    def parse(data: bytes) -> None:
        packet = wire.decode_packet(data)
        for room in (PART_HEAD + 1, PART_HEAD + 1 + len(data) // 2):
            account = Account(wire.MAX_FRAME)
            assembler = Assembler(account, lambda: wire.MAX_FRAME)
            came = list(encodings(packet, room))
            assert max(map(len, came)) <= room
            if len(came) == 1:
                assert wire.decode_packet(came[0]) == packet
                continue
            whole = None
            for part in map(wire.decode_packet, came):
                assert whole is None
                assert isinstance(part, wire.Part)
                whole = assembler.add(part.offset, part.total, part.data)
            assert whole is not None
            assert wire.decode_joined(whole) == packet
            assert not account.used

    return typed(parse)


@target(lambda: [codec.encode([_bytes(case, "head"), _bytes(case, "tail")]) for case in vectors("delivery", "joined")])
def joined_packet() -> Run:
    """A packet above what mixed frames may have, from parts or from mail: the input is its head and its tail."""

    def parse(data: bytes) -> None:
        frame = wire.decode_joined(data)
        assert isinstance(frame, wire.Frame)
        assert weight(frame) <= WORK_OF_STREAM + WORK + wire.MAX_RANGES + wire.MAX_OUTCOMES // 16
        assert wire.decode_joined(wire.encode_packet(frame)) == frame

    def run(data: bytes) -> None:
        head, tail = _ends(data)
        whole = head + bytes(wire.MAX_MIXED) + tail
        with contextlib.suppress(ProtocolError):
            parse(whole)

    return run


@target(lambda: [codec.encode([_bytes(case, "head"), _bytes(case, "tail")]) for case in vectors("delivery", "joined")])
def large_mail() -> Run:
    """The same in an envelope: durable messages only."""

    def run(data: bytes) -> None:
        head, tail = _ends(data)
        with contextlib.suppress(ProtocolError):
            frame = wire.decode_mail(head + bytes(wire.MAX_MIXED) + tail)
            assert isinstance(frame, wire.Frame)
            assert [frame.events, frame.requests, frame.replies] == [[], [], []]
            assert wire.decode_mail(wire.encode_packet(frame)) == frame

    return run


def _bytes(case: dict[str, Any], field: str) -> bytes:
    return bytes.fromhex(case[field])


def _ends(data: bytes) -> tuple[bytes, bytes]:
    """Return a head and a tail: the two elements of a list, or the two halves."""
    try:
        said = codec.decode(data)
    except MMError:
        said = None
    if isinstance(said, list) and [type(one) for one in said] == [bytes, bytes]:
        return said[0], said[1]
    return data[: len(data) // 2], data[len(data) // 2 :]
