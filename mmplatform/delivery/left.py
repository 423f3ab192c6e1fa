"""What was handed out of one stream and left with its sender: it comes again, and nothing of its topic passes it."""

from heapq import heapify, heappop, heappush
from typing import Final

from mmplatform.delivery.wire import Record

SLACK: Final = 64  # entries that say nothing any more, and are still there

Topic = tuple[str, str]  # protocol, topic


class Left:
    """The messages of one stream that are left with their sender, by number."""

    __slots__ = ("_entries", "_heap", "_topics", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[int, Topic] = {}
        self._heap: list[int] = []  # these and others, which have come again
        self._topics: dict[Topic, list[int]] = {}  # the same, a heap a topic
        self._entries = 0

    def add(self, record: Record) -> None:
        """Note that ``record`` is left."""
        topic = record.protocol, record.topic
        self.numbers[record.seq] = topic
        heappush(self._heap, record.seq)
        heappush(self._topics.setdefault(topic, []), record.seq)
        self._entries += 1
        if self._entries > 2 * len(self.numbers) + SLACK:
            self.restore(self.numbers)  # a peer that invents topics must not fill the memory

    def lowest(self) -> int:
        """Return the first number that is left, 0 when none is."""
        return self._first(self._heap)

    def precedes(self, record: Record) -> bool:
        """Whether an earlier message of the topic of ``record`` is left."""
        topic = record.protocol, record.topic
        if topic not in self._topics:
            return False
        first = self._first(self._topics[topic])
        if not first:
            del self._topics[topic]
        return 0 < first < record.seq

    def restore(self, numbers: dict[int, Topic]) -> None:
        """Take it that ``numbers`` are left, and no others."""
        self.numbers, self._heap, self._topics, self._entries = numbers, list(numbers), {}, len(numbers)
        for seq, topic in numbers.items():
            self._topics.setdefault(topic, []).append(seq)
        for heap in (self._heap, *self._topics.values()):
            heapify(heap)

    def settle_upto(self, done: int) -> None:
        """Forget what is settled at the sender: all up to ``done``."""
        if self.numbers:
            self.numbers = {seq: topic for seq, topic in self.numbers.items() if seq > done}

    def _first(self, heap: list[int]) -> int:
        while heap and heap[0] not in self.numbers:
            heappop(heap)
        return heap[0] if heap else 0
