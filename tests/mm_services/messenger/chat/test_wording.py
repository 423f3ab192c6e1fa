"""How lines are written: what others wrote steers nothing, and times are for people."""

import time

from mm_services.messenger.chat import wording
from mm_services.messenger.chat.lines import NOTE, OURS, ChatLine, LineState

BOB = "b" * 43 + "="


def written(line: ChatLine, state: LineState = LineState.HEARD) -> str:
    return "".join(text for text, _ in wording.parts(line, "bob", state))


def test_a_line_of_somebody_tells_hops_and_age() -> None:
    line = ChatLine(time.time(), BOB, "hi", "9c", 2, 3.4)
    assert written(line)[8:] == " bob 2 hops 3 s: hi"
    assert written(line._replace(hops=1, age=7300.0))[8:] == " bob 1 hop 2 h: hi"


def test_a_line_of_ours_tells_its_state() -> None:
    line = ChatLine(time.time(), OURS, "hi")
    assert [written(line, state)[8:] for state in (LineState.WAITING, LineState.READ)] == [" me · hi", " me ✓✓ hi"]


def test_notes_are_told_apart() -> None:
    assert written(ChatLine(time.time(), NOTE, "started"))[8:] == " -- started"


def test_nothing_of_others_steers_the_terminal() -> None:
    text = written(ChatLine(0.0, BOB, "\x1b[2J\x9b31m\r\n\u202egnp\x00", file="/in\x1b[m"))
    assert "\\x1b[2J\\x9b31m\\r\\n\\u202egnp\\x00" in text
    assert text.isprintable()


def test_a_file_tells_where_it_is() -> None:
    assert written(ChatLine(0.0, BOB, "a.jpg, 2 KiB", file="/in/a.jpg")).endswith("[file] a.jpg, 2 KiB -> /in/a.jpg")


def test_times_of_other_days_have_a_date_and_none_is_too_odd() -> None:
    assert len(wording.when(time.time())) == len("04:05:06")
    assert len(wording.when(time.time() - 9e5)) == len("2026-01-01 04:05")
    assert wording.when(1e300) == wording.when(float("nan")) == "--:--:--"
