"""What a recipient was handed: numbers that friends send, over all starts of its node."""

import time
from typing import Any

from mmplatform import Platform


class Heard:
    """``numbers`` in the order in which they came, ``at`` when each came."""

    def __init__(self, platform: Platform, topic: str) -> None:
        self.numbers: list[int] = []
        self.at: list[float] = []
        self._topic = topic
        self.again(platform)

    def again(self, platform: Platform) -> None:
        """Go on with the next start of the node."""

        async def take(topic: str, sender: str, payload: Any) -> None:
            self.numbers.append(payload)
            self.at.append(time.monotonic())

        platform.messaging.on(f"friends.{self._topic}", take)
        platform.set_up()

    def lost(self, last: int) -> list[int]:
        """Return which of 1 to ``last`` did not come."""
        return sorted(set(range(1, last + 1)) - set(self.numbers))

    @property
    def repeated(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    @property
    def gap(self) -> float:
        """Seconds of the longest time between two of them."""
        return max((after - before for before, after in zip(self.at, self.at[1:], strict=False)), default=0.0)
