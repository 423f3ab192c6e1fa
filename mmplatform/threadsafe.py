"""The calls of a platform for other threads: what is called here runs in the event loop of the platform."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import UnionType
from typing import Any, Final, ParamSpec, TypeVar, overload

from mmplatform.errors import NotRunning, WrongProcess
from mmplatform.home import Home, running_loop
from mmplatform.message import DEFAULT_EXPIRY, Delivery, Outcome, Priority, PriorityName, State
from mmplatform.messaging.api import API, LOCAL

END: Final = object()  # behind the last reply

P = ParamSpec("P")
T = TypeVar("T")


class Threadsafe:
    """What ``platform.threadsafe`` is: calls for threads that are not the platform's.

    They take, return and raise the same as those of the platform, and block until it is done. A call in the thread of
    the platform raises WrongLoop, as it would wait for itself; NotRunning comes when the platform does not run. Ctrl-C
    in a call gives up waiting.
    """

    def __init__(self, home: Home, messaging: API) -> None:
        self._home, self._messaging = home, messaging
        self._reading: set[Reading] = set()  # used in the event loop only, as the next one
        self._closing: set[asyncio.Task[None]] = set()  # series for whose end no thread waits

    def send(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | PriorityName = Priority.NORMAL,
    ) -> "BlockingDelivery":
        """Send ``payload`` to everybody at ``destination`` who listens to ``topic`` there, as ``messaging.send`` does.

        Returns once the message is saved here; ``wait`` of what is returned waits until the peer's handlers are done.

        Args:
            topic: printable segments joined by dots, at most 255 bytes, no wildcards.
            destination: the signId or the name of a peer, "local", or a list or circle, as "@friends".
            payload: what MessagePack can carry, at most 64 MiB as bytes; leave it as it is until this returns.
            realtime: at most once, never saved, dropped when no link is up.
            expire_after: seconds after which the message is given up.
            priority: control, high, normal or low; order is kept within one.

        Raises what ``messaging.send`` raises.

        """
        sent = self.call(
            self._messaging.send, topic, destination, payload, realtime=realtime, expire_after=expire_after,
            priority=priority,
        )  # fmt: skip
        return BlockingDelivery(sent, self)

    @overload
    def request(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: type[T]
    ) -> T: ...
    @overload
    def request(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        timeout: float = 10.0,
        returns: UnionType | None = None,
    ) -> Any: ...
    def request(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        timeout: float = 10.0,
        returns: Any = None,
    ) -> Any:
        """Ask one peer and return what its handler returned, as ``messaging.request`` does.

        Args:
            topic: as in :meth:`send`.
            destination: the signId or the name of a peer, or "local".
            payload: as in :meth:`send`.
            timeout: seconds to wait for the reply, dialling included.
            returns: the type of the reply, as a dataclass; else it is of plain values.

        Raises what ``messaging.request`` raises.

        """
        asked: Callable[..., Coroutine[Any, Any, Any]] = self._messaging.request
        return self.call(asked, topic, destination, payload, timeout=timeout, returns=returns)

    @overload
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: type[T]
    ) -> Generator[T, None, None]: ...
    @overload
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0,
        returns: UnionType | None = None,
    ) -> Generator[Any, None, None]: ...  # fmt: skip
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: Any = None
    ) -> Generator[Any, None, None]:
        """Ask one peer and give each reply of its handler as it comes, as ``messaging.request_many`` does.

        Args:
            topic: as in :meth:`send`.
            destination: the signId or the name of a peer, or "local".
            payload: as in :meth:`send`.
            timeout: seconds to wait for each reply.
            returns: the type of the replies.

        Raises what ``messaging.request_many`` raises.

        """
        asked: Callable[..., AsyncGenerator[Any, None]] = self._messaging.request_many
        replies = asked(topic, destination, payload, timeout=timeout, returns=returns)
        return self._each(Reading(replies, self._reading))

    @overload
    def call(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``function`` in the event loop of the platform and wait for what it, or its coroutine, returns.

        Any call of the platform can be made so: ``platform.threadsafe.call(platform.add, ticket, name="bob")``.

        Args:
            function: a function or a coroutine function.
            *args: its arguments.
            **kwargs: its arguments by name.

        Raises what it raises, NotRunning when the platform does not run, or stops meanwhile, WrongLoop when it is
        called in the thread of the platform.

        """
        return result(self.submit(function, *args, **kwargs))

    @overload
    def submit(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``function`` in the event loop of the platform, and return at once with the future of its result.

        Cancelling the future cancels the call.

        Args:
            function: a function or a coroutine function.
            *args: its arguments.
            **kwargs: its arguments by name.

        Raises NotRunning when the platform does not run, WrongLoop when it is called in the thread of the platform.

        """

        async def calling() -> Any:
            found = function(*args, **kwargs)
            return await found if inspect.iscoroutine(found) or asyncio.isfuture(found) else found

        loop, coroutine = self._home.reachable(), calling()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # it was closed this moment
            coroutine.close()
            raise NotRunning("the event loop of the platform has ended") from None

    def _each(self, reading: "Reading") -> Generator[Any, None, None]:
        try:
            while (reply := self.call(reading.following)) is not END:
                yield reply
        except GeneratorExit:
            self._leave(reading)
            raise
        except BaseException:
            with suppress(Exception):  # an error of a handler that is closed does not hide Ctrl-C
                self._leave(reading)
            raise

    def _leave(self, reading: "Reading") -> None:
        """Close what is read no further; where this cannot wait, as garbage is collected anywhere, it is not waited
        for."""
        if self._home.loop is not None and running_loop() is self._home.loop:
            self._close_soon(reading)
            return
        with suppress(NotRunning, WrongProcess):  # it has ended with the platform, or belongs to the parent
            self.call(reading.close)

    def _close_soon(self, reading: "Reading") -> None:
        closing = asyncio.get_running_loop().create_task(reading.close(), name="mm series dropped")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _end_series(self, timeout: float) -> None:
        """Close what is half read, as the event loop ends: it would close the inner parts of a series before the outer
        ones. There are ``timeout`` seconds for it."""
        for reading in list(self._reading):
            self._close_soon(reading)
        if self._closing:
            await asyncio.wait(self._closing, timeout=timeout)


class Reading:
    """What of a series runs in the event loop, while another thread reads it; ``reading`` has those that are open."""

    def __init__(self, replies: AsyncGenerator[Any, None], reading: "set[Reading]") -> None:
        self._replies, self._reading = replies, reading
        self._step: asyncio.Task[Any] | None = None

    async def following(self) -> Any:
        """Return the next reply, END behind the last one."""
        self._step = asyncio.current_task()
        self._reading.add(self)
        reply = await anext(self._replies, END)
        if reply is END:
            self._reading.discard(self)
        return reply

    async def close(self) -> None:
        """End a step that nobody waits for any more, then the series: it cannot be closed while it runs."""
        self._reading.discard(self)
        if self._step is not None and not self._step.done():
            if not self._step.cancelling():
                self._step.cancel()
            await asyncio.wait([self._step])
        await self._replies.aclose()


class BlockingDelivery:
    """One accepted message, for other threads than that of the platform; see :class:`~mmplatform.Delivery`.

    ``delivery`` is the one of the platform. A program may drop both: the message goes on all the same.
    """

    __slots__ = ("_threadsafe", "delivery")

    def __init__(self, delivery: Delivery, threadsafe: Threadsafe) -> None:
        self.delivery, self._threadsafe = delivery, threadsafe

    @property
    def id(self) -> str:
        """The name by which ``Platform.delivery`` finds the message after a restart."""
        return self.delivery.id

    @property
    def peer(self) -> str:
        """The signId of the recipient, or the list or circle."""
        return self.delivery.peer

    @property
    def state(self) -> State:
        """How far the message is; see :attr:`Delivery.state <mmplatform.message.Delivery.state>`."""
        return self.delivery.state

    @property
    def done(self) -> bool:
        """Whether the message has ended."""
        return self.delivery.done

    @property
    def outcome(self) -> Outcome | None:
        """How the message ended, None while it has not. Unlike :meth:`wait`, reading this never raises."""
        return self.delivery.outcome

    @property
    def deliveries(self) -> "Mapping[str, BlockingDelivery]":
        """The delivery to each peer, by signId."""
        each = self.delivery.deliveries.items()
        return {peer: BlockingDelivery(delivery, self._threadsafe) for peer, delivery in each}

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the handlers of the peer, and return how the message ended.

        Raises what awaiting the Delivery raises, and TimeoutError after ``timeout`` seconds; the message goes on then.
        """
        return self._waited(self._ended, timeout)

    def received(self, timeout: float | None = None) -> None:
        """Wait until the message is on the disk of the peer, or handled there; raises as :meth:`wait` does."""
        self._waited(self.delivery.received, timeout)

    def cancel(self) -> list[str]:
        """Take the message back from those to whom it has not gone out yet, and return their signIds.

        Waiting for the delivery raises :class:`~mmplatform.errors.Cancelled` then. Raises StorageError and NotRunning.
        """
        return self._threadsafe.call(self.delivery.cancel)

    def _waited(self, end: Callable[[], Coroutine[Any, Any, T]], timeout: float | None) -> T:
        waiting = self._threadsafe.submit(end)
        try:
            return result(waiting, timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.id or self.peer} is {self.state} after {timeout} s; it goes on") from None

    async def _ended(self) -> Outcome:
        return await self.delivery

    def __repr__(self) -> str:
        """Show the id and the state."""
        return f"<BlockingDelivery {self.id or self.peer} {self.state}>"


def result(future: Future[T], timeout: float | None = None) -> T:
    """Wait for a call in the event loop; whoever gives up waiting, or is interrupted, cancels it.

    Raises what the call raises, TimeoutError after ``timeout`` seconds, and NotRunning when the loop ended before.
    """
    try:
        return future.result(timeout)
    except CancelledError:
        raise NotRunning("the platform stopped before the call ended") from None
    except BaseException:
        future.cancel()  # when it is done, this changes nothing
        raise
