"""Replies as they come, a *series*: the two messages it is made of, and the side that asks.

A series goes over requests, which survive cuts and come once. The first asks a handler; each later one *pulls* the next
batch of what its async generator has yielded since, so that a slow asker is never overrun. Two pulls are outstanding
while the asker reads: no round trip is waited for between batches. docs/protocol/series.rst fixes the bytes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Annotated, Any, Final

from mmplatform.codec import Decoder, Meta, Struct, encode, holds_more
from mmplatform.errors import CodecError, MMError, NoResponders, Refused, RequestFailed, RequestTimeout
from mmplatform.message import MAX_PAYLOAD
from mmplatform.messaging.handlers import gives_many
from mmplatform.text import escaped

HEAD: Final = 32  # bytes of a pull or a batch beside its only payload, at most
MOST: Final = 1024  # replies in a batch
SIZE: Final = 64 * 1024  # bytes of them, unless one alone has more
PAUSE: Final = 0.1  # seconds behind a batch with nothing in it: one comes every 10 s, or of somebody who means no good
AHEAD: Final = 2  # pulls outstanding while the asker reads
KEEP: Final = 0  # the number of a pull that says no more than that the asker is there
KEPT: Final = 10.0  # seconds between two of them
PULL_TIMEOUT: Final = 30.0  # seconds for which a pull waits at least: the other side answers sooner, unless it stands

Ask = Callable[[bytes, float, float], Awaitable[bytes]]
"""Sends a request with a time-out and the patience for a peer that is not reached, and gives its reply."""
Stop = Callable[[bytes], Awaitable[object]]  # tells the other side that nobody reads on

_END: Final = object()

Id = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Pull(Struct, array_like=True, forbid_unknown_fields=True):
    """Asks for batch ``number`` of a series, the first one with what the handler is asked; KEEP asks for nothing."""

    series: Id
    number: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    payload: bytes


class ReplyBatch(Struct, array_like=True, forbid_unknown_fields=True):
    """Some replies, and whether they are the last."""

    ended: bool
    replies: Annotated[list[bytes], Meta(max_length=MOST)]


_pulls: Final = Decoder(Pull, MAX_PAYLOAD)
_batches: Final = Decoder(ReplyBatch, MAX_PAYLOAD)


def read_pull(data: bytes) -> Pull:
    """Decode a pull. Raises CodecError."""
    return _pulls.decode(data)


def read_batch(data: bytes) -> ReplyBatch:
    """Decode a batch. Raises CodecError."""
    if holds_more(data, MOST + 3):
        raise CodecError(f"more than {MOST} replies in a batch")
    batch = _batches.decode(data)
    if len(batch.replies) > 1 and sum(map(len, batch.replies)) > SIZE:
        raise CodecError(f"more than {SIZE} bytes in a batch of several replies")
    return batch


class Series:
    """The replies to one request, in bytes; to be opened, and read once.

    Args:
        series: a name that its sender has not used yet.
        ask: sends a request.
        stop: tells the other side that nobody reads on.
        timeout: seconds to wait for a reply.

    """

    def __init__(self, series: int, ask: Ask, stop: Stop, timeout: float) -> None:
        self._series, self._ask, self._stop, self._timeout = series, ask, stop, timeout
        self._number = 1  # of the latest pull
        self._pulls: deque[asyncio.Future[bytes]] = deque()
        self._kept: asyncio.Future[bytes] | None = None
        self._first = ReplyBatch(False, [])
        self._over = False  # the other side has ended it, or knows nothing of it

    async def open(self, payload: bytes) -> None:
        """Ask, and wait for the first answer. Raises what a request raises."""
        self._first = await self._read(self._pull(1, payload, self._timeout))

    async def replies(self, decode: Callable[[bytes], Any]) -> AsyncGenerator[Any, None]:
        """Give the replies, decoded. Raises what a request raises, between two of them, too."""
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                for reply in batch:
                    yield decode(reply)

    async def _batches(self) -> AsyncGenerator[list[bytes], None]:
        batch = self._first
        timer = Repeated(KEPT, self._keep)
        try:
            while True:
                if not self._over:
                    self._pull_ahead()  # the next ones come while the reader is at these
                if batch.replies:
                    yield batch.replies
                if batch.ended:
                    return
                batch = await self._following()
        finally:
            timer.cancel()
            await self._close()

    async def _following(self) -> ReplyBatch:
        """Wait for a batch that is not empty, or is the last one."""
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    self._pull_ahead()
                    batch = await self._read(self._pulls.popleft())
                    if batch.replies or batch.ended:
                        return batch
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise RequestTimeout(f"no further reply within {self._timeout} seconds") from None

    async def _read(self, reply: asyncio.Future[bytes]) -> ReplyBatch:
        try:
            batch = read_batch(await reply)
        except CodecError as error:
            raise RequestFailed(f"the replies cannot be decoded: {error}") from None
        except (RequestFailed, NoResponders):
            self._over = True
            raise
        self._over = batch.ended
        return batch

    def _pull_ahead(self) -> None:
        while len(self._pulls) < AHEAD:
            self._number += 1
            self._pulls.append(self._pull(self._number, b"", max(PULL_TIMEOUT, self._timeout), self._timeout))

    def _pull(self, number: int, payload: bytes, timeout: float, patience: float = 0.0) -> asyncio.Future[bytes]:
        try:
            return asyncio.ensure_future(self._ask(encode(Pull(self._series, number, payload)), timeout, patience))
        except MMError as error:  # raised where it is awaited, behind the replies that are here already
            failed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    def _keep(self) -> None:
        """Say that the reader, however long it takes over a reply, is there."""
        if not self._over:
            _drop(self._kept)
            self._kept = self._pull(KEEP, b"", PULL_TIMEOUT)

    async def _close(self) -> None:
        for pull in (*self._pulls, self._kept):
            _drop(pull)
        if not self._over:
            with suppress(MMError):  # else the other side ends it when it has heard nothing for a while
                await self._stop(encode([self._series]))


class Repeated:
    """Calls ``what`` every ``pause`` seconds until it is cancelled."""

    def __init__(self, pause: float, what: Callable[[], None]) -> None:
        self._pause, self._what = pause, what
        self._timer = asyncio.get_running_loop().call_later(pause, self._call)

    def cancel(self) -> None:
        """Call it no more."""
        self._timer.cancel()

    def _call(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._call)
        self._what()


async def replies_here(
    value: Any, timeout: float, isolated: Callable[[Any], Any], report: Callable[[BaseException], Exception]
) -> AsyncGenerator[Any, None]:
    """Give the replies of a handler of this process, which returned ``value``, each once it is asked for.

    Args:
        value: a generator, or the only reply.
        timeout: seconds to wait for a reply.
        isolated: makes what the handler cannot change any more of a reply.
        report: is told of what the handler raised, and makes an error of it that can be read.

    Raises RequestFailed and RequestTimeout.

    """
    if not gives_many(value):
        yield value
        return
    async with aclosing(value):
        while True:
            step = await _step(value, timeout)
            error = asyncio.CancelledError() if step.cancelled() else step.exception()
            if error is not None:
                raise failed_here(report(error)) from error
            if step.result() is _END:
                return
            yield isolated(step.result())


async def _step(generator: AsyncGenerator[Any, Any], timeout: float) -> asyncio.Future[Any]:
    """Have a generator make a step; what it raises is its own, be it a time-out, or that something was cancelled."""

    async def following() -> Any:
        return await anext(generator, _END)

    step = asyncio.ensure_future(following())
    try:
        await asyncio.wait([step], timeout=timeout)
        if not step.done():
            raise RequestTimeout(f"no further reply within {timeout} seconds")
    finally:
        if not step.done():
            step.cancel()
            await asyncio.wait([step])  # it cannot be closed while it runs
    return step


def failed_here(error: BaseException) -> RequestFailed:
    """Return what a caller is told of a handler of this process that raised ``error``."""
    return RequestFailed(escaped(error) if isinstance(error, Refused) else f"{type(error).__name__}: {escaped(error)}")


def _drop(reply: asyncio.Future[bytes] | None) -> None:
    """Wait for a reply no more, and leave no error of it unread."""
    if reply is not None and not reply.cancel() and not reply.cancelled():
        reply.exception()
