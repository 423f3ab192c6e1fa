"""The contract of mail stores: boxes of envelopes with quotas, and notes of how they ended.

- A box belongs to a key: a peer's signId, or the key of another relay for what is on its way there.
- ``put`` resolves once the envelope survives the death of the process (SQLite: and of the machine); everything put in
  one loop turn shares one commit. The same (origin, sender, target, id) put again keeps the first and resolves with it.
- Quotas count what is kept, per box, per (origin, sender) and per origin, exactly, also between processes that share
  one store. ``origin`` (that is, the key in it: a relay may give itself any host) belongs in both names: a relay can
  claim any sender, and must not use up the quota or take the name of somebody who signs in here.
- An envelope leaves the store in one step with the note of how it ended: kept or noted, never both, never neither.
- A note stays until :meth:`forget_notes`, for NOTES_KEPT, or until its box has MOST_NOTES newer ones.
- Numbers grow within a box and are never used again. Mail is handed out in their order.
- What a call that returns a future has to say, errors too, comes with the future. One that failed changed nothing; when
  it is Redis that went away in the middle, this is not known, and the call may be made again.
- What is damaged is set aside and told to the store's ``failed``; it costs nothing but itself.
- After ``close`` everything but ``open`` raises :class:`~mmplatform.errors.StorageError`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from mm_transports.relay.protocol.address import relay_key
from mmplatform.errors import LocalError

NOTES_KEPT: Final = 15 * 24 * 3600 * 1000  # milliseconds: the longest an envelope is kept, and a day
MOST_NOTES: Final = 65_536  # of one box; who never comes for them must not fill the disk


class StoredEnvelope(NamedTuple):
    """One envelope. ``origin`` is the address of the relay it came through, empty when its sender signed in here;
    ``via`` the address of the relay it is to go to, empty in the box of its recipient."""

    number: int
    sender: bytes
    target: bytes
    id: bytes
    expires: int  # Unix milliseconds
    envelope: bytes
    origin: str = ""
    via: str = ""


class Note(NamedTuple):
    """What became of one envelope; its box is the sender's key, or that of the relay it came through."""

    number: int
    box: bytes
    sender: bytes
    target: bytes
    id: bytes
    state: str
    origin: str = ""


class Caps(NamedTuple):
    """The most that may wait; 0 means no limit."""

    box_bytes: int = 0
    box_count: int = 0
    sender_bytes: int = 0
    sender_count: int = 0
    origin_bytes: int = 0  # of all that came through one relay, whoever it says the senders are
    origin_count: int = 0


class Usage(NamedTuple):
    """What is kept altogether."""

    envelopes: int
    size: int  # bytes of the envelopes
    boxes: int  # with envelopes in them
    notes: int


def note_box(sender: bytes, origin: str) -> bytes:
    """The box of the note of an envelope: of its sender, or of the relay it came through."""
    return relay_key(origin) or sender


class OverQuota(LocalError):
    """The envelope is not kept; ``reason`` is ``overflow`` (of the box) or ``quota`` (of the sender, or
    of the relay it came through)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no room: {reason}")
        self.reason = reason


class MailStore(ABC):
    """``async with`` opens and closes it."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def put(self, box: bytes, mail: StoredEnvelope, caps: Caps) -> asyncio.Future[StoredEnvelope]:
        """Keep ``mail`` (its number is given here, its expiry may be an earlier one's); OverQuota when it is too much,
        StorageError when it cannot be kept."""

    @abstractmethod
    async def collect(self, box: bytes, after: int, count: int, size: int) -> list[StoredEnvelope]:
        """The next of a box with a number above ``after``: at most ``count``, and ``size`` bytes but at least one."""

    @abstractmethod
    def end(self, box: bytes, numbers: Sequence[int], state: str) -> asyncio.Future[list[Note]]:
        """Remove these envelopes; the notes that took their place (none for those not there). With state "" they
        leave no note: they are kept elsewhere now."""

    @abstractmethod
    async def expire(self, now: int, count: int) -> list[Note]:
        """End at most ``count`` envelopes whose time is up (Unix milliseconds), as "expired", and drop notes that are
        too old; the new notes."""

    @abstractmethod
    def add_note(self, note: Note) -> asyncio.Future[Note]:
        """Keep a note that came from another relay, under a new number; the same (box, target, id) twice once."""

    @abstractmethod
    async def notes(self, box: bytes, after: int, count: int) -> list[Note]:
        """The notes of a box with a number above ``after``, in order."""

    @abstractmethod
    def forget_notes(self, box: bytes, upto: int) -> asyncio.Future[None]: ...

    @abstractmethod
    async def boxes(self, after: bytes, count: int) -> list[tuple[bytes, str]]:
        """Boxes of other relays with something in them, of mail or notes, and the address of that relay (``via`` of the
        mail, ``origin`` of the notes), in order of their keys."""

    @abstractmethod
    async def filled(self, box: bytes) -> tuple[int, int]:
        """How many envelopes are kept in a box, and their bytes, as the quota counts them."""

    @abstractmethod
    async def usage(self) -> Usage: ...

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
