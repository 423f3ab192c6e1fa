"""One line of a diagnosis: what was looked at, how it is, and what to do about it.

``word`` names what is wrong in a short stable way (``relay-down``); docs/when-it-does-not-work.rst lists them all.
"""

from enum import StrEnum
from typing import NamedTuple


class CheckState(StrEnum):
    """Severity, in ascending order. UNCHECKED is no severity: the check did not run."""

    OK = "ok"
    WARNING = "warning"  # it works, but less well than it could
    FAULT = "fault"  # something that was asked for does not work
    UNCHECKED = "not checked"


class Check(NamedTuple):
    """``subject`` is what was looked at, ``text`` what was seen, ``remedy`` what to do ("" when nothing)."""

    subject: str
    state: CheckState
    word: str
    text: str
    remedy: str = ""


class Diagnosable:
    """Mixed into a transport, a carrier or a service that can examine itself for ``mm doctor``."""

    async def checks(self) -> list[Check]:
        """What is wrong with it, and what is not; may take some seconds to find out."""
        return []

    def clocks(self) -> dict[str, float]:
        """Clocks it has heard of: seconds ahead of ours, by whose they are."""
        return {}


def ok(subject: str, text: str) -> Check:
    return Check(subject, CheckState.OK, "", text)


def warning(subject: str, word: str, text: str, remedy: str) -> Check:
    return Check(subject, CheckState.WARNING, word, text, remedy)


def fault(subject: str, word: str, text: str, remedy: str) -> Check:
    return Check(subject, CheckState.FAULT, word, text, remedy)


def unchecked(subject: str, why: str) -> Check:
    return Check(subject, CheckState.UNCHECKED, "", why)
