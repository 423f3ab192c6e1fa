"""Compares our clock with those of other relays: mail is dated by the clock of who keeps it, the operator is told."""

import logging
from collections.abc import Callable
from typing import Final

from mm_relay.metrics import Metrics
from mmplatform.identity.keys import sign_id_of
from mmplatform.text import escaped

TOLERATED: Final = 60.0  # seconds that two clocks may differ
SAID: Final = 1024  # relays whose clocks were named

log = logging.getLogger("mm_relay.federation")


class Clocks:
    """The clocks of the relays that are linked, as far as they differ from ours by more than TOLERATED."""

    def __init__(self, metrics: Metrics, note: Callable[[str], None]) -> None:
        """``note`` tells the operator."""
        self._skews, self._note = metrics.clock_skews, note
        self._said: dict[bytes, int] = {}  # hours that each was said to differ, so that each is said once

    def heard(self, key: bytes, address: str, skew: float) -> int:
        """Take note that the clock of a relay is ``skew`` seconds ahead; return the milliseconds to allow for."""
        if abs(skew) <= TOLERATED:
            self.gone(key)
            if self._said.pop(key, None) is not None:
                self._say(key, f"the clock of the relay {escaped(address)} is no longer different from ours")
            return 0
        self._skews[sign_id_of(key)[:8]] = skew
        hours = round(skew / 3600)
        if self._said.get(key) != hours and len(self._said) < SAID:
            self._said[key] = hours
            self._say(key, f"{_differs(address, skew)}; see which of the two is wrong, and have it set")
        return int(skew * 1000)

    def _say(self, key: bytes, text: str) -> None:
        log.warning("%s", text, extra={"peer": sign_id_of(key)})
        self._note(text)

    def gone(self, key: bytes) -> None:
        """Take note that the relay is not linked any more, or that its clock is right."""
        self._skews.pop(sign_id_of(key)[:8], None)


def _differs(address: str, skew: float) -> str:
    far = f"{abs(skew) / 86_400:.1f} days" if abs(skew) >= 86_400 else f"{abs(skew):.0f} s"
    which = "ahead of" if skew > 0 else "behind"
    return f"the clock of the relay {escaped(address)} is {far} {which} ours: mail for it is dated to allow for that"
