"""Serves replies as they come: runs the async generators of handlers, and answers the pulls of those who asked.

A generator runs until a batch of its replies waits, and goes on when that was pulled. No pull waits for long: it is
answered with nothing, so that whoever has gone is noticed, and the generator closed.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Protocol

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, InvalidPayload, Refused
from mmplatform.message import MAX_PAYLOAD, Message, Scope
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.handlers import PASSES, gives_many
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.messaging.patterns import scope_of
from mmplatform.messaging.results import NOBODY, Finished, HoldCount, Result
from mmplatform.messaging.series import HEAD, KEEP, MOST, SIZE, Id, Pull, ReplyBatch, read_pull
from mmplatform.messaging.series_places import SeriesPlaces

EARLY: Final = 8  # pulls of one series that wait
ANSWERED: Final = 10.0  # seconds after which a pull is answered with nothing
LEASE: Final = 30.0  # seconds without a pull after which nobody reads on
LONGEST: Final = 3600.0  # seconds that a reader may take over what it has
CLOGGED: Final = 0.1  # seconds until a peer that did not read is looked at again
LOOK: Final = 5.0  # seconds between two looks at all series
GIVE_UP: Final = 1.0  # seconds that a generator has to end, at least, when the node stops
TOO_MANY: Final = "too-many-series: end others before"
OVERLOADED: Final = "overloaded: others have come, and nobody has pulled for longer"
UNKNOWN: Final = "unknown-series: it has ended, or the peer has started anew"
MOVED: Final = "you are something else to the recipient by now"
STOPPING: Final = "stopping: the peer ends"

_stops: Final = Decoder(tuple[Id], 16)


class Serving(Protocol):
    """What is needed of the API whose handlers are asked."""

    def on_message(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished
    ) -> Result | None: ...

    def encoded(self, payload: Any) -> bytes: ...

    def report(self, error: BaseException, topic: str) -> Exception: ...


class SeriesServer:
    """The handler of the protocol by which one API is asked for series."""

    def __init__(self, api: Serving) -> None:
        self._api = api
        self._open: dict[tuple[str, int], ServedSeries] = {}
        self._places: SeriesPlaces[ServedSeries] = SeriesPlaces()
        self._gates = {True: asyncio.Lock(), False: asyncio.Lock()}  # of strangers, and of others
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # of the open ones, and of those whose generators are being closed
        self._ending = False

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Close a series that its peer does not read on."""
        try:
            (number,) = _stops.decode(payload)
        except CodecError:
            return
        series = self._open.get((sender, number))
        if series is not None:
            series.close()

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Refuse what is durable."""
        return Result(None, Refused("bad-payload"))

    def on_request(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Begin a series, or give the next batch of one."""
        try:
            pull = read_pull(payload)
        except CodecError:
            return Result(None, Refused("bad-payload"))
        series = self._open.get((sender, pull.series))
        if pull.number == 1 and series is None:
            return self._asked(scope, topic, sender, pull, finished)
        if series is None or series.scope != scope:
            return Result(None, Refused(UNKNOWN))
        if pull.number == KEEP:
            series.keep()
            return encode(ReplyBatch(False, []))
        return series.pull(pull.number, finished)

    def listens(self, scope: Scope, topic: str) -> bool:
        """Say that nothing durable is taken."""
        return False

    def largest(self) -> int:
        """Allow a stranger no more for this than the API does."""
        return 0

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End the series of ``sender`` under any scope but ``scope``, which may be none."""
        for series in list(self._open.values()):
            if series.sender == sender and series.scope != scope:
                series.end(Refused(MOVED))

    async def end(self, grace: float) -> list[str]:
        """Close all generators; return the names of those that do not end within ``grace`` seconds, or GIVE_UP."""
        self._ending = True
        for series in list(self._open.values()):
            series.end(Refused(STOPPING))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(grace, GIVE_UP))
        return [task.get_name() for task in self._tasks if not task.done()]

    def begun(self, key: tuple[str, int], name: str, result: Result, finished: OnReply) -> bytes | Result | None:
        """Go on with what the handlers gave: all replies, the one there is, or a generator whose replies will come."""
        if result is NOBODY or result.error is not None:
            return result
        if gives_many(result.value):
            return self._serve(key, name, result.value, finished)
        try:
            return encode(ReplyBatch(True, [self._api.encoded(result.value)]))
        except InvalidPayload as error:
            return Result(None, error)

    def has(self, series: "ServedSeries") -> bool:
        """Whether the peer may still pull of ``series``."""
        return self._open.get(series.key) is series

    def forget(self, series: "ServedSeries") -> None:
        """Forget a series whose end was told, or that is closed; until its generator is, too, it has its place."""
        if self.has(series):
            del self._open[series.key]
            if series.task not in self._tasks:  # else it leaves when that is known to be done
                self._leave(series)

    async def turn(self, scope: Scope) -> None:
        """Wait for a turn of the loop in which no other series makes a batch: generators may yield without a pause."""
        async with self._gates[scope == "public"]:
            await asyncio.sleep(0)

    def _asked(self, scope: Scope, topic: str, sender: str, pull: Pull, finished: OnReply) -> bytes | Result | None:
        key, name = (sender, pull.series), f"{scope}.{topic}"
        refused = self._refused(key, scope, finished)
        if refused:
            return Result(None, Refused(refused))
        result = self._api.on_message(scope, topic, sender, pull.payload, AskedFor(self, key, name, finished))
        return None if result is None else self.begun(key, name, result, finished)

    def _serve(
        self, key: tuple[str, int], name: str, generator: AsyncGenerator[Any, Any], finished: OnReply
    ) -> bytes | Result | None:
        refused = self._refused(key, scope_of(name), finished)  # others may have begun meanwhile
        if refused:
            return Result(None, Refused(refused))
        if (loser := self._loser(key[0], scope_of(name), finished)) is not None:
            loser.end(Refused(OVERLOADED))
        series = ServedSeries(self, key, name, generator, self._api, finished.held)
        self._open[key] = series
        self._places.take(series)
        self._tasks.add(series.task)
        series.task.add_done_callback(partial(self._closed, series))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)
        return series.pull(1, finished)

    def _closed(self, series: "ServedSeries", task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self.has(series):  # else its last replies wait to be pulled
            self._leave(series)

    def _leave(self, series: "ServedSeries") -> None:
        self._places.leave(series)
        series.released()

    def _refused(self, key: tuple[str, int], scope: Scope, finished: OnReply) -> str:
        """Say why no series may begin; nothing when one may."""
        if self._ending:
            return STOPPING
        if key in self._open:
            return "bad-payload"
        if self._places.full(key[0], scope):
            return TOO_MANY
        crowded = self._places.needs_room(scope, finished.held.party)
        return TOO_MANY if crowded and self._loser(key[0], scope, finished) is None else ""

    def _loser(self, sender: str, scope: Scope, finished: OnReply) -> "ServedSeries | None":
        """Return the series that gives way to one more; None when none has to, or none does."""
        party = finished.held.party
        return self._places.loser(sender, party) if self._places.needs_room(scope, party) else None

    def _look(self) -> None:
        """Answer the pulls that have waited for long, and close what nobody pulls any more."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for series in list(self._open.values()):
            series.look(now)
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)


class AskedFor:
    """The end of the request that asks for a series, while handlers are at work; see :class:`Finished`."""

    __slots__ = ("_finished", "_key", "_name", "_server")

    durable = False
    bounded = True
    series = True

    def __init__(self, server: SeriesServer, key: tuple[str, int], name: str, finished: OnReply) -> None:
        self._server, self._key, self._name, self._finished = server, key, name, finished

    def __call__(self, result: Result) -> None:
        reply = self._server.begun(self._key, self._name, result, self._finished)
        if reply is not None:
            self._finished(reply)

    @property
    def wanted(self) -> bool:
        """Whether the peer still waits."""
        return self._finished.wanted

    def message(self) -> Message:
        """Make the message for one handler."""
        return self._finished.message()


class ServedSeries:
    """One generator that runs, and what it has yielded that nobody pulled yet."""

    def __init__(
        self,
        server: SeriesServer,
        key: tuple[str, int],
        name: str,
        generator: AsyncGenerator[Any, Any],
        api: Serving,
        held: HoldCount,
    ) -> None:
        self.key, self.sender = key, key[0]
        self.name = name
        self.scope: Scope = scope_of(name)
        self._server, self._api, self._held = server, api, held
        self.party = held.party
        held.hold(SIZE)  # what may wait
        self._replies: list[bytes] = []
        self._size = 0
        self._next = 1  # the number of the next batch
        self._pulls: dict[int, OnReply] = {}
        self._ended = False
        self._error: Exception | None = None  # what ends it, behind all replies
        self._room: asyncio.Future[None] | None = None
        self._armed = False
        self._loop = asyncio.get_running_loop()
        self.pulled = self._heard = self._since = self._loop.time()  # since when the next pull waits
        self.task = self._loop.create_task(self._run(generator), name=f"mm series {name}")

    def pull(self, number: int, finished: OnReply) -> bytes | Result | None:
        """Give batch ``number``, or call ``finished`` with it later."""
        if not self._next <= number < self._next + EARLY or number in self._pulls:
            return Result(None, Refused("bad-payload"))
        self.pulled = self._heard = self._loop.time()
        if number == self._next and (self._replies or self._ended) and not finished.clogged:
            return self._take()
        self._pulls[number] = finished
        if number == self._next:
            self._since = self._heard
        return None

    @property
    def open(self) -> bool:
        """Whether it goes on, or its last replies wait to be pulled."""
        return self._server.has(self)

    def keep(self) -> None:
        """Note that the peer is there, and reads on when it can."""
        self._heard = self._loop.time()

    def look(self, now: float) -> None:
        """Answer a pull that has waited for long; close the series when nobody pulls any more."""
        pull = self._pulls.get(self._next)
        if pull is not None and not pull.wanted:
            self.close()
        elif pull is not None and now - self._since >= ANSWERED:
            self._answer()
        elif pull is None and (now - self._heard >= LEASE or now - self.pulled >= LONGEST):
            self.close()

    def end(self, error: Exception) -> None:
        """Close the generator, and tell the peer why."""
        self._error = error
        self.close()
        for pull in self._pulls.values():
            pull(Result(None, error))
        self._pulls.clear()

    def close(self) -> None:
        """Close the generator: nobody reads on."""
        self._ended = True
        self._drop()
        self.task.cancel()
        self._server.forget(self)

    def released(self) -> None:
        """Hold nothing for it any more: its generator is closed."""
        self._held.free(SIZE)

    async def _run(self, generator: AsyncGenerator[Any, Any]) -> None:
        most = PUBLIC_SIZE if self.scope == "public" else MAX_PAYLOAD - HEAD  # with its batch it is one reply
        try:
            async with aclosing(generator):
                await self._server.turn(self.scope)
                async for value in generator:
                    if self._ended:  # its generator goes on although it was cancelled
                        return
                    data = self._api.encoded(value)
                    if len(data) > most:
                        raise InvalidPayload(f"{len(data)} bytes in one of many replies, {most} at most")
                    await self._add(data)
        except PASSES:
            raise
        except BaseException as error:
            if not (self._ended and isinstance(error, asyncio.CancelledError)):  # else it was closed
                reported = self._api.report(error, self.name)
                self._error = self._error or reported
        finally:
            self._ended = True
            self._arm()

    async def _add(self, data: bytes) -> None:
        if self._size + len(data) > SIZE or len(self._replies) >= MOST:
            self._turn()
            while self._replies:
                self._room = self._loop.create_future()
                await self._room
            await self._server.turn(self.scope)
        self._replies.append(data)
        self._size += len(data)
        if len(data) > SIZE:
            self._held.hold(len(data))
        self._arm()

    def _arm(self) -> None:
        """Answer a pull at the end of this turn of the loop, with all that was yielded in it."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False
        while (pull := self._pulls.get(self._next)) is not None and (self._replies or self._ended):
            if pull.clogged:
                self._armed = True
                self._loop.call_later(CLOGGED, self._turn)
                return
            self._answer()

    def _answer(self) -> None:
        self._since = self._loop.time()
        self._pulls.pop(self._next)(self._take())

    def _drop(self) -> list[bytes]:
        replies, size, self._replies, self._size = self._replies, self._size, [], 0
        if size > SIZE:  # it is one
            self._held.free(size)
        return replies

    def _take(self) -> bytes | Result:
        """Return the next batch, or the error that ends the series."""
        self._next += 1
        replies = self._drop()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._ended and self._error is None:
            self._server.forget(self)
        elif self._ended and not replies:
            self._server.forget(self)
            return Result(None, self._error)
        return encode(ReplyBatch(self._ended and self._error is None, replies))
