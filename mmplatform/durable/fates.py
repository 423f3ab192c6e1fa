"""Remembers messages that ended in another way than delivered, and cancelled ones that a row still holds."""

from collections.abc import Callable
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.durable.rows import CANCELLED, MessageKey, Row, cancelled_key
from mmplatform.durable.runs import Runs
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.message import EndState, Outcome, parse_id
from mmplatform.storage.contract import Storage

PREFIX: Final = b"fate/"
FATES_KEPT: Final = 10_000  # the oldest fates beyond this many are forgotten at the next start


class Fate(Struct, array_like=True):
    """The value of one row: the state and the reason of an :class:`~mmplatform.Outcome`."""

    state: EndState
    reason: str


_fates = Decoder(Fate, 4096)


class Marks:
    """Messages that were taken back, found by the stream they are in."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, int, int], set[int]] = {}  # peer, lane, epoch -> numbers

    def __bool__(self) -> bool:
        return bool(self._streams)

    def __contains__(self, message: MessageKey) -> bool:
        return message[3] in self._streams.get(message[:3], ())

    def add(self, message: MessageKey) -> None:
        """Add one message."""
        self._streams.setdefault(message[:3], set()).add(message[3])

    def discard(self, message: MessageKey) -> None:
        """Take one message out, if it is here."""
        numbers = self._streams.get(message[:3])
        if numbers is not None:
            numbers.discard(message[3])
            if not numbers:
                del self._streams[message[:3]]

    def between(self, peer: str, lane: int, epoch: int, first: int, last: int) -> list[int]:
        """Return the numbers from ``first`` to ``last``; looks at those, or at all of the stream if these are fewer."""
        numbers = self._streams.get((peer, lane, epoch), set())
        if last - first < len(numbers):
            return [seq for seq in range(first, last + 1) if seq in numbers]
        return [seq for seq in numbers if first <= seq <= last]


class Fates:
    """The saved outcomes of messages that were not delivered.

    ``cancelled``: messages that were taken back while a row still holds them; for reading only.
    """

    def __init__(self, storage: Storage, unsynced: UnsyncedRows, runs: Runs) -> None:
        self.cancelled = Marks()
        self._storage, self._unsynced, self._runs = storage, unsynced, runs

    async def restore(self, keeps: Callable[[MessageKey], bool]) -> None:
        """Load the marks of cancelled messages that ``keeps`` finds in a row; delete other marks and old fates."""
        for key in await self._storage.keys(CANCELLED):
            try:
                message = parse_id(key[len(CANCELLED) :].decode())
            except ValueError:
                self._unsynced.delete(key)
                continue
            if keeps(message):
                self.cancelled.add(message)
            else:
                self._unsynced.delete(key)
        keys = await self._storage.keys(PREFIX)
        if len(keys) > FATES_KEPT:
            for key in sorted(keys, key=self._age)[: len(keys) - FATES_KEPT]:
                self._unsynced.delete(key)

    def note(self, delivery_id: str, outcome: Outcome) -> None:
        """Remember how a message ended; nothing is kept of a delivered one."""
        if outcome.state != "delivered":
            self._unsynced.put((PREFIX + delivery_id.encode(), encode(Fate(outcome.state, outcome.reason))))

    async def outcome(self, delivery_id: str) -> Outcome | None:
        """Return how a message ended; None when it has not, was delivered, or ended long ago."""
        value = await self._storage.get(PREFIX + delivery_id.encode())
        if value is None:
            return None
        fate = _fates.decode(value)
        return Outcome(fate.state, fate.reason)

    async def save_mark(self, message: MessageKey) -> None:
        """Save that a message is taken back, before anybody is told so."""
        await self._storage.put(cancelled_key(message), b"")

    def drop_mark(self, message: MessageKey) -> None:
        """Forget that a message was taken back: its row is gone, or it went out all the same."""
        self.cancelled.discard(message)
        self._unsynced.delete(cancelled_key(message))

    def drop_marks(self, peer: str, lane: int, row: Row) -> None:
        """Forget the marks of cancelled messages in ``row``, which is being deleted."""
        epoch = self._runs.epochs[row.run]
        for seq in self.cancelled.between(peer, lane, epoch, row.first, row.last):
            self.drop_mark((peer, lane, epoch, seq))

    def _age(self, key: bytes) -> tuple[int, int]:
        """Sort fates by the number of their run, then of their message: epochs are random and say nothing of age."""
        try:
            _, _, epoch, seq = parse_id(key[len(PREFIX) :].decode())
        except ValueError:
            return 0, 0
        return self._runs.numbers.get(epoch, 0), seq
