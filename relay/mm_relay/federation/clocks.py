"""Compares our clock with those of other relays: mail is dated by the clock of who keeps it, the operator is told."""

import logging
from typing import Final

from mm_relay.metrics import Metrics
from mmplatform.identity.keys import sign_id_of
from mmplatform.text import escaped

TOLERATED: Final = 60.0  # seconds that two clocks may differ
SAID: Final = 1024  # relays whose clocks were named

log = logging.getLogger("mm_relay.federation")


class Clocks:
    """The clocks of the relays that are linked, as far as they differ from ours by more than TOLERATED."""

    def __init__(self, metrics: Metrics) -> None:
        self._skews = metrics.clock_skews
        self._said: dict[bytes, int] = {}  # hours that each was said to differ, so that each is said once

    def heard(self, key: bytes, address: str, skew: float) -> int:
        """Take note that the clock of a relay is ``skew`` seconds ahead; return the milliseconds to allow for."""
        if abs(skew) <= TOLERATED:
            self.gone(key)
            if self._said.pop(key, None) is not None:
                log.info("the clock of the relay %s is right again", escaped(address), extra={"peer": sign_id_of(key)})
            return 0
        self._skews[sign_id_of(key)[:8]] = skew
        hours = round(skew / 3600)
        if self._said.get(key) != hours and len(self._said) < SAID:
            self._said[key] = hours
            log.warning(
                "the clock of the relay %s is %.0f s %s ours; mail between the two is dated to allow for that; "
                "see which of the two is wrong and have it set",
                escaped(address), abs(skew), "ahead of" if skew > 0 else "behind", extra={"peer": sign_id_of(key)},
            )  # fmt: skip
        return int(skew * 1000)

    def gone(self, key: bytes) -> None:
        """Take note that the relay is not linked any more, or that its clock is right."""
        self._skews.pop(sign_id_of(key)[:8], None)
