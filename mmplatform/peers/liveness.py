"""The failure detector of one link: has it fallen silent while something on it wants an answer? Pure.

A link is suspected only beside another one that answers at the same time: a busy peer answers over none.
"""

from typing import Final

PROBE_AFTER: Final = 0.4  # seconds without an answer until the link is asked whether it is there
SWITCH_AFTER: Final = 0.4  # seconds from the question until the link is left, when another one answers
ROUND_TRIPS: Final = 3  # round trips of the link that PROBE_AFTER and SWITCH_AFTER last at least
LEAST_RATE: Final = 2 * 1024 * 1024  # bytes a second a link is taken to carry: answers wait behind what was sent
RATE_DECAY: Final = 0.9  # the part of a higher rate, once seen, that is left at the next look
LONGEST_SWITCH: Final = 2.0  # seconds from the question until the link is left, however much was sent before it
RESCUE_AFTER: Final = 2.0  # seconds of silence until other addresses are dialled, when no other link answers
QUARANTINE: Final = 60.0  # seconds for which a link that fell silent and came back is not used; doubles each time
LONGEST_QUARANTINE: Final = 960.0  # seconds

IDLE: Final = "idle"  # nothing wants an answer
WAIT: Final = "wait"  # an answer may still come
PROBE: Final = "probe"  # ask every link whether it is there
SWITCH: Final = "switch"  # another link answers and this one does not
DIAL: Final = "dial"  # the link does not answer and there is no other one


class FailureDetector:
    """Watches one link: :meth:`look` is called a few times a second while something wants an answer."""

    def __init__(self) -> None:
        self._bytes_in = -1
        self._bytes_out = 0  # bytes that had gone out when something last came in
        self._answered_at = 0.0  # when something last came in
        self._rate: float = LEAST_RATE
        self._silent_since: float | None = None
        self._probed_at: float | None = None
        self._others_in = 0  # bytes that had come in over other links when this one was probed
        self._dialled = False

    def look(
        self, now: float, bytes_in: int, bytes_out: int, awaits_answer: bool, others_in: int, round_trip: float
    ) -> str:
        """Decide what to do about the link.

        Args:
            now: seconds, of any steady clock.
            bytes_in: bytes that came in over the link so far.
            bytes_out: bytes that went out over the link so far.
            awaits_answer: whether something that wants an answer went out after the last frame came in.
            others_in: bytes that came in over all other links to the peer so far.
            round_trip: what all but one of twenty questions over the link take at most, in seconds.

        """
        if bytes_in != self._bytes_in:
            if now > self._answered_at > 0:
                seen = (bytes_out - self._bytes_out) / (now - self._answered_at)
                self._rate = max(LEAST_RATE, self._rate * RATE_DECAY, seen)
            self._bytes_in, self._bytes_out, self._answered_at = bytes_in, bytes_out, now
            self._probed_at, self._dialled = None, False
            self._silent_since = now if awaits_answer else None
        if not awaits_answer:
            self._silent_since = self._probed_at = None
            return IDLE
        if self._silent_since is None:
            self._silent_since = now
        if self._probed_at is None:
            if now - self._silent_since < max(PROBE_AFTER, min(ROUND_TRIPS * round_trip, LONGEST_SWITCH)):
                return WAIT
            self._probed_at, self._others_in = now, others_in
            return PROBE
        patience = max(SWITCH_AFTER, ROUND_TRIPS * round_trip) + (bytes_out - self._bytes_out) / self._rate
        if now - self._probed_at >= min(patience, LONGEST_SWITCH) and others_in != self._others_in:
            return SWITCH
        if now - self._silent_since >= RESCUE_AFTER and not self._dialled:
            self._dialled = True
            return DIAL
        return WAIT


def quarantine(times: int) -> float:
    """Seconds for which a link that fell silent ``times`` times is not used after something came in over it again."""
    return float(min(QUARANTINE * 2 ** min(max(times - 1, 0), 30), LONGEST_QUARANTINE))
