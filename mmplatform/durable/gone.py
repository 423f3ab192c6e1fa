"""Remembers rows that are gone, as long as somebody may still have read them before."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Gone:
    """The numbers of rows that were taken out. A reader that began before a row was deleted may still come upon it."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._deleted: deque[tuple[int, list[int]]] = deque()  # when deletions were saved, and of which rows
        self._readers: dict[int, None] = {}  # when each began, the first one first
        self._time = 0

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def add(self, numbers: list[int]) -> None:
        """Note that rows are about to be deleted."""
        self._numbers.update(numbers)

    def deleted(self, numbers: list[int]) -> None:
        """Note that these rows are deleted: who begins to read from now on does not see them."""
        self._deleted.append((self._time, numbers))
        self._prune()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep in mind, while rows are read and looked at, which of them go meanwhile."""
        began = self.begin()
        try:
            yield
        finally:
            self.end(began)

    def begin(self) -> int:
        """Begin to read; what is returned is to be given to :meth:`end` when all that was read has been looked at."""
        self._time += 1
        self._readers[self._time] = None
        return self._time

    def end(self, began: int) -> None:
        """Forget what went since a reader began, as far as no other one needs it."""
        del self._readers[began]
        self._prune()

    def _prune(self) -> None:
        first = next(iter(self._readers), self._time + 1)
        while self._deleted and self._deleted[0][0] < first:
            self._numbers.difference_update(self._deleted.popleft()[1])
