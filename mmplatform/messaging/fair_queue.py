"""The queue before one handler: a queue for each sender, served in turn; self before friends before public."""

from collections import deque
from typing import Final, Generic, TypeVar

from mmplatform.identity.circles import RANKS
from mmplatform.message import Scope

LAST: Final = RANKS["public"]

Item = TypeVar("Item")
Sender = tuple[int, str]  # rank, signId


class FairQueue(Generic[Item]):
    """Gives items in the order of their senders' turns. Of one sender they come in order."""

    __slots__ = ("_again", "_queues", "_size", "_turns")

    def __init__(self) -> None:
        self._queues: dict[Sender, deque[Item]] = {}  # no queue is empty
        self._turns: tuple[deque[Sender], ...] = (deque(), deque(), deque())  # who is next, by rank
        self._again: deque[tuple[Sender, Item]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, item: Item, name: str, sender: str) -> None:
        """Queue an item of ``sender`` under ``name``, which is ``scope.topic``."""
        place = _place(name, sender)
        queue = self._queues.get(place)
        if queue is None:
            self._queues[place] = deque((item,))
            self._turns[place[0]].append(place)
        else:
            queue.append(item)
        self._size += 1

    def put_back(self, item: Item, name: str, sender: str) -> None:
        """Make ``item`` of ``sender`` under ``name`` the next one of all."""
        self._again.appendleft((_place(name, sender), item))
        self._size += 1

    def popleft(self) -> Item:
        """Take the next item. Raises IndexError when there is none."""
        if self._again:
            self._size -= 1
            return self._again.popleft()[1]
        for turns in self._turns:
            if turns:
                place = turns[0]
                queue = self._queues[place]
                self._size -= 1
                if len(queue) == 1:
                    turns.popleft()
                    return self._queues.pop(place)[0]
                turns.rotate(-1)
                return queue.popleft()
        raise IndexError("nothing waits")

    def pop_oldest(self, name: str, sender: str) -> Item:
        """Take the oldest item of ``sender`` in the scope of ``name``; there must be one."""
        place = _place(name, sender)
        queue = self._queues[place]
        self._size -= 1
        if len(queue) == 1:
            self._turns[place[0]].remove(place)
            del self._queues[place]
        return queue.popleft()

    def remove(self, sender: str, kept: Scope | None) -> list[Item]:
        """Take out all items of ``sender`` but those in the scope ``kept``, which may be none, in order."""
        spared = None if kept is None else RANKS[kept]
        leaving = {(rank, sender) for rank in range(len(self._turns)) if rank != spared}
        found = [item for place, item in self._again if place in leaving]
        self._again = deque(entry for entry in self._again if entry[0] not in leaving)
        for place in sorted(leaving & self._queues.keys()):
            self._turns[place[0]].remove(place)
            found += self._queues.pop(place)
        self._size -= len(found)
        return found

    def waiting(self, name: str, sender: str) -> int:
        """How many items of ``sender`` wait in the scope of ``name``."""
        queue = self._queues.get(_place(name, sender))
        return len(queue) if queue is not None else 0


def _place(name: str, sender: str) -> Sender:
    return RANKS.get(name.partition(".")[0], LAST), sender
