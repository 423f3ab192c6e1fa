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
    """One line of a diagnosis.

    ``subject``: what was looked at. ``word``: a short stable name of what is wrong, "" when nothing is. ``text``: what
    was seen. ``remedy``: what to do, "" when nothing.
    """

    subject: str
    state: CheckState
    word: str
    text: str
    remedy: str = ""


class Diagnosable:
    """The mix-in of transports, carriers and services that can examine themselves for ``mm doctor``."""

    async def checks(self) -> list[Check]:
        """Return what is wrong with this plugin, and what is fine; may take some seconds to find out."""
        return []

    def clocks(self) -> dict[str, float]:
        """Return how many seconds each clock this plugin has heard of is ahead of ours, by the name of its owner."""
        return {}


def ok(subject: str, text: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(subject, CheckState.OK, "", text)


def warning(subject: str, word: str, text: str, remedy: str) -> Check:
    """Return a check of what works, but less well than it could."""
    return Check(subject, CheckState.WARNING, word, text, remedy)


def fault(subject: str, word: str, text: str, remedy: str) -> Check:
    """Return a check of what was asked for and does not work."""
    return Check(subject, CheckState.FAULT, word, text, remedy)


def unchecked(subject: str, why: str) -> Check:
    """Return a check that did not run, and why."""
    return Check(subject, CheckState.UNCHECKED, "", why)
