"""Contents: what goes in comes out for those it is for, within bounds, and nothing else does."""

import functools
import hashlib
import json
import os
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_base

from mm_services.messenger.protocol import content
from mm_services.messenger.protocol.content import COMPRESSED, SEALED, SMALLEST, padded
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.limits import MAX_CONTENT, MAX_OPENED, MAX_RECEIPT, MAX_RECIPIENTS
from mmplatform.errors import InvalidKey, ProtocolError
from mmplatform.identity.keys import Identity, SignId, sign_id_of
from mmplatform.session import sealed_stream
from tests.support.bundles import CAROL, header_of, sign_ids
from tests.support.sessions import ALICE, BOB, EVE, draws, reason_of, refused
from tests.support.vectors import VECTORS, cases

MAIL_SECRET = bytes(range(32))
MAIL_KEY = crypto_scalarmult_base(MAIL_SECRET)
HEAD = 1 + 32 + 48 + 24  # bytes before the first segment, for one recipient
SEGMENT = sealed_stream.SEGMENT + 17


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_256(b"noise").digest(size)


def sealed(data: bytes, *to: Identity, sender: Identity = ALICE, mail_key: bytes = b"") -> tuple[Header, bytes]:
    to = to or (BOB,)
    made = content.sealed(data, sender.sign_id, [(one.sign_id, mail_key) for one in to], draws("content"))
    return header_of(sender, recipients=sign_ids(*to), length=len(made)), made


def opened(header: Header, data: bytes, by: Identity = BOB, most: int = MAX_OPENED) -> bytes:
    return content.opened(header, data, by, [MAIL_SECRET], most)


def by_hand(plain: bytes, flags: int = 0) -> bytes:
    """A content sealed to Bob with ``plain`` in the stream, as hostile senders make it."""
    about = content._about(flags | SEALED, ALICE.sign_id, sign_ids(BOB))
    return bytes((flags | SEALED,)) + sealed_stream.seal(plain, about, [(BOB.sign_id, b"")], draws("hand"))


@settings(deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 40), st.booleans())
@example(b"", 0, False)
@example(b"x", 200_000, True)
@example(noise(200_000), 0, False)
def test_sealed_and_opened(start: bytes, times: int, to_mail_key: bool) -> None:
    data = start + b"and so on " * times
    header, made = sealed(data, BOB, EVE, mail_key=MAIL_KEY if to_mail_key else b"")
    assert opened(header, made, BOB) == opened(header, made, EVE) == data
    assert start[:20] not in made or len(start) < 20


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_for_everybody(start: bytes, times: int) -> None:
    data = start + b"and so on " * times
    header = header_of(recipients=())
    assert opened(header, content.public(data), EVE) == data


@pytest.mark.parametrize("number", [1, 2, MAX_RECIPIENTS])
def test_sealed_to_many(number: int) -> None:
    crowd = [Identity.from_seed(bytes([place % 256, 1]) * 16) for place in range(number)]
    header, made = sealed(b"hello", *crowd)
    for place in {0, number // 2, number - 1}:
        assert opened(header, made, crowd[place]) == b"hello"
    refused("not-ours", lambda: opened(header, made, CAROL))
    assert len(made) == 1 + 32 + 48 * number + 24 + SMALLEST + 17


@pytest.mark.parametrize("number", [0, MAX_RECIPIENTS + 1])
def test_sealed_to_nobody_or_too_many(number: int) -> None:
    to = [(BOB.sign_id, b"")] * number
    refused("bad-header", lambda: content.sealed(b"", ALICE.sign_id, to, draws("many")))


def test_recipients_and_keys_that_are_none() -> None:
    with pytest.raises(InvalidKey):
        content.sealed(b"", ALICE.sign_id, [(sign_id_of(b"\xff" * 32), b"")], draws("none"))
    refused("bad-key", lambda: content.sealed(b"", ALICE.sign_id, [(BOB.sign_id, bytes(32))], draws("none")))


# Whom it is for, and who wrote it.


def test_not_ours() -> None:
    header, made = sealed(b"hello")
    refused("not-ours", lambda: opened(header, made, EVE))
    refused("not-ours", lambda: opened(header, made, ALICE))


def test_a_stranger_cannot_put_his_name_on_it() -> None:
    """Eve has not read it, signs it as hers, and hopes that Bob answers her."""
    _, made = sealed(b"I resign")
    refused("bad-box", lambda: opened(header_of(EVE, length=len(made)), made))


def test_a_recipient_cannot_pass_it_on_as_his_own() -> None:
    """Bob has read it; its bytes under his name are refused, whomever he says it is for."""
    header, made = sealed(b"I resign", BOB, EVE)
    for recipients in (header.recipients, sign_ids(EVE), sign_ids(EVE, CAROL), sign_ids(BOB, EVE)[::-1]):
        passed_on = header_of(BOB, recipients=recipients, length=len(made))
        for reader in (EVE, CAROL):
            if reader.sign_id in recipients:
                refused("bad-box", partial(opened, passed_on, made, reader))


def test_nor_to_others_as_that_of_its_sender() -> None:
    """The sender signed for whom it is: a header with other recipients has another signature, and does not open."""
    header, made = sealed(b"I resign")
    to_eve = replace(header, recipients=sign_ids(EVE))
    refused("bad-signature", lambda: Header.decode(to_eve.encode()))
    refused("bad-box", lambda: opened(to_eve, made, EVE))


def test_the_same_to_others_is_another_content() -> None:
    assert sealed(b"hello")[1][1 + 32 + 48 :] != sealed(b"hello", EVE)[1][1 + 32 + 48 :]


def test_a_mail_key_that_was_wiped() -> None:
    header, made = sealed(b"hello", mail_key=MAIL_KEY)
    assert content.opened(header, made, BOB, [b"\1" * 32, MAIL_SECRET]) == b"hello"
    refused("bad-box", lambda: content.opened(header, made, BOB, [b"\1" * 32]))


# What was altered or cut.


def test_altered_at_each_byte() -> None:
    header, made = sealed(b"hello")
    for place in range(len(made)):
        altered = bytearray(made)
        altered[place] ^= 1 << place % 8 if place else COMPRESSED
        refused("bad-box", partial(opened, header, bytes(altered)))


@pytest.mark.parametrize("flags", [0, 2, 4, 8, 255])
def test_other_flags(flags: int) -> None:
    header, made = sealed(b"hello")
    refused("bad-content", lambda: opened(header, bytes((flags,)) + made[1:]))


@given(st.integers(0, HEAD + SMALLEST + 16))
def test_cut_anywhere(size: int) -> None:
    header, made = sealed(b"hello")
    refused("bad-content" if size < HEAD + 17 else "bad-box", lambda: opened(header, made[:size]))


def test_cut_at_each_segment() -> None:
    header, made = sealed(noise(200_000))
    ends = [HEAD + SEGMENT * number for number in range(1, 4)]
    assert ends[-1] < len(made) < ends[-1] + SEGMENT
    for end in ends:
        refused("bad-content", partial(opened, header, made[:end]))
        for near in (end - 1, end + 17):
            refused("bad-box", partial(opened, header, made[:near]))


@pytest.mark.parametrize("change", ["swapped", "left out", "twice", "one more", "of another"])
def test_segments_in_other_places(change: str) -> None:
    header, made = sealed(noise(200_000))
    head = made[:HEAD]
    first, second, third, last = (made[at : at + SEGMENT] for at in range(HEAD, len(made), SEGMENT))
    other = content.sealed(noise(200_000), ALICE.sign_id, [(BOB.sign_id, b"")], draws("other"))
    segments = {
        "swapped": [second, first, third, last],
        "left out": [first, third, last],
        "twice": [first, first, second, third, last],
        "one more": [first, second, third, last, last],
        "of another": [first, other[HEAD + SEGMENT : HEAD + 2 * SEGMENT], third, last],
    }[change]
    refused("bad-box", lambda: opened(header, head + b"".join(segments)))


def test_what_follows_the_last_segment() -> None:
    """One that is full ends where another could begin."""
    size = sealed_stream.SEGMENT
    plain = (size - 8).to_bytes(8) + noise(size - 8)
    header, made = header_of(), by_hand(plain)
    assert opened(header, made) == plain[8:]
    refused("bad-content", lambda: opened(header, made + made[-SEGMENT:]))
    refused("bad-content", lambda: opened(header, made + b"\0"))


@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    for header in (header_of(), header_of(kind=Kind.RECEIPT)):
        for start in (b"", b"\1", b"\2"):
            reason = reason_of(partial(opened, header, start + data))
            assert reason in ("", "bad-content", "bad-box", "bad-key")
    with pytest.raises(ProtocolError):
        opened(header_of(), b"\1" + data)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("recipients", [(), sign_ids(BOB)])
def test_what_is_for_somebody_is_sealed_and_all_else_is_not(kind: Kind, recipients: tuple[SignId, ...]) -> None:
    header = replace(header_of(), kind=kind, recipients=recipients)
    is_sealed = bool(recipients) and kind in (Kind.MESSAGE, Kind.REFERENCE)
    right, wrong = by_hand((5).to_bytes(8) + b"hello"), content.public(b"hello")
    if not is_sealed:
        right, wrong = wrong, right
    assert opened(header, right) == b"hello"
    refused("bad-content", lambda: opened(header, wrong))


# What a hostile sender puts inside.


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\0" * 7,
        (1).to_bytes(8),
        (6).to_bytes(8) + b"hello",
        (2**64 - 1).to_bytes(8) + b"hello",
        (4).to_bytes(8) + b"hello",
        (5).to_bytes(8) + b"hello" + bytes(70_000) + b"\1",
    ],
)
def test_an_inside_that_is_not_as_specified(plain: bytes) -> None:
    refused("bad-content", lambda: opened(header_of(), by_hand(plain)))


@pytest.mark.parametrize("zeros", [0, 1, 70_000])
def test_any_number_of_zeros_is_taken(zeros: int) -> None:
    assert opened(header_of(), by_hand((5).to_bytes(8) + b"hello" + bytes(zeros))) == b"hello"


BROKEN: list[Callable[[bytes], bytes]] = [
    lambda good: good[:-1],
    lambda good: good + b"\0",
    lambda good: good + good,
    lambda good: b"\0" + good,
    lambda good: b"",
    lambda good: good[:20] + bytes((good[20] ^ 0xFF,)) + good[21:],
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_does_not_decompress(broken: Callable[[bytes], bytes]) -> None:
    body = broken(zlib.compress(noise(500) * 2))
    refused("bad-content", lambda: opened(header_of(recipients=()), bytes((COMPRESSED,)) + body))
    refused("bad-content", lambda: opened(header_of(), by_hand(len(body).to_bytes(8) + body, COMPRESSED)))


@functools.cache
def bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


@pytest.mark.parametrize("most", [0, 1000, 2**20])
def test_what_swells_is_not_made_larger_than_allowed(most: int) -> None:
    header, body = header_of(recipients=()), bytes((COMPRESSED,))
    assert len(opened(header, body + bomb(most), most=most)) == most
    refused("too-big", lambda: opened(header, body + bomb(most + 1), most=most))
    swelling, inside = bomb(MAX_OPENED), len(bomb(MAX_OPENED)).to_bytes(8) + bomb(MAX_OPENED)
    locked = by_hand(inside, COMPRESSED)
    tracemalloc.start()
    try:
        refused("too-big", lambda: opened(header, body + swelling, most=most))
        refused("too-big", lambda: opened(header_of(), locked, most=most))
        assert tracemalloc.get_traced_memory()[1] < 2 * most + 1_000_000
    finally:
        tracemalloc.stop()


def test_the_largest_that_swells() -> None:
    header = header_of(recipients=())
    assert len(opened(header, bytes((COMPRESSED,)) + bomb(MAX_OPENED))) == MAX_OPENED
    refused("too-big", lambda: opened(header, bytes((COMPRESSED,)) + bomb(MAX_OPENED + 1)))


def test_a_receipt_swells_no_further_than_a_receipt() -> None:
    """Every carrier reads them, of everybody."""
    header = header_of(kind=Kind.RECEIPT)
    refused("too-big", lambda: opened(header, bytes((COMPRESSED,)) + bomb(MAX_RECEIPT + 1), EVE))
    assert opened(header, content.public(bytes(MAX_RECEIPT)), EVE) == bytes(MAX_RECEIPT)


def test_what_is_not_compressed_has_the_same_bounds() -> None:
    header, made = sealed(noise(1000))
    assert len(opened(header, made, most=1000)) == 1000
    refused("too-big", lambda: opened(header, made, most=999))
    everybody = header_of(recipients=())
    refused("too-big", lambda: opened(everybody, content.public(noise(1000)), most=999))


# Sizes.


def test_what_is_too_big_is_not_made() -> None:
    refused("too-big", lambda: content.public(bytes(MAX_OPENED + 1)))
    refused("too-big", lambda: content.sealed(bytes(MAX_OPENED + 1), ALICE.sign_id, [(BOB.sign_id, b"")], os.urandom))
    refused("too-big", lambda: content.public(noise(MAX_CONTENT)))


@pytest.mark.slow
def test_the_longest_that_is_sealed() -> None:
    longest = noise(63 * 2**20 - 8)
    crowd = [Identity.from_seed(bytes([place % 256, 1]) * 16) for place in range(MAX_RECIPIENTS)]
    header, made = sealed(longest, *crowd)
    assert len(made) <= MAX_CONTENT
    assert opened(header, made, crowd[7]) == longest
    refused("too-big", lambda: sealed(longest + b"x"))


def test_compressed_where_it_saves_a_sixteenth() -> None:
    text = b"the quick brown fox " * 50
    assert content.public(text)[0] == COMPRESSED
    assert content.public(noise(1000)) == b"\0" + noise(1000)
    assert content.public(b"hi") == b"\0hi"
    _, made = sealed(text)
    assert (made[0], len(made)) == (SEALED | COMPRESSED, HEAD + SMALLEST + 17)
    # Of much data the start says whether the rest is compressed, too.
    assert content.public(noise(70_000) + bytes(70_000))[0] == 0
    assert content.public(bytes(70_000) + noise(2_000_000))[0] == 0


def test_padding_hides_lengths_within_a_class() -> None:
    sizes = {size: len(sealed(noise(size))[1]) for size in (0, 1, 400, 504, 505, 1000)}
    assert sizes[0] == sizes[1] == sizes[400] == sizes[504] < sizes[505] < sizes[1000]


@given(st.integers(1, 2 * MAX_CONTENT))
@example(SMALLEST)
@example(SMALLEST + 1)
def test_size_classes(size: int) -> None:
    wide = padded(size)
    assert size <= wide
    assert wide == SMALLEST or wide - size <= size / 16
    assert padded(wide) == wide
    assert padded(size + 1) >= wide


# Another implementation's bytes.


def header_for(case: dict[str, Any]) -> Header:
    sender, *recipients = (sign_id_of(bytes.fromhex(key)) for key in (case["sender"], *case["recipients"]))
    return replace(header_of(), kind=Kind(case["kind"]), sender=sender, recipients=tuple(recipients))


def opened_as(case: dict[str, Any], data: bytes | None = None) -> bytes:
    reader = Identity.from_seed(bytes.fromhex(case["readerSeed"]))
    secrets = [bytes.fromhex(secret) for secret in case["mailSecrets"]]
    data = bytes.fromhex(case["content"]) if data is None else data
    return content.opened(header_for(case), data, reader, secrets)


def sealed_as(case: dict[str, Any], data: bytes) -> bytes:
    header = header_for(case)
    drawn = iter([bytes.fromhex(case["ephemeralSecret"]), bytes.fromhex(case["key"])])
    to = list(zip(header.recipients, map(bytes.fromhex, case["mailKeys"]), strict=True))
    return content.sealed(data, header.sender, to, lambda size: next(drawn)[:size])


@pytest.mark.parametrize("case", cases("messenger", "sealed"))
def test_sealed_as_specified(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    assert sealed_as(case, data).hex() == case["content"]
    assert opened_as(case) == data


def test_three_segments_as_specified() -> None:
    case = json.loads((VECTORS / "messenger.json").read_text("utf-8"))["large"]
    data = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(5000))[:150_000]
    made = sealed_as(case, data)
    sizes_and_hashes = (len(made), blake2b(data), blake2b(made))
    assert sizes_and_hashes == (case["size"], case["dataHash"], case["contentHash"])
    assert opened_as(case, made) == data
    for broken in case["broken"]:
        put_together = b"".join(made[start:end] for start, end in broken["pieces"])
        refused(broken["reason"], partial(opened_as, case, put_together))


@pytest.mark.parametrize("case", cases("messenger", "readable"))
def test_read_as_specified(case: dict[str, Any]) -> None:
    assert opened_as(case).hex() == case["data"]


@pytest.mark.parametrize("case", cases("messenger", "unreadable"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: opened_as(case))


@pytest.mark.parametrize("case", cases("messenger", "classes"))
def test_padded_as_specified(case: dict[str, Any]) -> None:
    assert padded(case["needs"]) == case["size"]


def blake2b(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()
