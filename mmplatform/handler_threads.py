"""The threads in which the handlers of a ``sync.Platform`` run: the event loop sees coroutine functions instead."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from mmplatform.message import Message
from mmplatform.messaging.handlers import is_async, takes_message

MOST_THREADS: Final = 256  # in which handlers run; docs/threads.rst says so
END: Final[Any] = object()  # behind the last reply
CALLED: Final = (
    "a handler is called with (topic, sender, payload), or with the message as a fourth; it returns its value, or is "
    "a generator and yields replies"
)


class HandlerThreads:
    """Threads in which handlers run, one for each that is at work, MOST_THREADS at most.

    A handler may wait for another one of the same node, so none waits for a thread before. A program ends without them.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._at_work = 0  # jobs that have not ended, also those for which nobody waits any more
        self._closing: set[asyncio.Task[None]] = set()

    def calling(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function that calls ``handler`` in a thread; what is a generator there, is an async one.

        Raises TypeError for what could never handle a message, saying what a handler is.
        """
        if not callable(handler):
            raise TypeError(f"{handler!r} is not callable; {CALLED}")
        _check_plain(handler)

        async def three(topic: str, sender: str, payload: Any) -> Any:
            return self._given(await self._put(lambda: handler(topic, sender, payload)))

        async def four(topic: str, sender: str, payload: Any, message: Message) -> Any:
            return self._given(await self._put(lambda: handler(topic, sender, payload, message)))

        return four if takes_message(handler, CALLED) else three

    def calling_with_any(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """As :meth:`calling`, for a handler with other arguments, as those of events have."""
        _check_plain(handler)

        async def call(*arguments: Any) -> None:
            await self._put(lambda: handler(*arguments))

        return call

    async def leave(self, timeout: float) -> None:
        """Wait until the generators that nobody reads on have ended, ``timeout`` seconds at most."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=timeout)

    def close(self) -> None:
        """End the threads; one whose handler does not end is left behind."""
        for _ in self.threads:
            self._jobs.put(None)

    def _given(self, value: Any) -> Any:
        """Return what a handler gave, as the event loop can use it."""
        return self._replies(value) if isinstance(value, Generator) else value

    async def _replies(self, generator: Generator[Any, None, object]) -> AsyncGenerator[Any, None]:
        """Take each step of ``generator`` in a thread. Whoever gives up waiting for a step is not kept by it."""
        step = self._put(partial(next, generator, END))
        try:
            while (reply := await asyncio.shield(step)) is not END:
                yield reply
                step = self._put(partial(next, generator, END))
        except (GeneratorExit, asyncio.CancelledError):
            closing = asyncio.get_running_loop().create_task(self._close(generator, step), name="mm series closing")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            if step.done():
                await asyncio.shield(closing)
            raise

    async def _close(self, generator: Generator[Any, None, object], step: "asyncio.Future[Any]") -> None:
        """Close ``generator`` once its last step has ended: it cannot be closed while it runs."""
        await asyncio.wait([step])
        await self._put(generator.close)

    def _put(self, job: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Have a thread do ``job``, and return its result to come; when that is cancelled in time, nobody does it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(self.threads) < min(self._at_work + 1, MOST_THREADS):
            thread = threading.Thread(target=self._work, name="mm handlers", daemon=True)
            thread.start()
            self.threads.append(thread)
        self._at_work += 1
        self._jobs.put((job, future))
        return future

    def _work(self) -> None:
        for job, future in iter(self._jobs.get, None):
            value, error = None, None
            try:
                value = None if future.cancelled() else job()
            except BaseException as raised:
                error = _told(raised)
            with suppress(RuntimeError):  # the event loop has ended
                future.get_loop().call_soon_threadsafe(self._settle, future, value, error)
            del job, future, value, error

    def _settle(self, future: "asyncio.Future[Any]", value: Any, error: Exception | None) -> None:
        self._at_work -= 1
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)


def _check_plain(handler: Callable[..., Any]) -> None:
    called = getattr(handler, "__call__", None)  # noqa: B004
    if is_async(handler) or inspect.isasyncgenfunction(handler) or inspect.isasyncgenfunction(called):
        raise TypeError(f"{handler!r} is a coroutine function; handlers of a sync.Platform are plain functions")


def _told(raised: BaseException) -> Exception:
    """Return what a handler raised, as its future can hold it and the event loop outlives it."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"the handler raised {type(raised).__name__}, which ends nothing but the handler")
    error.__cause__ = raised
    return error
