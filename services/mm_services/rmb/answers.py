"""Answers that a twin gave, for who asks once more under the same uid: its handler does not run again.

Pure. Bounded in number and bytes: what was answered first is forgotten first.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbError, RmbResponse

MOST: Final = 4096  # answers
MOST_BYTES: Final = 16 * 1024 * 1024
_OVERHEAD: Final = 512  # bytes, roughly, of an answer without its payload


class StoredAnswer(NamedTuple):
    """What a handler answered, until ``end``, in Unix seconds."""

    message: RmbResponse | RmbError
    payload: bytes
    schema: str | None
    end: int


class Answers:
    """The latest answers, by who asked and the uid."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[tuple[TwinAddress, str], StoredAnswer] = OrderedDict()
        self._size = 0

    def keep(self, asker: TwinAddress, uid: str, answer: StoredAnswer) -> None:
        """Remember an answer."""
        self._forget(asker, uid)
        self._kept[asker, uid] = answer
        self._size += _size(answer)
        while len(self._kept) > self._most or self._size > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._size -= _size(oldest)

    def find(self, asker: TwinAddress, uid: str, now: float) -> StoredAnswer | None:
        """Return the answer, None when it is not there any more, or nobody waits for it."""
        answer = self._kept.get((asker, uid))
        if answer is not None and answer.end <= now:
            self._forget(asker, uid)
            return None
        return answer

    def _forget(self, asker: TwinAddress, uid: str) -> None:
        if (answer := self._kept.pop((asker, uid), None)) is not None:
            self._size -= _size(answer)


def _size(answer: StoredAnswer) -> int:
    return len(answer.payload) + _OVERHEAD
