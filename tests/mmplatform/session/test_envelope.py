"""Sealed mail: round trips, size classes, and everything that must not open."""

import json
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_box_beforenm, crypto_box_easy_afternm, crypto_scalarmult_base

from mm_transports.relay.protocol import items
from mmplatform.errors import InvalidKey, ProtocolError
from mmplatform.identity.keys import Identity, SignId, digest, labelled, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session import envelope as module
from mmplatform.session.envelope import MAIL_LIFE, MAX_CONTENT, MAX_ENVELOPE, SHORTEST, SMALLEST, padded, seal
from mmplatform.session.packets import MAX_RECORD
from tests.support.sessions import ALICE, BOB, EVE, NOW, RECORDS, ROOT, draws, record_of, refused
from tests.support.vectors import VECTORS, cases, unfolded

MAIL_SECRET = bytes(range(32))
MAIL_KEY = crypto_scalarmult_base(MAIL_SECRET)


def sealed(content: bytes = b"hello", mail_key: bytes = MAIL_KEY, seed: str = "e", **changed: Any) -> bytes:
    """From Alice to Bob."""
    parts: dict[str, Any] = {"identity": ALICE, "recipient": BOB.sign_id, "node_info": RECORDS[ALICE.sign_id]} | changed
    return seal(**parts, mail_key=mail_key, content=content, random=draws(seed))


def opened(envelope: bytes, identity: Identity = BOB, now: float = NOW) -> module.Opened:
    return module.open_envelope(envelope, identity, [MAIL_SECRET], now)


def handmade(
    record: bytes | None = None,
    content: bytes = b"hello",
    after: bytes = b"",
    plain: Callable[[bytes, bytes], bytes] | None = None,
    signer: Identity = ALICE,
    signed: dict[str, bytes] | None = None,
) -> bytes:
    """A well sealed envelope to Bob's boxId; ``plain(record, signature)`` is what is in the box, ``signed`` replaces
    parts under the signature."""
    record = RECORDS[ALICE.sign_id] if record is None else record
    secret = b"\x07" * 32
    ephemeral = crypto_scalarmult_base(secret)
    parts = {"e": ephemeral, "m": BOB.box_key, "to": BOB.sign_key, "record": record, "content": content} | (
        signed or {}
    )
    signature = signer.sign("mm/1 mail", *parts.values())
    usual = len(record).to_bytes(2) + record + signature + len(content).to_bytes(4) + content + after
    inside = plain(record, signature) if plain else usual
    nonce = digest("mm/1 mail nonce", b"mm\1\x10", ephemeral, BOB.box_key, BOB.sign_key)[:24]
    box = crypto_box_easy_afternm(inside, nonce, crypto_box_beforenm(BOB.box_key, secret))
    return b"mm\1\x10" + ephemeral + box


@given(st.binary(max_size=3000), st.booleans())
@example(b"", True)
def test_round_trip(content: bytes, to_mail_key: bool) -> None:
    sender, read, current = opened(sealed(content, MAIL_KEY if to_mail_key else b""))
    assert (sender.encode(), read, current) == (RECORDS[ALICE.sign_id], content, True)


def test_every_secret_is_tried_and_the_box_key_at_last() -> None:
    envelope = sealed()
    others = [bytes([n]) * 32 for n in range(1, 4)]
    assert module.open_envelope(envelope, BOB, [*others, MAIL_SECRET], NOW).content == b"hello"
    assert module.open_envelope(sealed(mail_key=b""), BOB, others, NOW).content == b"hello"
    refused("bad-box", lambda: module.open_envelope(envelope, BOB, others, NOW))


def test_the_relay_takes_exactly_the_longest() -> None:
    assert MAX_ENVELOPE == items.MAX_MAIL
    record = NodeInfo.create(ALICE, [("tcp://h:1/" + "x" * 256)[:256]] * 16, 1, int(NOW) + 60, MAIL_KEY).encode()
    content = bytes(MAX_CONTENT)
    envelope = sealed(content, node_info=record)
    assert len(envelope) == MAX_ENVELOPE
    assert opened(envelope).content == content
    assert SHORTEST + MAX_RECORD + MAX_CONTENT <= MAX_ENVELOPE
    refused("too-long", lambda: sealed(bytes(MAX_CONTENT + 1)))
    refused("too-long", lambda: sealed(node_info=bytes(MAX_RECORD + 1)))
    refused("too-long", lambda: opened(envelope + b"\0"))


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31), b"short", bytes(33)])
def test_a_mail_key_that_is_none_is_not_sealed_to(key: bytes) -> None:
    refused("bad-key", lambda: sealed(mail_key=key))


def test_a_recipient_that_is_none_is_not_sealed_to() -> None:
    with pytest.raises(InvalidKey):
        sealed(recipient=SignId("nobody"), mail_key=b"")


# What the outside shows.


def test_an_envelope_says_nothing_about_its_sender() -> None:
    first, second = sealed(seed="1"), sealed(seed="2")
    for envelope in (first, second):
        assert not any(part in envelope for part in (ALICE.sign_key, ALICE.box_key, BOB.sign_key, MAIL_KEY, b"hello"))
    assert first[4:] != second[4:]
    assert sum(a == b for a, b in zip(first[4:], second[4:], strict=True)) < 40  # 1020 bytes, 4 equal by chance


@given(st.integers(0, 1500), st.integers(0, 1500))
def test_padding_hides_lengths_within_a_class(one: int, other: int) -> None:
    sizes = [len(sealed(bytes(size))) for size in (one, other)]
    needed = [SHORTEST + len(RECORDS[ALICE.sign_id]) + size for size in (one, other)]
    assert (sizes[0] == sizes[1]) == (padded(needed[0]) == padded(needed[1]))


@given(st.integers(1, MAX_ENVELOPE))
@example(SMALLEST)
@example(SMALLEST + 1)
@example(2**20)
@example(2**20 + 1)
@example(MAX_ENVELOPE)
def test_size_classes(size: int) -> None:
    wide = padded(size)
    assert size <= wide <= MAX_ENVELOPE
    assert wide == SMALLEST or wide - size <= size / 16
    assert padded(wide) == wide
    assert padded(min(size + 1, MAX_ENVELOPE)) >= wide


def test_there_are_few_classes() -> None:
    assert len({padded(size) for size in range(1, MAX_ENVELOPE + 1)}) == 226
    assert len({padded(size) for size in range(1, 64 * 1024 + 1)}) == 97


# What does not open.


@settings(max_examples=200)
@given(st.integers(0, SMALLEST * 8 - 1))
@example(36 * 8 - 1)  # the bit of E that X25519 ignores
@example(SMALLEST * 8 - 1)  # padding
def test_a_flipped_bit_anywhere(bit: int) -> None:
    envelope = bytearray(sealed())
    assert len(envelope) == SMALLEST
    envelope[bit // 8] ^= 1 << bit % 8
    outside = ["wrong-magic", "wrong-magic", "wrong-version", "wrong-type"]
    refused(outside[bit // 8] if bit < 32 else "bad-box", lambda: opened(bytes(envelope)))


@given(st.binary(max_size=300), st.sampled_from([b"", b"mm\1\x10"]))
def test_random_bytes(data: bytes, start: bytes) -> None:
    with pytest.raises(ProtocolError):
        opened(start + data)


@given(st.integers(0, SMALLEST - 1))
def test_a_cut_envelope(size: int) -> None:
    refused("too-short" if size < SHORTEST else "bad-box", lambda: opened(sealed()[:size]))


def test_another_recipient() -> None:
    envelope = sealed(mail_key=b"")
    refused("bad-box", lambda: opened(envelope, EVE))
    refused("bad-box", lambda: module.open_envelope(envelope, EVE, [BOB.box_secret], NOW))


def test_two_who_share_a_mail_key_are_told_apart() -> None:
    """Also a signId and its negative, which share a boxId."""
    refused("bad-box", lambda: opened(sealed(), EVE))


@pytest.mark.parametrize(
    "changed",
    [
        {"e": bytes(32)},
        {"m": MAIL_KEY},
        {"to": EVE.sign_key},
        {"record": b""},
        {"content": b"hello!"},
    ],
)
def test_what_is_signed_is_bound(changed: dict[str, bytes]) -> None:
    assert opened(handmade()).content == b"hello"
    refused("bad-signature", lambda: opened(handmade(signed=changed)))


def test_nobody_signs_for_another() -> None:
    """The recipient has opened Eve's mail and seals it again as Alice's, or anybody seals in Alice's name."""
    refused("bad-signature", lambda: opened(handmade(signer=EVE)))
    refused("bad-signature", lambda: opened(handmade(signer=BOB)))


def test_a_signature_under_another_label_is_none() -> None:
    def plain(record: bytes, signature: bytes) -> bytes:
        parts = (crypto_scalarmult_base(b"\x07" * 32), BOB.box_key, BOB.sign_key, record, b"hello")
        other = ALICE.sign("mm/1 initiate", *parts)
        return len(record).to_bytes(2) + record + other + (5).to_bytes(4) + b"hello"

    assert labelled("mm/1 mail") != labelled("mm/1 initiate")
    refused("bad-signature", lambda: opened(handmade(plain=plain)))


def test_mail_cannot_be_sent_on_as_mail_to_another() -> None:
    """Bob seals what Alice signed for him to Eve, with the same E: he never had its secret, but say he had."""
    record, secret, content = RECORDS[ALICE.sign_id], b"\x07" * 32, b"hello"
    ephemeral = crypto_scalarmult_base(secret)
    signature = ALICE.sign("mm/1 mail", ephemeral, BOB.box_key, BOB.sign_key, record, content)
    plain = len(record).to_bytes(2) + record + signature + len(content).to_bytes(4) + content
    nonce = digest("mm/1 mail nonce", b"mm\1\x10", ephemeral, EVE.box_key, EVE.sign_key)[:24]
    box = crypto_box_easy_afternm(plain, nonce, crypto_box_beforenm(EVE.box_key, secret))
    refused("bad-signature", lambda: opened(b"mm\1\x10" + ephemeral + box, EVE))


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (lambda record, signature: bytes(70), "bad-record"),
        (lambda record, signature: b"\xff\xff" + record + signature + bytes(4), "bad-content"),
        (lambda record, signature: len(record).to_bytes(2) + record + signature + b"\xff" * 4, "bad-content"),
        (lambda record, signature: len(record).to_bytes(2) + record + signature + bytes(4) + b"\1", "bad-content"),
        (lambda record, signature: len(record).to_bytes(2) + record + signature + bytes(104) + b"\1", "bad-content"),
        (lambda record, signature: (8193).to_bytes(2) + bytes(8193) + signature + bytes(4), "too-long"),
        (lambda r, s: len(r).to_bytes(2) + r + s + (MAX_CONTENT + 1).to_bytes(4) + bytes(MAX_CONTENT + 1), "too-long"),
    ],
)
def test_an_inside_that_is_not_as_specified(plain: Callable[[bytes, bytes], bytes], reason: str) -> None:
    refused(reason, lambda: opened(handmade(plain=plain)))


def test_padding_of_any_length_is_taken() -> None:
    assert opened(handmade(after=b"")).content == opened(handmade(after=bytes(5000))).content == b"hello"


def test_a_key_of_low_order() -> None:
    refused("bad-key", lambda: opened(sealed()[:4] + bytes(32) + sealed()[36:]))


# Mail waits; records expire.


def test_mail_opens_when_the_record_in_it_has_expired_meanwhile() -> None:
    envelope = sealed(node_info=record_of(ALICE))
    assert opened(envelope, now=NOW + 3599).current
    late = opened(envelope, now=NOW + 3600)
    assert (late.sender.sign_id, late.content, late.current) == (ALICE.sign_id, b"hello", False)
    assert not opened(envelope, now=NOW + 3599 + MAIL_LIFE).current
    refused("bad-record", lambda: opened(envelope, now=NOW + 3600 + MAIL_LIFE))


def test_a_record_that_is_not_the_senders_proves_nothing() -> None:
    refused("bad-signature", lambda: opened(handmade(record=RECORDS[EVE.sign_id])))
    refused("bad-record", lambda: opened(handmade(record=RECORDS[ALICE.sign_id][:-1] + b"\0")))
    refused("bad-record", lambda: opened(handmade(record=b"")))


def test_the_specification_lists_every_reason() -> None:
    source = (ROOT / "mmplatform/session/envelope.py").read_text()
    spec = (ROOT / "docs/protocol/mail.rst").read_text().split("Opening\n-------")[1].split("Whatever the word")[0]
    listed = re.findall(r"``([a-z-]+)``", "".join(re.findall(r"^   \* - (.*)$", spec, re.M)))
    assert set(listed) == set(re.findall(r'ProtocolError\("([a-z-]+)"', source))


# Another implementation's bytes.


@pytest.mark.parametrize("case", cases("mail", "valid"))
def test_sealed_as_specified(case: dict[str, Any]) -> None:
    raw = {name: bytes.fromhex(case[name]) for name in ("senderSeed", "record", "mailKey", "ephemeralSecret")}
    content, envelope = unfolded(case["content"]), unfolded(case["envelope"])
    identity = Identity.from_seed(raw["senderSeed"])
    made = seal(
        identity, raw["record"], case["recipient"], raw["mailKey"], content, lambda size: raw["ephemeralSecret"][:size]
    )
    assert made == envelope
    found = opened_as(case)
    assert (found.sender.encode(), found.content, found.current) == (raw["record"], content, case["current"])


def test_the_longest_as_specified() -> None:
    case = json.loads((VECTORS / "mail.json").read_text("utf-8"))["large"]
    seed, record, key, secret = (
        bytes.fromhex(case[name]) for name in ("senderSeed", "record", "mailKey", "ephemeralSecret")
    )
    content = unfolded(case["content"])
    made = seal(Identity.from_seed(seed), record, case["recipient"], key, content, lambda size: secret)
    assert (len(made), blake2b(made, digest_size=32).hexdigest()) == (case["size"], case["hash"])


@pytest.mark.parametrize("case", cases("mail", "invalid"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: opened_as(case))


@pytest.mark.parametrize("case", cases("mail", "readable"))
def test_read_as_specified(case: dict[str, Any]) -> None:
    assert opened_as(case).content == unfolded(case["content"])


@pytest.mark.parametrize("case", cases("mail", "classes"))
def test_padded_as_specified(case: dict[str, Any]) -> None:
    assert padded(case["needs"]) == case["size"]


def opened_as(case: dict[str, Any]) -> module.Opened:
    recipient = Identity.from_seed(bytes.fromhex(case["recipientSeed"]))
    secrets = [bytes.fromhex(secret) for secret in case["mailSecrets"]]
    assert raw_key(recipient.sign_id) == recipient.sign_key
    return module.open_envelope(unfolded(case["envelope"]), recipient, secrets, case["now"])
