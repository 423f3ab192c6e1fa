"""One line of a diagnosis: what was looked at, how it is, and what to do about it.

``word`` names what is wrong in a short stable way (``relay-down``); docs/when-it-does-not-work.rst lists them all.
"""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """From fine to worst, but for the last, which says nothing."""

    OK = "ok"
    WARNING = "warning"  # it works, but less well than it could
    FAULT = "fault"  # something that was asked for does not work
    UNCHECKED = "not checked"


class Check(NamedTuple):
    """``subject`` is what was looked at, ``text`` what was seen, ``remedy`` what to do ("" when nothing)."""

    subject: str
    state: State
    word: str
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Check:
    return Check(subject, State.OK, "", text)


def warning(subject: str, word: str, text: str, remedy: str) -> Check:
    return Check(subject, State.WARNING, word, text, remedy)


def fault(subject: str, word: str, text: str, remedy: str) -> Check:
    return Check(subject, State.FAULT, word, text, remedy)


def unchecked(subject: str, why: str) -> Check:
    return Check(subject, State.UNCHECKED, "", why)
