"""Remembers messages that ended in another way than delivered, and cancelled ones that a row still holds."""

from collections.abc import Callable
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.durable.rows import CANCELLED, MessageKey, Row, cancelled_key
from mmplatform.durable.runs import Runs
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.message import Outcome, parse_id
from mmplatform.storage.contract import Storage

PREFIX: Final = b"fate/"
FATES_KEPT: Final = 10_000  # the oldest fates beyond this many are forgotten at the next start


class Fate(Struct, array_like=True):
    """The value of one row: the state and the reason of an :class:`~mmplatform.message.Outcome`."""

    state: str
    reason: str


_fates = Decoder(Fate, 4096)


class Fates:
    """The saved outcomes of messages that were not delivered.

    ``cancelled``: messages that were taken back while a row still holds them; for reading only.
    """

    def __init__(self, storage: Storage, unsynced: UnsyncedRows, runs: Runs) -> None:
        self.cancelled: set[MessageKey] = set()
        self._storage, self._unsynced, self._runs = storage, unsynced, runs

    async def restore(self, keeps: Callable[[MessageKey], bool]) -> None:
        """Load the marks of cancelled messages that ``keeps`` finds in a row; delete other marks and old fates."""
        for key, _ in await self._storage.scan(CANCELLED):
            try:
                message = parse_id(key[len(CANCELLED) :].decode())
            except ValueError:
                self._unsynced.delete(key)
                continue
            if keeps(message):
                self.cancelled.add(message)
            else:
                self._unsynced.delete(key)
        keys = [key for key, _ in await self._storage.scan(PREFIX)]
        if len(keys) > FATES_KEPT:
            for key in sorted(keys, key=self._age)[: len(keys) - FATES_KEPT]:
                self._unsynced.delete(key)

    def note(self, delivery_id: str, outcome: Outcome) -> None:
        """Remember how a message ended; nothing is kept of a delivered one."""
        if outcome.state != "delivered":
            self._unsynced.put((PREFIX + delivery_id.encode(), encode(Fate(outcome.state, outcome.reason))))

    async def state(self, delivery_id: str) -> str | None:
        """Return the state in which a message ended; None when it has not, was delivered, or ended long ago."""
        fate = await self._storage.get(PREFIX + delivery_id.encode())
        return _fates.decode(fate).state if fate is not None else None

    async def save_mark(self, message: MessageKey) -> None:
        """Save that a message is taken back, before anybody is told so."""
        await self._storage.put(cancelled_key(message), b"")

    def drop_mark(self, message: MessageKey) -> None:
        """Forget that a message was taken back: its row is gone, or it went out all the same."""
        self.cancelled.discard(message)
        self._unsynced.delete(cancelled_key(message))

    def drop_marks(self, peer: str, lane: int, row: Row) -> None:
        """Forget the marks of cancelled messages in ``row``, which is being deleted."""
        place = (peer, lane, self._runs.epochs[row.run])
        for message in [m for m in self.cancelled if m[:3] == place and row.first <= m[3] <= row.last]:
            self.drop_mark(message)

    def _age(self, key: bytes) -> tuple[int, int]:
        """Sort fates by the number of their run, then of their message: epochs are random and say nothing of age."""
        try:
            _, _, epoch, seq = parse_id(key[len(PREFIX) :].decode())
        except ValueError:
            return 0, 0
        return self._runs.numbers.get(epoch, 0), seq
