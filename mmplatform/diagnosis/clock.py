"""Checks the clock of this host against those of the relays and peers that the node talks to."""

from collections.abc import Mapping
from typing import Final

from mmplatform.plugins.check import Check, fault, ok, unchecked, warning

SUBJECT: Final = "clock"
TOLERATED: Final = 5.0  # seconds off that are fine; messages expire so much too early or too late
TOO_FAR: Final = 60.0  # seconds off that are a fault
DAY: Final = 24 * 3600.0
SET_IT: Final = "set it, and keep it set with NTP (timedatectl set-ntp true)"


def examine(clocks: Mapping[str, float], outdated: int = 0) -> list[Check]:
    """Check our clock; the median of all clocks, including ours, is taken as the true time.

    ``clocks`` are seconds ahead of ours, by the name of their owner. ``outdated``: how many connections came to nothing
    because the other end showed a record that has expired by our clock; nodes sign theirs every day.
    """
    if outdated and not clocks:
        text = f"{outdated} connections were refused, as who was there showed a record that has expired by this clock"
        return [warning(SUBJECT, "clock-skew", f"{text}: this clock is ahead, or theirs are behind", SET_IT)]
    if not clocks:
        return [unchecked(SUBJECT, "no relay and no peer is connected to compare with")]
    ours = sorted([0.0, *clocks.values()], key=abs)[len(clocks) // 2 if len(clocks) > 1 else 1]
    if abs(ours) <= TOLERATED:
        others = [(who, skew) for who, skew in clocks.items() if abs(skew) > TOLERATED]
        return [ok(SUBJECT, f"within {TOLERATED:.0f} s of {_counted(len(clocks) - len(others))}")] + [
            _said(f"{SUBJECT} of {who}", skew, f"the clock of {who} is {_off(skew)}", "have its owner set it")
            for who, skew in others
        ]
    if len(clocks) == 1:
        who = next(iter(clocks))
        text = f"the clocks here and of {who} differ: that one is {_off(ours)}"
        return [_said(SUBJECT, ours, text, f"see which one is wrong; {SET_IT}")]
    return [_said(SUBJECT, ours, f"the clock of this host is {_off(-ours)}, as {_counted(len(clocks))} say", SET_IT)]


def _said(subject: str, skew: float, text: str, remedy: str) -> Check:
    made = fault if abs(skew) > TOO_FAR else warning
    return made(subject, "clock-skew", f"{text}; messages expire too early or too late", remedy)


def _off(skew: float) -> str:
    far = f"{abs(skew) / DAY:.0f} days" if abs(skew) >= 2 * DAY else f"{abs(skew):.0f} s"
    return f"{far} {'ahead' if skew > 0 else 'behind'}"


def _counted(number: int) -> str:
    return f"{number} others" if number != 1 else "1 other"
