"""How one subscription handles its messages: side by side or in order, how many wait, and how often it tries again."""

import math
from dataclasses import dataclass
from typing import Final, Literal

Policy = Literal["block", "drop-oldest", "error"]

LONGEST_PAUSE: Final = 60.0  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Options:
    """The options of :meth:`mmplatform.messaging.bus.Bus.on`. Raises ValueError for a bad one."""

    concurrency: int = 1
    queue: int = 1024
    policy: Policy = "block"
    retries: int = 3
    backoff: float = 1.0
    ordered: bool = False

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.concurrency < 1 or self.queue < 1 or self.policy not in ("block", "drop-oldest", "error"):
            raise ValueError("concurrency and queue are at least 1; policy is block, drop-oldest or error")
        if type(self.retries) is not int or self.retries < 0:
            raise ValueError(f"retries={self.retries!r}: how often a handler that fails is run again, a whole number")
        if not (math.isfinite(self.backoff) and self.backoff >= 0):
            raise ValueError(f"backoff={self.backoff!r}: seconds before a handler that failed is run again, 0 or more")
        if self.ordered and self.concurrency > 1:
            raise ValueError("ordered handles one message after the other: it cannot have a concurrency above 1")

    def pause(self, tries: int) -> float:
        """Return the seconds before a handler is run again that has failed ``tries`` times before."""
        return min(LONGEST_PAUSE, self.backoff * 2.0 ** min(tries, 64))
