"""sealed_stream.py: what is sealed to many opens for each of them, and nothing else that anybody can make of it."""

from collections.abc import Sequence
from functools import partial

import nacl.bindings as sodium
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmplatform.errors import InvalidKey, ProtocolError
from mmplatform.identity.keys import Identity, SignId, box_id_of, raw_key, sign_id_of
from mmplatform.session import sealed_stream
from mmplatform.session.sealed_stream import SEGMENT
from tests.support.sessions import ALICE, BOB, EVE, draws, reason_of, refused

ABOUT = b"about it"
ALL = (ALICE, BOB, EVE)
MAIL_SECRET = bytes(range(32))
MAIL_KEY = sodium.crypto_scalarmult_base(MAIL_SECRET)
BOXES = 32 + 3 * 48
BEGIN = BOXES + 24
LAST = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL


def sealed(plain: bytes, to: Sequence[Identity] = ALL, about: bytes = ABOUT, mail_key: bytes = b"") -> bytes:
    return sealed_stream.seal(plain, about, [(one.sign_id, mail_key) for one in to], draws("stream"))


def opened(data: bytes, place: int = 1, about: bytes = ABOUT, by: Identity = BOB, of: int = 3) -> bytes:
    return bytes(sealed_stream.unseal(data, about, of, place, by, [MAIL_SECRET]))


@settings(deadline=None)
@given(st.binary(max_size=3000), st.binary(max_size=100), st.booleans())
@example(bytes(SEGMENT), b"", True)
@example(bytes(SEGMENT + 1), b"", False)
@example(bytes(3 * SEGMENT), b"", False)
def test_round_trip(plain: bytes, about: bytes, to_mail_key: bool) -> None:
    data = sealed(plain, about=about, mail_key=MAIL_KEY if to_mail_key else b"")
    assert [opened(data, place, about, by) for place, by in enumerate(ALL)] == [plain] * 3
    assert sealed_stream.unseal(memoryview(data), about, 3, 0, ALICE, [MAIL_SECRET]) == plain
    segments = max(1, -(-len(plain) // SEGMENT))
    assert len(data) == BEGIN + len(plain) + 17 * segments


def test_the_boxes_are_in_the_order_of_the_recipients() -> None:
    data = sealed(b"hello")
    for by, place in ((ALICE, 1), (BOB, 0), (EVE, 1)):
        refused("bad-box", partial(opened, data, place, by=by))


def test_what_is_known_from_outside_is_bound() -> None:
    for about in (b"", b"about", ABOUT + b"\0"):
        refused("bad-box", partial(opened, sealed(b"hello"), about=about))


def test_libsodium_reads_it_as_a_stream_of_its_own() -> None:
    """A state that is made for one direction serves the other; so much is relied on."""
    key, header = bytes(range(32)), bytes(range(24))
    there = pushed(sealed_stream._stream(key, header))
    pulling = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(pulling, header, key)
    assert sodium.crypto_secretstream_xchacha20poly1305_pull(pulling, there) == (b"hello", LAST)
    pushing = sodium.crypto_secretstream_xchacha20poly1305_state()
    drawn = sodium.crypto_secretstream_xchacha20poly1305_init_push(pushing, key)
    assert pushed(sealed_stream._stream(key, drawn)) == pushed(pushing)


def pushed(stream: sodium.crypto_secretstream_xchacha20poly1305_state) -> bytes:
    return sodium.crypto_secretstream_xchacha20poly1305_push(stream, b"hello", None, LAST)


def test_no_two_are_under_one_key_and_header() -> None:
    """Each has a key, an E and a header of its own, and boxes with nonces of their own."""
    random, seen = draws("many"), set()
    for _ in range(50):
        data = sealed_stream.seal(b"the same", ABOUT, [(one.sign_id, b"") for one in ALL], random)
        boxes = [data[at : at + 48] for at in range(32, BOXES, 48)]
        seen.update((data[:32], data[BOXES:BEGIN], data[BEGIN:], *boxes))
    assert len(seen) == 50 * 6
    one_mail_key = sealed(b"hello", mail_key=MAIL_KEY)
    assert len({one_mail_key[at : at + 48] for at in range(32, BOXES, 48)}) == 3


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(sealed(b"hello")) * 8 - 1))
@example(32 * 8 - 1)  # the bit of E that X25519 ignores
def test_a_flipped_bit_anywhere(bit: int) -> None:
    data = bytearray(sealed(b"hello"))
    data[bit // 8] ^= 1 << bit % 8
    other_box = 32 <= bit // 8 < BOXES and not 80 <= bit // 8 < 128
    assert reason_of(lambda: opened(bytes(data))) == ("" if other_box else "bad-box")


def test_too_short() -> None:
    data = sealed(b"hello")
    for size in range(len(data)):
        refused("bad-content" if size < BEGIN + 17 else "bad-box", partial(opened, data[:size]))


@given(st.binary(max_size=600))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        opened(data)


def test_e_of_low_order() -> None:
    refused("bad-key", lambda: opened(bytes(32) + sealed(b"hello")[32:]))


def test_a_sender_cannot_tell_two_of_them_two_things() -> None:
    """It boxes another key to Bob, and makes segments that open under both: the header tells Bob."""
    made = draws("two")
    secret, key, other = made(32), made(32), made(32)
    ephemeral = sodium.crypto_scalarmult_base(secret)
    boxes = [sealed_stream._box(one, secret, ephemeral, to.sign_id, b"") for one, to in ((key, ALICE), (other, BOB))]
    for committed in (key, other):
        begin = sealed_stream._commitment(committed, ephemeral, ABOUT)
        readers = []
        for one in (key, other):
            data = ephemeral + b"".join(boxes) + begin + pushed(sealed_stream._stream(one, begin))
            readers += [by.sign_id for place, by in enumerate((ALICE, BOB)) if reads(data, place, by)]
        assert readers == [(ALICE if committed == key else BOB).sign_id]


def reads(data: bytes, place: int, by: Identity) -> bool:
    return not reason_of(lambda: opened(data, place, by=by, of=2))


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31), b"short", bytes(33)])
def test_a_mail_key_that_is_none_is_not_sealed_to(key: bytes) -> None:
    refused("bad-key", lambda: sealed(b"hello", mail_key=key))


@pytest.mark.parametrize("peer", [SignId("nobody"), sign_id_of(bytes(32)), sign_id_of(b"\xff" * 32)])
def test_a_recipient_that_is_none_is_not_sealed_to(peer: SignId) -> None:
    with pytest.raises(InvalidKey):
        sealed_stream.seal(b"", b"", [(peer, b"")], draws("nobody"))


def test_every_secret_is_tried_and_the_box_key_at_last() -> None:
    data, others = sealed(b"hello", mail_key=MAIL_KEY), [bytes([number]) * 32 for number in range(1, 4)]
    assert sealed_stream.unseal(data, ABOUT, 3, 1, BOB, [*others, MAIL_SECRET]) == b"hello"
    assert sealed_stream.unseal(sealed(b"hello"), ABOUT, 3, 1, BOB, others) == b"hello"
    refused("bad-box", lambda: sealed_stream.unseal(data, ABOUT, 3, 1, BOB, others))


def test_two_who_share_a_box_id_are_told_apart() -> None:
    """A signId and its negative, a point with the other sign, have one boxId."""
    raw = bytearray(raw_key(BOB.sign_id))
    raw[31] ^= 0x80
    negative = sign_id_of(bytes(raw))
    assert box_id_of(negative) == BOB.box_id
    data = sealed_stream.seal(b"hello", ABOUT, [(negative, b"")], draws("negative"))
    refused("bad-box", lambda: opened(data, 0, of=1))
