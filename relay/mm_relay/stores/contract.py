"""The contract of mail stores: boxes of envelopes with quotas, and notes of how they ended.

- A box belongs to a key: a peer's signId, or the key of another relay for mail that is on its way there.
- ``put`` resolves once the envelope survives the death of the process (SQLite: and of the machine); all puts of one
  loop turn share one commit. The same (origin, sender, target, id) put again keeps the first and resolves with it.
- Quotas count what is kept, per box, per (origin, sender) and per origin, exactly, also between processes that share
  one store. ``origin`` (only the key in it: a relay may give itself any host) belongs in both names: a relay can
  claim any sender, and must not use up the quota or take the name of a peer that signs in here.
- Within a box each sender has a share, and each address from which senders come (``place``). When a box is full and its
  largest sender has more in it than the sender of one more envelope would have, the newest of the largest sender gives
  way, in one step with the ``put`` (``Caps.gives_way``).
- Above half of what the relay keeps, mail for recipients who were not here lately is declined (``Caps.here_since``).
- An envelope leaves the store in one step with the note of how it ended: kept or noted, never both, never neither.
- A note stays until :meth:`forget_notes`, for NOTES_KEPT, or until its box has MOST_NOTES newer ones.
- Numbers grow within a box and are never used again. Mail is handed out in their order. A store that may have lost some
  of what it kept (an older copy of it was put back) has another ``epoch`` from then on: who reads on above a number
  begins anew.
- A call that returns a future gives its result and its errors by the future. A call that failed changed nothing; when
  Redis went away in the middle this is not known, and the call may be made again.
- A damaged row is set aside and reported to the store's ``failed``; no other row is lost with it.
- After ``close`` everything but ``open`` raises :class:`~mmplatform.StorageError`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from mm_transports.relay.protocol.address import relay_key
from mmplatform.errors import LocalError, StorageError

NOTES_KEPT: Final = 15 * 24 * 3600 * 1000  # milliseconds: the longest an envelope is kept, and a day
MOST_HERE: Final = 131_072  # keys that were here lately; the one that was here longest ago is forgotten
MOST_HERE_A_PLACE: Final = 1024  # of those, keys of one address: keys cost nothing
HERE_AGAIN: Final = 3600 * 1000  # milliseconds for which it need not be noted again that a key is here
MAX_MAIL_ID: Final = 320  # bytes: doors name mail as their clients do
MOST_GIVE_WAY: Final = 64  # envelopes that give way for one
MOST_NOTES: Final = 65_536  # notes of one box; a peer that never comes for them must not fill the disk


class StoredEnvelope(NamedTuple):
    """One envelope.

    ``origin`` is the address of the relay it came through, empty when its sender signed in here; ``via`` the address of
    the relay it is to go to, empty in the box of its recipient; ``place`` stands for the address its sender had.
    """

    number: int
    sender: bytes
    target: bytes
    id: bytes
    expires: int  # Unix milliseconds
    envelope: bytes
    origin: str = ""
    via: str = ""
    place: bytes = b""


class Note(NamedTuple):
    """How one envelope ended; its box is the sender's key, or that of the relay it came through."""

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
    origin_bytes: int = 0  # of all mail that came through one relay, whatever senders it names
    origin_count: int = 0
    share_bytes: int = 0  # of one sender in one box
    share_count: int = 0
    place_bytes: int = 0  # of all senders at one address
    place_count: int = 0
    place_share_bytes: int = 0  # of those in one box
    place_share_count: int = 0
    here_since: int = 0  # Unix milliseconds since when the key of the box must have been here; 0: it need not
    gives_way: bool = False  # whether the largest sender of a full box gives way


class Usage(NamedTuple):
    """How much a store keeps."""

    envelopes: int
    size: int  # bytes of the envelopes
    boxes: int  # boxes with envelopes in them
    notes: int


def note_box(sender: bytes, origin: str) -> bytes:
    """Return the box of the note of an envelope: of its sender, or of the relay it came through."""
    return relay_key(origin) or sender


class OverQuota(LocalError):
    """The envelope is not kept.

    ``reason`` is ``overflow`` (of the box), ``quota`` (of the sender, its address or the relay it came through), or
    ``storage`` (much is kept, and the recipient was not here lately).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no room: {reason}")
        self.reason = reason


class StoreUnsafe(StorageError):
    """The store takes mail and is set up so that it would lose it."""


def ignored(notes: list[Note]) -> None:
    """Do nothing with notes."""


class MailStore(ABC):
    """A store of mail; ``async with`` opens and closes it."""

    @property
    @abstractmethod
    def epoch(self) -> str:
        """Names one history of the store; as of the last call of it that succeeded."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def check(self) -> None:
        """Write something, as an envelope would be. Raises StorageError that says why no mail can be kept."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def put(
        self, box: bytes, mail: StoredEnvelope, caps: Caps, gave_way: Callable[[list[Note]], None] = ignored
    ) -> asyncio.Future[StoredEnvelope]:
        """Keep ``mail``, and return it with its number.

        When the same envelope is there already, that one is returned. ``gave_way`` is called with the notes, state
        "overflow", of those that gave way. Raises OverQuota when it is too much for ``caps``, StorageError when it
        cannot be kept.
        """

    @abstractmethod
    def here(self, key: bytes, place: bytes) -> None:
        """Take note that ``key`` is here now; when that cannot be saved, it is forgotten."""

    @abstractmethod
    async def collect(self, box: bytes, after: int, count: int, size: int) -> list[StoredEnvelope]:
        """Return the next envelopes of a box above ``after``: at most ``count``, and at most ``size`` bytes or one."""

    @abstractmethod
    def end(self, box: bytes, numbers: Sequence[int], state: str) -> asyncio.Future[list[Note]]:
        """Remove envelopes; return the notes that took their place (none for those not there).

        With state "" they leave no note: they are kept elsewhere now.
        """

    @abstractmethod
    async def expire(self, now: int, count: int) -> list[Note]:
        """End at most ``count`` envelopes that expire by ``now`` (Unix milliseconds), and drop notes that are too old.

        Returns the new notes, with the state "expired".
        """

    @abstractmethod
    def add_note(self, note: Note) -> asyncio.Future[Note]:
        """Keep a note of another relay under a new number; the same (box, target, id) twice is kept once."""

    @abstractmethod
    async def notes(self, box: bytes, after: int, count: int) -> list[Note]:
        """Return at most ``count`` notes of a box with a number above ``after``, in order."""

    @abstractmethod
    def forget_notes(self, box: bytes, upto: int) -> asyncio.Future[None]: ...

    @abstractmethod
    async def boxes(self, after: bytes, count: int) -> list[tuple[bytes, str]]:
        """Return the boxes of other relays that have mail or notes, above ``after``, in order of their keys.

        Each comes with the address of its relay: ``via`` of the mail, ``origin`` of the notes.
        """

    @abstractmethod
    async def filled(self, box: bytes) -> tuple[int, int]:
        """Return how many envelopes are kept in a box, and their bytes, as the quota counts them."""

    @abstractmethod
    async def usage(self) -> Usage: ...

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
