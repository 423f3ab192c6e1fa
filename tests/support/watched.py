"""A deque that counts how often one of its elements is looked at: what a step costs, without a clock."""

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
