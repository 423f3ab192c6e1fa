"""Collections that count how often one of their elements is looked at: what a step costs, without a clock."""

from collections import deque
from collections.abc import Iterator
from typing import Any


class Watched(deque[Any]):
    """``looks`` is shared by all of them; set it to 0 first."""

    looks = 0

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            Watched.looks += 1
            yield each

    def __reversed__(self) -> Iterator[Any]:
        for each in super().__reversed__():
            Watched.looks += 1
            yield each

    def __getitem__(self, index: Any) -> Any:
        Watched.looks += 1
        return super().__getitem__(index)


class Walked:
    """Counts how many of the members of a collection somebody has walked over."""

    walked = 0

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():  # type: ignore[misc]  # of the collection that it is mixed with
            self.walked += 1
            yield each


class WalkedSet(Walked, set[Any]):
    """A set that counts."""


class WalkedDict(Walked, dict[Any, Any]):
    """A dict that counts."""
