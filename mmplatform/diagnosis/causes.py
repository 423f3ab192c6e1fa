"""One cause, one fault: what follows from another fault is not claimed as a fault of its own."""

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
    """Each said once; what follows from another is "not checked", and says from what."""
    found = list(dict.fromkeys(checks))
    words = {check.word for check in found if check.state in (CheckState.FAULT, CheckState.WARNING)}
    return [_explained(check, words) for check in found]


def worst(checks: Sequence[Check]) -> CheckState:
    """FAULT, WARNING or OK."""
    states = {check.state for check in checks}
    return next((state for state in (CheckState.FAULT, CheckState.WARNING) if state in states), CheckState.OK)


def _explained(check: Check, words: set[str]) -> Check:
    for cause in FOLLOWS.get(check.word, ()):
        if cause in words:
            return check._replace(state=CheckState.UNCHECKED, word="", text=f"{check.text}; see {cause}", remedy="")
    return check
