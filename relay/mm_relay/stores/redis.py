"""Keeps mail in Redis or Valkey, shared by the processes of a cluster: one stream a box, every step one script.

The envelopes put in one loop turn take one round trip, and with ``appendfsync always`` one fsync. Redis must keep an
append-only file, or a restart would lose acknowledged mail: ``open`` insists on it, and nothing more is kept while a
Redis that came back has none. With ``appendfsync everysec`` (Redis' default) a machine that loses power may lose the
last second; the death of processes loses nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from mm_relay.redis_client import RedisCalls, Word
from mm_relay.redis_servers import RedisServers
from mm_relay.stores.contract import (
    HERE_AGAIN,
    MAX_MAIL_ID,
    MOST_HERE,
    MOST_HERE_A_PLACE,
    MOST_NOTES,
    NOTES_KEPT,
    Caps,
    MailStore,
    Note,
    OverQuota,
    StoredEnvelope,
    StoreUnsafe,
    Usage,
    ignored,
    note_box,
)
from mm_relay.stores.redis_scripts import SCRIPTS
from mmplatform.errors import StorageCorrupt, StorageError, StorageReadOnly

AT_ONCE: Final = 256  # envelopes or notes that one script removes, as Redis serves nobody else meanwhile

T = TypeVar("T")


class RedisStore(MailStore):
    """A store in Redis. ``failed`` is told of damaged entries that were set aside; ``now`` gives Unix seconds."""

    def __init__(
        self,
        url: str,
        prefix: str = "mm-relay",
        *,
        now: Callable[[], float] = time.time,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._prefix, self._now, self._failed = prefix, now, failed
        self._calls = RedisCalls(RedisServers(url, prefix), SCRIPTS, met=self._met)
        self._run = self._numbers = self._asked = ""
        self._last = 0  # the last number that was seen

    @property
    def epoch(self) -> str:
        """Another one after each start of a Redis: it may have come back with an older state."""
        return f"{self._numbers} {self._run}"

    async def open(self) -> None:
        """Connect. Raises StoreUnsafe for settings that lose mail; a replica may yet become the primary."""
        if self._calls.opened:
            return
        self._calls.open()
        try:
            await self._calls.call("PING")
            if isinstance(self._calls.unfit, StoreUnsafe):
                raise self._calls.unfit
            await self._look_at_epoch()
        except StorageReadOnly:
            pass
        except BaseException:
            await self._calls.close()
            raise

    async def check(self) -> None:
        await self._calls.look()
        if self._calls.unfit is not None:
            raise self._calls.unfit
        if self._run != self._asked:
            await self._look_at_sync()
        await self._script("try", self._time())

    async def _look_at_sync(self) -> None:
        """Tell, once for each start of Redis, when a power cut may lose what was told Stored."""
        self._asked = self._run
        with suppress(StorageError):  # who may not ask is not told
            [_, said] = await self._calls.call("CONFIG", "GET", "appendfsync")
            if said != b"always":
                self._failed(
                    StorageError(
                        f"redis has `appendfsync {said.decode()}`: a power cut may lose the last second of mail "
                        "that was told to be stored; `appendfsync always` loses none"
                    )
                )

    async def close(self) -> None:
        await self._calls.close()

    def put(
        self, box: bytes, mail: StoredEnvelope, caps: Caps, gave_way: Callable[[list[Note]], None] = ignored
    ) -> asyncio.Future[StoredEnvelope]:
        into = note_box(mail.sender, mail.origin)
        words = mail.sender, mail.target, mail.id, mail.expires, mail.envelope, mail.origin, mail.via, into, mail.place
        limits = [int(cap) for cap in caps]
        answer = self._script("put", box, *words, self._time(), MOST_NOTES, *limits, fit=True)
        return then(answer, partial(as_kept, mail, gave_way))

    def here(self, key: bytes, place: bytes) -> None:
        try:
            noted = self._script("here", key, place, self._time(), HERE_AGAIN, MOST_HERE, MOST_HERE_A_PLACE)
        except StorageError:
            return
        noted.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def collect(self, box: bytes, after: int, count: int, size: int) -> list[StoredEnvelope]:
        found = []
        for entry in await self._script("collect", box, after + 1, count, size):
            try:
                found.append(read_kept(entry))
            except (KeyError, ValueError) as error:
                await self._set_aside(box, number_of(entry), error)
        return found

    def end(self, box: bytes, numbers: Sequence[int], state: str) -> asyncio.Future[list[Note]]:
        answers = [
            self._script("end", box, state, self._time(), MOST_NOTES, *numbers[first : first + AT_ONCE])
            for first in range(0, max(1, len(numbers)), AT_ONCE)
        ]
        return then(asyncio.gather(*answers), lambda parts: [as_note(words) for part in parts for words in part])

    async def expire(self, now: int, count: int) -> list[Note]:
        notes: list[Note] = []
        while count > 0:
            some = min(count, AT_ONCE)
            ended, found = await self._script("expire", now, now - NOTES_KEPT, some, self._time(), MOST_NOTES)
            notes += [as_note(words) for words in found]
            if ended < some:
                break
            count -= some
        return notes

    def add_note(self, note: Note) -> asyncio.Future[Note]:
        answer = self._script(
            "note", note.box, note.sender, note.target, note.id, note.state, note.origin, self._time(), MOST_NOTES,
            fit=True,
        )  # fmt: skip
        return then(answer, lambda number: note._replace(number=int(number)))

    async def notes(self, box: bytes, after: int, count: int) -> list[Note]:
        stream = self._prefix.encode() + b":notes:" + box
        found = await self._calls.call("XRANGE", stream, f"{after + 1}-0", "+", "COUNT", count)
        return [read_note(box, entry) for entry in found]

    def forget_notes(self, box: bytes, upto: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._forget(box, upto))

    async def boxes(self, after: bytes, count: int) -> list[tuple[bytes, str]]:
        return [(box, address.decode()) for box, address in await self._script("boxes", after, count)]

    async def filled(self, box: bytes) -> tuple[int, int]:
        prefix = self._prefix.encode()
        count = self._calls.call("XLEN", prefix + b":mail:" + box)
        size = self._calls.call("HGET", prefix + b":box:bytes", box)
        return await count, int(await size or 0)

    async def usage(self) -> Usage:
        await self._look_at_epoch()
        return Usage(*await self._script("usage"))

    async def _look_at_epoch(self) -> None:
        epoch, last = await self._script("epoch", self._last, secrets.token_hex(8))
        self._numbers, self._last = epoch.decode(), max(self._last, int(last))

    def _met(self, facts: Mapping[str, str]) -> None:
        self._run, self._calls.unfit = facts.get("run_id", ""), unfit(facts)

    async def _forget(self, box: bytes, upto: int) -> None:
        while await self._script("forget", box, upto, AT_ONCE) == AT_ONCE:
            pass

    async def _set_aside(self, box: bytes, number: int, error: Exception) -> None:
        """Set a damaged envelope aside; its sender, if still readable, is told ``refused`` and sends again."""
        await self._script("aside", box, number, self._time(), MOST_NOTES)
        self._failed(StorageCorrupt(f"envelope {number} in redis is damaged: {error!r}; put aside in :quarantine"))

    def _script(self, name: str, *words: Word, fit: bool = False) -> asyncio.Future[Any]:
        return self._calls.script(name, self._prefix, *words, fit=fit)

    def _time(self) -> int:
        return int(self._now() * 1000)


def unfit(facts: Mapping[str, str]) -> StorageError | None:
    """Return why a Redis that says this of itself must not be given mail to keep, None when it may."""
    if facts.get("role", "master") != "master":
        return StorageReadOnly("redis is a read-only replica: give the address of the primary, or make this one it")
    if facts.get("aof_enabled") != "1":
        return StoreUnsafe(
            "redis keeps no append-only file and would lose mail: set `appendonly yes` in its configuration"
        )
    if facts.get("maxmemory_policy", "").startswith("allkeys"):
        return StoreUnsafe("redis throws keys away when its memory is full: set `maxmemory-policy noeviction`")
    return None


def then(answer: "asyncio.Future[Any]", change: Callable[[Any], T]) -> asyncio.Future[T]:
    """Return a future of what ``change`` makes of the answer; cancelling it does not take the call back."""
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def settle(answer: "asyncio.Future[Any]") -> None:
        error = answer.exception()
        if result.done():
            return
        try:
            if error is not None:
                raise error
            result.set_result(change(answer.result()))
        except Exception as failure:
            result.set_exception(failure.with_traceback(None))  # whose frames hold the future

    answer.add_done_callback(settle)
    return result


def as_kept(
    mail: StoredEnvelope, gave_way: Callable[[list[Note]], None], answer: bytes | tuple[bytes, bytes, list[list[bytes]]]
) -> StoredEnvelope:
    """Return ``mail`` with the number and expiry that the script gave; tell of what gave way. Raises OverQuota."""
    if isinstance(answer, bytes):
        raise OverQuota(answer.decode())
    number, expires, gone = answer
    if gone:
        gave_way([as_note(words) for words in gone])
    return mail._replace(number=int(number), expires=int(float(expires)))


def as_note(words: list[bytes]) -> Note:
    """Return the note that a script gave."""
    number, box, sender, target, id_, state, origin = words
    return Note(int(number), box, sender, target, id_, state.decode(), origin.decode())


def read_kept(entry: tuple[bytes, list[bytes]]) -> StoredEnvelope:
    """Return the envelope in an entry of a stream. Raises KeyError or ValueError for a damaged entry."""
    found = fields(entry)
    names = (found[b"s"], found[b"t"], found[b"i"])
    if [len(name) for name in names[:2]] != [32, 32] or not 0 < len(names[2]) <= MAX_MAIL_ID:
        raise ValueError("a key or an id of the wrong length")
    expires, origin, via = int(found[b"x"]), found[b"o"].decode(), found[b"v"].decode()
    return StoredEnvelope(number_of(entry), *names, expires, found[b"e"], origin, via)


def read_note(box: bytes, entry: tuple[bytes, list[bytes]]) -> Note:
    """Return the note in an entry of a stream."""
    found = fields(entry)
    state, origin = found[b"a"].decode(), found[b"o"].decode()
    return Note(number_of(entry), box, found[b"s"], found[b"t"], found[b"i"], state, origin)


def fields(entry: tuple[bytes, list[bytes]]) -> dict[bytes, bytes]:
    """Return the fields of an entry of a stream, by name."""
    return dict(zip(entry[1][::2], entry[1][1::2], strict=False))


def number_of(entry: tuple[bytes, list[bytes]]) -> int:
    """Return the number of an entry: the first part of its id."""
    return int(entry[0].partition(b"-")[0])
