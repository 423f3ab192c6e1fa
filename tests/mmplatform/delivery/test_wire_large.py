"""Frames above 256 KiB hold one item, whoever made them; larger ones of ours are cut in two until that is so."""

import random

import pytest

from mmplatform.delivery.wire import (
    MAX_FRAME,
    MAX_LETTER,
    MAX_MIXED,
    MAX_OUTCOMES,
    Ack,
    Batch,
    End,
    Event,
    Frame,
    Part,
    Piece,
    Record,
    Reply,
    Request,
    decode_joined,
    decode_mail,
    decode_packet,
    encode_packet,
)
from mmplatform.errors import ProtocolError

BODY = bytes(MAX_MIXED)
EVENT, REQUEST, REPLY = Event("t", "ms", BODY), Request(1, "t", "ms", BODY), Reply(1, 0, BODY)
ACK = Ack(2, 1, 0, [], [(n, n, End.FAILED, "x" * 100) for n in range(1, MAX_OUTCOMES + 1)], [])
RECORD = Record(1, 1, "t", "ms", BODY)
TINY = Event("t", "ms", b"")


def frame(
    acks: list[Ack] | None = None,
    batches: list[Batch] | None = None,
    events: list[Event] | None = None,
    requests: list[Request] | None = None,
    replies: list[Reply] | None = None,
) -> Frame:
    return Frame(5, 1, acks or [], batches or [], events or [], requests or [], replies or [])


@pytest.mark.parametrize(
    "one", [frame(events=[EVENT]), frame(requests=[REQUEST]), frame(replies=[REPLY]), frame(acks=[ACK])]
)
def test_one_large_item_comes_through(one: Frame) -> None:
    joined = decode_joined(encode_packet(one))
    assert isinstance(joined, Frame)
    assert encode_packet(joined) == encode_packet(one)


@pytest.mark.parametrize(
    "several",
    [
        frame(events=[EVENT, TINY]),
        frame(events=[TINY] * 100_000),
        frame(requests=[REQUEST, REQUEST]),
        frame(replies=[REPLY, Reply(2, 0, b"")]),
        frame(acks=[ACK, Ack(2, 1, 0, [], [], [])]),
        frame(acks=[Ack(2, 1, 0, [], [], [])], events=[EVENT]),
        frame(requests=[REQUEST], replies=[Reply(1, 0, b"")]),
        frame(batches=[Batch(2, 1, 1, [RECORD], [])]),
        frame(batches=[Batch(2, 1, 1, [], [Piece(1, 0, 2**20, BODY)])]),
        frame(events=[EVENT], batches=[Batch(2, 1, 1, [], [])]),
        Part(0, 2**20, BODY),
    ],
)
def test_several_items_above_the_limit_are_refused(several: Frame | Part) -> None:
    with pytest.raises(ProtocolError, match="not one large item") as caught:
        decode_joined(encode_packet(several))
    assert caught.value.reason == "bad-packet"


def test_the_limit_is_exact() -> None:
    room = MAX_MIXED - len(encode_packet(frame(events=[TINY, Event("t", "ms", bytes(2**16))]))) + 2**16
    fitting = encode_packet(frame(events=[TINY, Event("t", "ms", bytes(room))]))
    larger = encode_packet(frame(events=[TINY, Event("t", "ms", bytes(room + 1))]))
    assert (len(fitting), len(larger)) == (MAX_MIXED, MAX_MIXED + 1)
    decode_joined(fitting)
    for decode in (decode_joined, decode_packet):
        with pytest.raises(ProtocolError):
            decode(larger)
    with pytest.raises(ProtocolError, match="at most"):
        decode_joined(bytes(MAX_FRAME + 1))


def test_broken_large_packets_are_refused() -> None:
    """Too short, too long, random, and with random changes."""
    draw = random.Random(1)
    whole = encode_packet(frame(events=[EVENT]))
    for data in (whole[:-1], whole + b"\0", b"\x98\x00" + draw.randbytes(MAX_MIXED), b"\x91" * (MAX_MIXED + 1)):
        with pytest.raises(ProtocolError):
            decode_joined(data)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(30)] = draw.randrange(256)
        try:
            decode_joined(bytes(changed))
        except ProtocolError as error:
            assert error.reason == "bad-packet"  # noqa: PT017 - both ends are fine


LONG = Record(1, 1, "t" * 250, "ms", b"")


@pytest.mark.parametrize(
    "mail",
    [
        frame(batches=[Batch(2, 1, 1, [RECORD], [])]),
        frame(batches=[Batch(lane, 1, 1, [LONG] * MAX_LETTER, []) for lane in range(4)]),
        frame(acks=[ACK]),
        frame(batches=[Batch(2, 1, 1, [], [])]),
    ],
)
def test_mail_holds_a_large_message_or_some_long_ones(mail: Frame) -> None:
    assert encode_packet(decode_mail(encode_packet(mail))) == encode_packet(mail)


@pytest.mark.parametrize(
    "mail",
    [
        frame(batches=[Batch(2, 1, 1, [LONG] * (MAX_LETTER + 1), [])]),
        frame(batches=[Batch(2, n, 1, [RECORD], []) for n in range(5)]),
        frame(batches=[Batch(2, 1, 1, [], [Piece(1, 0, 2**20, BODY)])]),
        frame(events=[EVENT]),
        frame(batches=[Batch(2, 1, 1, [RECORD], [])], replies=[Reply(1, 0, b"")]),
        Part(0, 2**20, BODY),
    ],
)
def test_large_mail_of_other_things_is_refused(mail: Frame | Part) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_mail(encode_packet(mail))
    assert caught.value.reason == "bad-packet"
