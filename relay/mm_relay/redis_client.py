"""The home of the redis library: makes calls in order, one round trip for all of a loop turn, and listens to channels.

Each has a connection of its own. Calls are never repeated, as nobody knows what became of a call without an answer:
they fail with StorageError, and the next call connects again. :mod:`mm_relay.redis_servers` finds the server: scripts
name their keys as they go, and all of them begin with the hash tag of the relay.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from mm_relay.redis_servers import Connection, RedisServers
from mmplatform.errors import StorageError, StorageFull, StorageReadOnly

ANSWER_WITHIN: Final = 10.0  # seconds for one round trip
BATCH_BYTES: Final = 4 * 1024 * 1024  # bytes of calls in one round trip
MOST_WAITING: Final = 128 * 1024 * 1024  # bytes of calls that wait
RETRY_FIRST, RETRY_MOST = 0.05, 0.5  # seconds between attempts to listen again
PING_EVERY: Final = 0.3  # seconds between two questions of a listener, whether the server is there

Word = bytes | str | int
FAILURES: Final = (RedisError, OSError, TimeoutError, EOFError)
ELSEWHERE: Final = (ReadOnlyError, MovedError, AskError, ClusterDownError)  # the next call asks where the primary is


class RedisCall(NamedTuple):
    """One call that waits: its words, their bytes, the future of its answer, and whether a Redis must be fit for it."""

    words: Sequence[Word]
    size: int
    answer: asyncio.Future[Any]
    fit: bool


class RedisCalls:
    """Makes calls. ``scripts`` are Lua texts by name, loaded with each new connection.

    ``met(facts)`` is told, before the first call over each connection and after each ``look``, what Redis says of
    itself. While ``unfit`` is set, calls for which Redis must be fit fail with that.
    """

    def __init__(
        self,
        servers: RedisServers,
        scripts: Mapping[str, str],
        *,
        within: float = ANSWER_WITHIN,
        met: Callable[[Mapping[str, str]], None] = lambda facts: None,
    ) -> None:
        self._servers, self._scripts, self._within, self._met = servers, scripts, within, met
        servers.watch(self._moved)
        self.unfit: StorageError | None = None
        self._hashes: dict[str, bytes] = {}
        self._connection: Connection | None = None
        self._queue: deque[RedisCall] = deque()
        self._waiting = 0
        self._worker: asyncio.Task[None] | None = None
        self._elsewhere = False  # whether another server is the primary now
        self.opened = False

    def open(self) -> None:
        self.opened = True

    async def close(self) -> None:
        """Make the calls that are queued, then hang up."""
        self.opened = False
        while self._worker is not None:
            await asyncio.shield(self._worker)
        await self._hang_up()

    async def look(self) -> None:
        """Have ``met`` told again what Redis says of itself. Raises StorageError."""
        self._met(facts_in(await self.call("INFO")))

    def call(self, *words: Word, fit: bool = False) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        size = sum(len(word) for word in words if not isinstance(word, int))
        if not self.opened:
            answer.set_exception(StorageError("it is not open; open() it first, and use nothing after close()"))
        elif self._waiting + size > MOST_WAITING:
            answer.set_exception(StorageError(f"{self._servers.name} is too slow: {self._waiting} bytes wait for it"))
        else:
            self._queue.append(RedisCall(words, size, answer, fit))
            self._waiting += size
            if self._worker is None:
                self._worker = asyncio.create_task(self._work())
        return answer

    def script(self, name: str, *words: Word, fit: bool = False) -> asyncio.Future[Any]:
        """Call a script by its name; ``words`` are its ARGV, the prefix first. It is the one key that is named: with it
        a Redis Cluster knows who has all the others."""
        return self.call("EVALSHA", f"script:{name}", 1, words[0], *words, fit=fit)

    async def _work(self) -> None:
        """Make the calls that wait; begins a loop turn after the first call, and so finds all calls of that turn."""
        try:
            while self._queue:
                await self._round_trip(self._take())
        finally:
            self._worker = None

    def _take(self) -> list[RedisCall]:
        calls: list[RedisCall] = []
        size = 0
        while self._queue and (not calls or size + self._queue[0].size <= BATCH_BYTES):
            calls.append(self._queue.popleft())
            size += calls[-1].size
        self._waiting -= size
        return calls

    async def _round_trip(self, calls: list[RedisCall]) -> None:
        answered = 0
        try:
            async with asyncio.timeout(self._within):
                connection = await self._connected()
                calls = self._allowed(calls)
                commands = [self._resolved(call.words) for call in calls]
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                for call in calls:
                    await self._answer(connection, call)
                    answered += 1
        except FAILURES as error:
            for call in calls[answered:]:
                fail(call.answer, typed(error, self._servers))
            await self._hang_up()
        if self._elsewhere:
            await self._hang_up()
        if self.unfit is not None:
            await self._hang_up()  # the next call looks again

    def _allowed(self, calls: list[RedisCall]) -> list[RedisCall]:
        """Return the calls that this Redis is fit for; the others fail."""
        if self.unfit is None:
            return calls
        for call in calls:
            if call.fit:
                fail(call.answer, type(self.unfit)(*self.unfit.args))
        return [call for call in calls if not call.fit]

    async def _answer(self, connection: Connection, call: RedisCall) -> None:
        try:
            answer = await connection.read_response()
        except ResponseError as error:
            fail(call.answer, typed(error, self._servers))
            if isinstance(error, NoScriptError):
                self._hashes = {}  # somebody flushed the scripts
            self._elsewhere |= isinstance(error, ELSEWHERE)
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._servers.connection()
        if not connection.is_connected:
            self._hashes = {}
            await connection.connect()
            await connection.send_command("INFO")
            self._met(facts_in(await connection.read_response()))
        if not self._hashes:
            for name, text in self._scripts.items():
                await connection.send_command("SCRIPT", "LOAD", text)
                self._hashes[name] = await connection.read_response()
        return connection

    def _resolved(self, words: Sequence[Word]) -> Sequence[Word]:
        if words[0] != "EVALSHA":
            return words
        return "EVALSHA", self._hashes[str(words[1]).removeprefix("script:")], *words[2:]

    def _moved(self) -> None:
        self._elsewhere = self._connection is not None

    async def _hang_up(self) -> None:
        connection, self._connection, self._elsewhere = self._connection, None, False
        if connection is not None:
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)


class RedisListener:
    """Calls ``heard(channel, message)`` for what is published on ``channels``.

    ``up`` is called whenever the listener listens (again); what was published while it did not is lost. A connection
    over which nothing comes for ``silence`` seconds, not even the answer to a ping, is replaced.
    """

    def __init__(
        self,
        servers: RedisServers,
        channels: Sequence[str],
        heard: Callable[[str, bytes], None],
        up: Callable[[], None],
        *,
        silence: float = ANSWER_WITHIN,
    ) -> None:
        self._servers, self._channels, self._heard, self._up, self._silence = servers, channels, heard, up, silence
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._leaving: asyncio.Task[None] | None = None
        self.answers = 0  # how much has come; as long as the server is there it grows once in PING_EVERY
        servers.watch(self._moved)

    def open(self) -> None:
        self._task = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _listen_for_ever(self) -> None:
        pause = RETRY_FIRST
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    connection = await self._subscribed()
                pause = RETRY_FIRST
                self._up()
                await self._listen(connection)
            except FAILURES:
                pass
            finally:
                await self._hang_up()
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST)

    async def _subscribed(self) -> Connection:
        connection = await self._servers.connection()
        self._connection = connection
        await connection.connect()
        await connection.send_command("SUBSCRIBE", *self._channels)
        for _ in self._channels:
            await connection.read_response()
        return connection

    def _moved(self) -> None:
        """Leave a server that is the primary no more: the others do not see there who listens."""
        if self._connection is not None:
            self._leaving = asyncio.create_task(self._hang_up())

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    async def _listen(self, connection: Connection) -> None:
        """Read until the connection fails. Another task sends the pings, as a read that is given up cannot go on."""
        loop = asyncio.get_running_loop()
        pings = asyncio.create_task(self._ping(connection))
        try:
            async with asyncio.timeout(self._silence) as patience:
                while True:
                    answer = await connection.read_response()
                    self.answers += 1
                    patience.reschedule(loop.time() + self._silence)
                    if answer[0] == b"message":
                        self._heard(answer[1].decode(), answer[2])
        finally:
            pings.cancel()

    async def _ping(self, connection: Connection) -> None:
        with suppress(*FAILURES):
            while True:
                await asyncio.sleep(min(PING_EVERY, self._silence / 3))
                await connection.send_command("PING", check_health=False)


def facts_in(info: bytes) -> dict[str, str]:
    """Return what INFO says, by name."""
    return dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)


def typed(error: BaseException, servers: RedisServers) -> StorageError:
    """Return the error of our tree: what went wrong, where, and what to do about it."""
    if isinstance(error, MasterNotFoundError):
        return StorageError(
            f"{servers.name}: no sentinel knows a primary; see that they run, the name of the service, and their"
            " password (?sentinel-password=)"
        )
    text = f"{servers.name}: {servers.hide(str(error)) or type(error).__name__}"
    if isinstance(error, AuthenticationError) or str(error).startswith(("WRONGPASS", "NOAUTH")):
        return StorageError(f"{text}; see user and password in the URL of the store")
    if isinstance(error, ClusterDownError | MovedError | AskError):
        return StorageError(f"{text}; the next call asks the cluster anew")
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
        return StorageFull(f"{text}; give it more memory (maxmemory), later calls then work again")
    if "MISCONF" in str(error):
        return StorageFull(f"{text}; redis cannot write its disk: free some space there")
    if isinstance(error, ReadOnlyError):
        return StorageReadOnly(f"{text}; this is a replica, give the address of the primary, or use Sentinel")
    if isinstance(error, ResponseError):
        return StorageError(f"{text}; check the version and the log of redis (7.0 or newer, or Valkey)")
    return StorageError(f"{text}; start it or check the address, later calls connect again")


def fail(answer: asyncio.Future[Any], error: StorageError) -> None:
    """Give ``answer`` the error, unless its caller has given up."""
    if not answer.done():
        answer.set_exception(error)
