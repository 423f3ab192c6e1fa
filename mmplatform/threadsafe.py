"""The calls of a platform for other threads: what is called here runs in the event loop of the platform."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import UnionType
from typing import Any, Final, ParamSpec, TypeVar, overload

from mmplatform.errors import NotRunning
from mmplatform.home import Home
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
        return self._each(self._messaging.request_many(topic, destination, payload, timeout=timeout, returns=returns))

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

    def _each(self, replies: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
        async def following() -> Any:
            return await anext(replies, END)

        async def close() -> None:
            await replies.aclose()

        try:
            while (reply := self.call(following)) is not END:
                yield reply
        finally:
            with suppress(NotRunning):  # it has ended with the platform
                self.call(close)


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
    def deliveries(self) -> Mapping[str, Delivery]:
        """The delivery to each peer, by signId."""
        return self.delivery.deliveries

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the handlers of the peer, and return how the message ended.

        Raises what awaiting the Delivery raises, and TimeoutError after ``timeout`` seconds; the message goes on then.
        """
        return self._waited(self._ended, timeout)

    def received(self, timeout: float | None = None) -> None:
        """Wait until the message is on the disk of the peer, or handled there; raises as :meth:`wait` does."""
        self._waited(self.delivery.received, timeout)

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
