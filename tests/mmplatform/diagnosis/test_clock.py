"""Which clock is wrong, when several disagree."""

import pytest

from mmplatform.diagnosis import clock
from mmplatform.plugins.check import CheckState


@pytest.mark.parametrize(
    ("others", "subjects"),
    [
        ({}, []),
        ({"a": 1.0}, []),
        ({"a": 0.0, "b": -4.0}, []),
        ({"a": 3600.0}, ["clock"]),  # one against one: it cannot be told whose
        ({"a": 3600.0, "b": 3599.0}, ["clock"]),
        ({"a": -3600.0, "b": -3599.0, "c": 0.0}, ["clock of a", "clock of b"]),
        ({"a": 0.0, "b": 3600.0}, ["clock of b"]),
        ({"a": 0.0, "b": 30.0, "c": -1.0}, ["clock of c", "clock of b"][1:]),
        ({"a": 60.1, "b": 61.0, "c": 0.2, "d": 62.0}, ["clock"]),
    ],
)
def test_what_most_say_is_the_time(others: dict[str, float], subjects: list[str]) -> None:
    found = clock.examine(others)
    assert [check.subject for check in found if check.word] == subjects
    assert {check.word for check in found} <= {"", "clock-skew"}


def test_how_bad_it_is() -> None:
    assert clock.examine({"a": 30.0})[0].state is CheckState.WARNING
    assert clock.examine({"a": 61.0})[0].state is CheckState.FAULT
    assert "is 61 s ahead" in clock.examine({"a": 61.0})[0].text
    assert "this host is 61 s behind" in clock.examine({"a": 61.0, "b": 62.0})[0].text
    assert clock.examine({})[0].state is CheckState.UNCHECKED
