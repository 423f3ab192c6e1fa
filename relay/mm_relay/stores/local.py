"""Keeps mail in the ordered storage of the core: a SQLite file for one relay process, or memory for tests.

:mod:`mm_relay.stores.rows` has the rows. All envelopes put in one loop turn share one commit (the storage sees to
that).
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from mm_relay.stores.contract import (
    MOST_NOTES,
    NOTES_KEPT,
    Caps,
    MailStore,
    Note,
    StoredEnvelope,
    Usage,
    ignored,
    note_box,
)  # fmt: skip
from mm_relay.stores.here import HereRows
from mm_relay.stores.index import Index, Mark, NoteMark
from mm_relay.stores.rows import KEPT, MAIL, NOTE, NUMBER, NUMBERS_RESERVED, TRIED, HereMark, Rows, row_key
from mmplatform.codec import encode
from mmplatform.errors import LocalError, StorageError, StorageFull
from mmplatform.storage.contract import Row, Storage

T = TypeVar("T")


class LocalStore(MailStore):
    """A store on a Storage. ``failed`` is told of damaged rows that were set aside; ``now`` gives Unix seconds."""

    def __init__(
        self,
        storage: Storage,
        *,
        now: Callable[[], float] = time.time,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._storage, self._now, self._rows = storage, now, Rows(storage, failed)
        self._index, self._here = Index(), HereRows(storage)
        self._saving: dict[int, asyncio.Future[None]] = {}  # envelopes and notes on their way to the disk
        self._last = self._reserved = 0
        self._epoch = ""
        self._full = False  # whether the disk was, and nothing tells that it is not: what is left of it is for removals
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def epoch(self) -> str:
        return self._epoch

    async def open(self) -> None:
        if self._loop is not None:
            return
        self._epoch = secrets.token_hex(8)
        await self._storage.open()
        self._index, self._saving, self._full = Index(), {}, False
        try:
            await self._rows.load(self._take_up, self._index.add_note, self._index.lately.note)
            used = max([0, *self._index.mail, *self._index.noted])
            self._last = self._reserved = max(self._last, used, await self._rows.number())
        except BaseException:
            await self._storage.close()
            raise
        self._loop = asyncio.get_running_loop()

    async def check(self) -> None:
        """Write something; envelopes are taken in again after a full disk has taken this."""
        self._opened()
        await self._storage.write([(TRIED, encode(self._time()))])
        self._full = False

    async def close(self) -> None:
        if self._loop is not None:
            self._here.write()
        self._loop = None
        await self._storage.close()
        await asyncio.gather(*self._saving.values(), return_exceptions=True)

    # Envelopes.

    def put(
        self, box: bytes, mail: StoredEnvelope, caps: Caps, gave_way: Callable[[list[Note]], None] = ignored
    ) -> asyncio.Future[StoredEnvelope]:
        result: asyncio.Future[StoredEnvelope] = asyncio.get_running_loop().create_future()
        known = self._index.known(mail.origin, mail.sender, mail.target, mail.id)
        if known:
            self._put_again(result, mail, known)
            return result
        mark = Mark(
            box, mail.sender, mail.target, mail.id, mail.expires, len(mail.envelope), mail.origin, mail.via, mail.place
        )
        try:
            self._opened()
            if self._full:
                raise StorageFull("the disk is full: free some space, mail is kept again some seconds later")
            yielding = self._index.check(mark, caps)
        except LocalError as error:
            result.set_exception(error.with_traceback(None))  # whose frames hold the envelope, and the future them
            return result
        gone = {number: gone for number in yielding if (gone := self._index.withdraw(box, number)) is not None}
        for number, one in gone.items():
            self._index.drop(number, one)
        removal, notes = self._rows_without(gone, "overflow")
        kept = mail._replace(number=self._next())
        self._index.reserve(kept.number, mark)
        rows = [
            *removal, (row_key(KEPT, box, kept.number), encode(mark)), (row_key(MAIL, box, kept.number), mail.envelope)
        ]  # fmt: skip

        def shown() -> StoredEnvelope:
            self._index.show(kept.number)
            if notes:
                gave_way(self._noted(notes))
            return kept

        self._write(result, rows, shown, partial(self._put_back, kept.number, mark, gone), number=kept.number)
        return result

    async def collect(self, box: bytes, after: int, count: int, size: int) -> list[StoredEnvelope]:
        self._opened()
        numbers = self._index.following(box, after, count, size)
        if not numbers:
            return []
        rows = dict(await self._storage.scan(MAIL + box, row_key(MAIL, box, numbers[0]), len(numbers)))
        found = []
        for number in numbers:
            key = row_key(MAIL, box, number)
            envelope = rows.get(key) if key in rows else await self._storage.get(key)
            mark = self._index.mail.get(number)
            if mark is None:
                continue  # ended meanwhile
            if envelope is None or len(envelope) != mark.size:
                await self._refuse(box, number, key, envelope)
                continue
            found.append(
                StoredEnvelope(number, mark.sender, mark.target, mark.id, mark.expires, envelope, mark.origin, mark.via)
            )
        return found

    def end(self, box: bytes, numbers: Sequence[int], state: str) -> asyncio.Future[list[Note]]:
        result: asyncio.Future[list[Note]] = asyncio.get_running_loop().create_future()
        if self._loop is None:
            result.set_exception(closed())
            return result
        marks = {number: mark for number in numbers if (mark := self._index.withdraw(box, number)) is not None}
        self._remove(result, marks, state)
        return result

    async def expire(self, now: int, count: int) -> list[Note]:
        self._opened()
        marks = {}
        for number in self._index.due(now, count):
            mark = self._index.withdraw(self._index.mail[number].box, number)
            if mark is not None:
                marks[number] = mark
        self._forget(self._index.old_notes(now - NOTES_KEPT, count))
        if not marks:
            return []
        result: asyncio.Future[list[Note]] = asyncio.get_running_loop().create_future()
        self._remove(result, marks, "expired")
        return await result

    def here(self, key: bytes, place: bytes) -> None:
        now = self._time()
        gone = self._index.lately.note(key, place, now) if self._loop is not None else None
        if gone is not None:
            self._here.note(key, HereMark(now, place), gone)

    # Notes.

    def add_note(self, note: Note) -> asyncio.Future[Note]:
        result: asyncio.Future[Note] = asyncio.get_running_loop().create_future()
        known = self._index.known_note(note.box, note.target, note.id)
        if self._loop is None:
            result.set_exception(closed())
        elif known:
            self._answer(result, self._saving.get(known), lambda: note._replace(number=known))
        else:
            number = self._next()
            mark = NoteMark(note.box, note.sender, note.target, note.id, note.state, note.origin, self._time())
            self._index.add_note(number, mark)
            self._write(
                result,
                [(row_key(NOTE, note.box, number), encode(mark))],
                lambda: self._trimmed(mark.box, note._replace(number=number)),
                lambda: self._index.drop_note(number),
                number=number,
            )
        return result

    async def notes(self, box: bytes, after: int, count: int) -> list[Note]:
        self._opened()
        numbers = self._index.notes(box, after, count)
        return [self._index.noted[number].note(number) for number in numbers if number not in self._saving]

    def forget_notes(self, box: bytes, upto: int) -> asyncio.Future[None]:
        result: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._loop is None:
            result.set_exception(closed())
            return result
        numbers = [number for number in self._index.notes(box, 0, MOST_NOTES) if number <= upto]
        rows: list[Row] = [(row_key(NOTE, box, number), None) for number in numbers]
        self._write(result, rows, lambda: self._dropped(numbers), lambda: None, sync=False)
        return result

    # All.

    async def boxes(self, after: bytes, count: int) -> list[tuple[bytes, str]]:
        self._opened()
        return self._index.relays(after, count)

    async def filled(self, box: bytes) -> tuple[int, int]:
        self._opened()
        return self._index.filled(box)

    async def usage(self) -> Usage:
        self._opened()
        return self._index.usage()

    # Writing: what the index says follows what the disk did.

    def _write(
        self,
        result: "asyncio.Future[T]",
        rows: Sequence[Row],
        done: Callable[[], T],
        undo: Callable[[], None],
        *,
        number: int = 0,
        sync: bool = True,
    ) -> None:
        if number > self._reserved:
            reserve = number + NUMBERS_RESERVED
            rows = [*rows, (NUMBER, encode(reserve))]
        else:
            reserve = 0
        try:
            saved = self._storage.write(rows, sync=sync)
        except (LocalError, TypeError) as error:
            undo()
            result.set_exception(error.with_traceback(None))
            return
        if number:
            self._saving[number] = saved
        saved.add_done_callback(partial(self._settled, result, done, undo, number, reserve))

    def _settled(
        self,
        result: "asyncio.Future[Any]",
        done: Callable[[], Any],
        undo: Callable[[], None],
        number: int,
        reserve: int,
        saved: asyncio.Future[None],
    ) -> None:
        self._saving.pop(number, None)
        error = saved.exception()
        if error is not None:
            self._full |= isinstance(error, StorageFull)
            undo()
        else:
            self._reserved = max(self._reserved, reserve)
        answer = done() if error is None else None
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(answer)

    def _answer(self, result: "asyncio.Future[T]", saving: asyncio.Future[None] | None, done: Callable[[], T]) -> None:
        """Let ``result`` share the fate of what was put before under the same name."""
        if saving is None:
            result.set_result(done())
        else:
            saving.add_done_callback(partial(self._settled, result, done, lambda: None, 0, 0))

    def _put_again(self, result: asyncio.Future[StoredEnvelope], mail: StoredEnvelope, number: int) -> None:
        if self._loop is None:
            result.set_exception(closed())
        else:
            expires = self._index.mail[number].expires
            self._answer(result, self._saving.get(number), lambda: mail._replace(number=number, expires=expires))

    def _put_back(self, number: int, mark: Mark, gone: dict[int, Mark]) -> None:
        """Undo a put that the disk did not take."""
        self._index.drop(number, mark)
        for other, one in gone.items():
            self._index.reserve(other, one)
            self._index.show(other)

    def _remove(self, result: asyncio.Future[list[Note]], marks: dict[int, Mark], state: str) -> None:
        rows, notes = self._rows_without(marks, state)
        number = self._last if notes else 0
        self._write(
            result,
            rows,
            partial(self._removed, marks, notes),
            partial(self._restored, marks),
            number=number,
            sync=False,
        )

    def _rows_without(self, marks: dict[int, Mark], state: str) -> tuple[list[Row], dict[int, NoteMark]]:
        """Return the rows that remove envelopes and add their notes, and the notes by their numbers."""
        rows: list[Row] = []
        notes: dict[int, NoteMark] = {}
        for number, mark in marks.items():
            rows += [(row_key(KEPT, mark.box, number), None), (row_key(MAIL, mark.box, number), None)]
            if state:
                box = note_box(mark.sender, mark.origin)
                note = NoteMark(box, mark.sender, mark.target, mark.id, state, mark.origin, self._time())
                notes[self._next()] = note
                rows.append((row_key(NOTE, box, self._last), encode(note)))
        return rows, notes

    def _removed(self, marks: dict[int, Mark], notes: dict[int, NoteMark]) -> list[Note]:
        for number, mark in marks.items():
            self._index.drop(number, mark)
        return self._noted(notes)

    def _noted(self, notes: dict[int, NoteMark]) -> list[Note]:
        for number, note in notes.items():
            self._index.add_note(number, note)
        for box in {note.box for note in notes.values()}:
            self._trimmed(box, None)
        return [note.note(number) for number, note in notes.items()]

    def _restored(self, marks: dict[int, Mark]) -> None:
        for number, mark in marks.items():
            self._index.restore(number, mark)

    def _trimmed(self, box: bytes, answer: T) -> T:
        self._forget(self._index.surplus_notes(box, MOST_NOTES))
        return answer

    def _dropped(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._index.drop_note(number)

    def _forget(self, numbers: Sequence[int]) -> None:
        """Drop notes that nobody came for; when the disk does not take that, they are back after a restart."""
        if numbers and self._loop is not None:
            boxes = {number: self._index.noted[number].box for number in numbers}
            self._dropped(numbers)
            saved = self._storage.write(
                [(row_key(NOTE, box, number), None) for number, box in boxes.items()], sync=False
            )
            saved.add_done_callback(lambda saved: saved.exception())

    # Numbers and time.

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _time(self) -> int:
        return int(self._now() * 1000)

    def _opened(self) -> None:
        if self._loop is None:
            raise closed()

    def _take_up(self, number: int, mark: Mark) -> None:
        self._index.reserve(number, mark)
        self._index.show(number)

    async def _refuse(self, box: bytes, number: int, key: bytes, envelope: bytes | None) -> None:
        """Set a damaged envelope aside; its sender is told, and sends again what nobody acknowledged."""
        await self._rows.set_aside_mail(key, envelope)
        await self.end(box, [number], "refused")


def closed() -> StorageError:
    """Return the error of a store that is not open."""
    return StorageError("the mail store is not open; open() it first, and use nothing after close()")
