"""Tickets: vectors, tolerance for what pasting does to text, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import TicketError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import MAX_TEXT, parse_ticket, ticket
from tests.support.vectors import cases

NOW = 1_799_999_999
ALICE = Identity.from_seed(b"\x11" * 32)
INFO = NodeInfo.create(ALICE, ["tcp://192.0.2.7:4000"], 1, NOW + 60)
TICKET = ticket(INFO)

REASONS = {"prefix": "begins with", "checksum": "mistyped", "alphabet": "characters", "record": "ask for a new ticket"}


@pytest.mark.parametrize("case", cases("nodeinfo", "tickets"))
def test_vectors(case: dict[str, Any]) -> None:
    if "reason" in case:
        with pytest.raises(TicketError, match=rf"{REASONS[case['reason']]}|copy it again"):
            parse_ticket(case["ticket"], NOW)
        return
    info = parse_ticket(case["ticket"], NOW)
    assert info.encode().hex() == case["record"]
    assert ticket(info) == "".join(case["ticket"].split()).lower()


def test_it_is_one_word_of_plain_characters() -> None:
    assert TICKET.startswith("mm1")
    assert TICKET.isalnum()
    assert not any(character.isupper() for character in TICKET)
    assert len(TICKET) < 400


@given(st.lists(st.tuples(st.integers(0, len(TICKET)), st.sampled_from(" \n\r\t\u00a0")), max_size=20), st.booleans())
def test_whitespace_and_case_do_not_matter(insertions: list[tuple[int, str]], upper: bool) -> None:
    text = TICKET.upper() if upper else TICKET
    for position, blank in insertions:
        text = text[:position] + blank + text[position:]
    assert parse_ticket(text, NOW) == INFO


@pytest.mark.parametrize("position", range(len(TICKET)))
def test_every_single_typing_error_is_noticed(position: int) -> None:
    typed = "x" if TICKET[position] != "x" else "y"
    with pytest.raises(TicketError):
        parse_ticket(TICKET[:position] + typed + TICKET[position + 1 :], NOW)
    with pytest.raises(TicketError):
        parse_ticket(TICKET[:position] + TICKET[position + 1 :], NOW)


@given(st.text() | st.text("abcdefghijklmnopqrstuvwxyz234567").map("mm1".__add__))
def test_any_other_text_is_a_ticket_error(text: str) -> None:
    with pytest.raises(TicketError):
        parse_ticket(text, NOW)


@pytest.mark.parametrize("value", [None, TICKET.encode(), 5, "mm1" + "a" * MAX_TEXT])
def test_other_types_and_lengths(value: Any) -> None:
    with pytest.raises(TicketError, match="at most"):
        parse_ticket(value, NOW)


def test_the_longest_record_fits() -> None:
    info = NodeInfo.create(ALICE, ["tcp:".ljust(256, "x")] * 16, 1, NOW + 60, ALICE.box_key)
    assert parse_ticket("\n".join(ticket(info)), NOW) == info


def test_an_expired_ticket_says_what_to_do() -> None:
    with pytest.raises(TicketError, match=r"^expired: .*ask for a new ticket"):
        parse_ticket(TICKET, NOW + 60)
