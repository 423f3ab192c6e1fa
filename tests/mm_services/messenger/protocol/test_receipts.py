"""Receipts: what parses, and whose word counts."""

from dataclasses import replace
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol import content, receipts
from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.protocol.limits import MAX_NAMED, MAX_RECEIPT
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mmplatform.errors import ProtocolError
from tests.support.bundles import header_of, sign_ids
from tests.support.sessions import ALICE, BOB, EVE, refused
from tests.support.vectors import cases, readable, unfolded

NAMED = st.builds(Named, st.binary(min_size=16, max_size=16), st.sampled_from(ReceiptState))


@given(st.lists(NAMED, min_size=1, max_size=20))
def test_round_trip(named: list[Named]) -> None:
    assert receipts.decoded(receipts.encoded(named)) == named


def test_as_many_as_fit() -> None:
    full = [Named(number.to_bytes(16), ReceiptState.READ) for number in range(MAX_NAMED)]
    data = receipts.encoded(full)
    assert receipts.decoded(data) == full
    assert len(data) <= MAX_RECEIPT
    header_of(kind=Kind.RECEIPT, length=len(content.public(data)))
    for wrong in ([], [*full, full[0]]):
        refused("bad-receipt", partial(receipts.encoded, wrong))
    refused("bad-receipt", lambda: receipts.decoded(msgpack.packb([[[b"a" * 16, 1]] * (MAX_NAMED + 1)])))


@given(st.binary(max_size=100))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        receipts.decoded(data)
    assert caught.value.reason == "bad-receipt"


def test_too_short_and_too_long() -> None:
    good = receipts.encoded([Named(b"a" * 16, 1), Named(b"b" * 16, 2)])
    for size in range(len(good)):
        refused("bad-receipt", partial(receipts.decoded, good[:size]))
    for more in (b"\0", b"\xc0" * 30, bytes(MAX_RECEIPT)):
        refused("bad-receipt", partial(receipts.decoded, good + more))


@pytest.mark.parametrize("state", [0, 4, -1, True, 1.0, "1", None, 2**63])
def test_states_that_are_none(state: object) -> None:
    refused("bad-receipt", lambda: receipts.decoded(msgpack.packb([[[b"a" * 16, state]]])))


def test_the_word_of_a_recipient_to_the_sender_counts() -> None:
    bundle = header_of(recipients=sign_ids(BOB, EVE))
    for recipient in (BOB, EVE):
        receipt = header_of(recipient, kind=Kind.RECEIPT, recipients=sign_ids(ALICE))
        assert receipts.counts(receipt, bundle)


def test_no_other_word_counts() -> None:
    """Else whoever carries a bundle has it dropped by all others."""
    bundle = header_of(recipients=sign_ids(BOB))
    good = header_of(BOB, kind=Kind.RECEIPT, recipients=sign_ids(ALICE))
    by_eve = header_of(EVE, kind=Kind.RECEIPT, recipients=sign_ids(ALICE))
    by_the_sender = header_of(ALICE, kind=Kind.RECEIPT, recipients=sign_ids(ALICE))
    to_eve = header_of(BOB, kind=Kind.RECEIPT, recipients=sign_ids(EVE))
    for receipt in (by_eve, by_the_sender, to_eve, replace(good, kind=Kind.MESSAGE), replace(good, kind=Kind.MAIL)):
        assert not receipts.counts(receipt, bundle)
    assert not receipts.counts(good, header_of(EVE, recipients=sign_ids(BOB)))
    assert not receipts.counts(good, header_of(recipients=()))
    assert receipts.counts(good, bundle)


# Another implementation's bytes.


@pytest.mark.parametrize("case", cases("messenger", "receipts"))
def test_read_and_written_as_specified(case: dict[str, Any]) -> None:
    named = receipts.decoded(bytes.fromhex(case["hex"]))
    assert [readable(named)] == case["receipt"]
    assert receipts.encoded(named).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("messenger", "invalidReceipts"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: receipts.decoded(unfolded(case["hex"])))
