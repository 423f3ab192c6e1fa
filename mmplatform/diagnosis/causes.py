"""Reports each cause once: a fault that follows from another is not reported as a fault of its own."""

from collections.abc import Iterable, Sequence
from typing import Final

from mmplatform.plugins.check import Check, CheckState

FOLLOWS: Final = {  # word -> what explains it
    "dht-empty": ("udp-blocked",),
    "stun-unreachable": ("udp-blocked",),
    "multicast-blocked": ("udp-blocked",),
    "peer-unreachable": ("relay-down", "relay-name", "relay-tls", "relay-version", "relay-denied"),
    "peer-absent": ("relay-down", "relay-name", "relay-tls", "relay-version", "relay-denied"),
    "record-missing": ("udp-blocked",),
}


def sorted_out(checks: Iterable[Check]) -> list[Check]:
    """Return each check once; a fault that follows from another becomes "not checked" and names its cause."""
    found = list(dict.fromkeys(checks))
    words = {check.word for check in found if check.state in (CheckState.FAULT, CheckState.WARNING)}
    return [_explained(check, words) for check in found]


def worst(checks: Sequence[Check]) -> CheckState:
    """Return the worst state among the checks: FAULT, WARNING or OK."""
    states = {check.state for check in checks}
    return next((state for state in (CheckState.FAULT, CheckState.WARNING) if state in states), CheckState.OK)


def _explained(check: Check, words: set[str]) -> Check:
    for cause in FOLLOWS.get(check.word, ()):
        if cause in words:
            return check._replace(state=CheckState.UNCHECKED, word="", text=f"{check.text}; see {cause}", remedy="")
    return check
