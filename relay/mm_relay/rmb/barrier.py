"""What a session has sent that is not safe yet, and its pings that wait for it. Pure.

A ping is answered when all that was sent before it is on disk, or was answered by an error. So its sender knows what
it need not send again.
"""

from typing import Final, NamedTuple

MOST_PINGS: Final = 16  # pings of one session that may wait

Name = tuple[bytes, bytes]  # box and id


class _Batch:
    """All that was sent between two pings."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Ping(NamedTuple):
    before: _Batch
    answer: bytes


class Barrier:
    """The envelopes of one session that are under way to the disk."""

    __slots__ = ("_batch", "_of", "_pings", "size")

    def __init__(self) -> None:
        self._batch = _Batch()
        self._of: dict[Name, tuple[_Batch, int]] = {}
        self._pings: list[_Ping] = []
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, name: Name) -> bool:
        return name in self._of

    @property
    def full_of_pings(self) -> bool:
        return len(self._pings) >= MOST_PINGS

    def add(self, name: Name, size: int) -> None:
        """Take note that an envelope of ``size`` bytes is not safe; its name is not there yet."""
        self._batch.count += 1
        self._of[name] = self._batch, size
        self.size += size

    def rename(self, name: Name, into: Name) -> None:
        """Go on under another name, which is not there yet: where an envelope goes is known now."""
        self._of[into] = self._of.pop(name)

    def ping(self, answer: bytes) -> list[bytes]:
        """Return ``answer``, or keep it until all that was added before is done."""
        self._pings.append(_Ping(self._batch, answer))
        self._batch = _Batch()
        return self._ready()

    def done(self, name: Name) -> list[bytes]:
        """Take note that an envelope is safe, or was answered; return the answers of pings that waited for it."""
        batch, size = self._of.pop(name, (None, 0))
        if batch is None:
            return []
        batch.count -= 1
        self.size -= size
        return [] if batch.count or not self._pings else self._ready()

    def _ready(self) -> list[bytes]:
        ready = []
        while self._pings and not self._pings[0].before.count:
            ready.append(self._pings.pop(0).answer)
        return ready
