"""When an envelope is good: the rules for its stamp and its time to live, in Unix seconds."""

from typing import Final

from mm_transports.rmb.protocol.envelope import RmbEnvelope
from mmplatform.errors import ProtocolError

CLOCK_SKEW: Final = 60  # seconds by which the clock of another may be ahead of ours
MAX_TTL: Final = 7200  # seconds that an envelope lives at most, whatever it says


def stamp(envelope: RmbEnvelope, now: int) -> None:
    """Date an envelope now, before it is signed; of its time to live what has passed since its last stamp is gone.

    One without a stamp, or with one that is still to come, lives on for all of it.
    """
    passed = now - envelope.timestamp if 0 < envelope.timestamp < now else 0
    envelope.timestamp, envelope.expiration = now, max(0, envelope.expiration - passed)


def deadline(envelope: RmbEnvelope, now: int, most: int = MAX_TTL) -> int:
    """Return when an envelope ends, at most ``most`` seconds from now.

    Raises ProtocolError: ``expired``, or ``future`` for a stamp that no clock of today gives. That one is refused, as
    the digits of a stamp run into those around it (docs/protocol/rmb.rst).
    """
    if envelope.timestamp > now + CLOCK_SKEW:
        raise ProtocolError("future", "the envelope is dated later than now; compare the clocks")
    end = envelope.timestamp + envelope.expiration
    if end <= now:
        raise ProtocolError("expired", f"the envelope ended {now - end} seconds ago")
    return min(end, now + most)
