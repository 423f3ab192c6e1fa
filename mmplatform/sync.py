"""A platform for programs without an event loop: it has one in a thread of its own, and calls of it block.

::

    from mmplatform import sync

    with sync.Platform("~/.mm/alice") as platform:
        platform.add(ticket, name="bob", circle="friends")
        platform.send("chat", "bob", {"text": "hi"}).wait(5)
"""

import asyncio
import atexit
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType, UnionType
from typing import Any, Concatenate, Final, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from mmplatform.errors import MMError, NotRunning
from mmplatform.events import EventName
from mmplatform.handler_threads import HandlerThreads
from mmplatform.identity.keys import SignId
from mmplatform.message import LastState, Message
from mmplatform.messaging.handlers import Handler, TypedDecorator
from mmplatform.messaging.options import OnOptions
from mmplatform.messaging.series_server import GIVE_UP
from mmplatform.payload_types import is_payload_type
from mmplatform.peers.status import PeerStatus
from mmplatform.platform import Platform as AsyncPlatform
from mmplatform.program import ENDING
from mmplatform.threadsafe import BlockingDelivery, Threadsafe, result

__all__ = ["BlockingDelivery", "Platform"]

MAIN: Final = threading.main_thread()  # the only one that is given signals
LOOK: Final = 0.1  # seconds between two looks at whether the thread has ended by itself
LAST: Final = 5.0  # seconds for the event loop to end when whoever stops the platform is interrupted

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=Handler)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _options_of(
    _: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Say that a constructor takes what another one takes."""
    return lambda function: function


class SyncPlatform(Threadsafe):
    """A node of the network for programs without an event loop.

    It takes what :class:`mmplatform.Platform` takes, and its calls return and raise the same; they may come from any
    thread, and block until they are done. ``with sync.Platform(...)`` starts it and stops it; one that is not stopped
    is when the program ends. ``platform`` is the node itself: :meth:`call` calls whatever of it is not here, as
    ``platform.call(platform.platform.contacts.rename, "bob", "robert")``.

    Handlers are plain functions and run in threads beside the program: one message at a time of a subscription,
    several of different ones.
    """

    @_options_of(AsyncPlatform.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self.platform = AsyncPlatform(*args, **options)
        super().__init__(self.platform.parts.home, self.platform.messaging)
        self._handlers = HandlerThreads()
        self._subscribed: list[tuple[str, Any, Any]] = []  # pattern, handler, and what the platform calls
        self._running = False
        self._until = 0.0  # when handlers are to have ended, on the clock of the loop
        self._ended = (
            threading.Event()
        )  # joining the thread would not do: Ctrl-C in a join() has Python take it for dead
        self._starting = threading.Lock()

    # Life.

    def start(self) -> None:
        """Start the node in a thread of its own; does nothing when it runs. Raises what ``Platform.start`` raises."""
        with self._starting:
            if self._running and not self._ended.is_set():
                return
            started: Future[None] = Future()
            self._running = True
            self._ended.clear()
            threading.Thread(target=self._live, args=(started,), name="mm platform", daemon=True).start()
            atexit.register(self._at_exit)
        try:
            result(started)
        except BaseException:
            wait([started], LAST)  # interrupted, it may be half way
            if started.done() and started.exception() is not None:
                self._ended.wait(LAST)  # by itself: what is put into a loop that ends is never done
            self.stop(0.0)
            raise

    def stop(self, grace: float = 5.0) -> None:
        """Stop the node in order, as ``Platform.stop`` does; in a handler, only say that it is to stop.

        Args:
            grace: seconds for handlers to end by themselves.

        """
        if self.wait(0):
            return
        with suppress(MMError):  # it has stopped by itself
            stopping = self.submit(self._stop_node, grace)
            if threading.current_thread() in self._handlers.threads:
                return
            try:
                while not wait([stopping], LOOK).done and not self._ended.is_set():
                    pass  # a loop that ended by itself meanwhile, as after a start that failed, answers nothing
                if stopping.done():
                    result(stopping)
            except BaseException:
                self._ended.wait(LAST)
                raise
        self._ended.wait()
        atexit.unregister(self._at_exit)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node is stopped, ``timeout`` seconds at most; return whether it is. Ctrl-C ends the wait."""
        if not self._home.here:
            self._home.check()
        return not self._running or self._ended.wait(timeout)

    def run(self, grace: float = 5.0) -> None:
        """Run the node as a program of its own, until SIGINT or SIGTERM comes or :meth:`stop` is called.

        It stops in order; a second signal cancels the handlers that are still at work.

        Args:
            grace: seconds for handlers to end by themselves.

        Raises what :meth:`start` raises.

        """
        stopping: list[Future[None]] = []
        asked = threading.Event()

        def end(*_: object) -> None:
            asked.set()
            if stopping:
                stopping[0].cancel()
            else:
                with suppress(MMError):  # it has stopped by itself
                    stopping.append(self.submit(self._stop_node, grace))

        before = {number: signal.signal(number, end) for number in ENDING if threading.current_thread() is MAIN}
        try:
            self.start()
            if not asked.is_set():
                self.wait()
        except NotRunning:
            if not asked.is_set():
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self.stop(grace)

    def __enter__(self) -> Self:
        """Start; see :meth:`start`."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; see :meth:`stop`. A forked child that leaves the block has nothing to stop."""
        if self._home.here:
            self.stop()

    # Handlers.

    @overload
    def on(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T], R], /, **options: Unpack[OnOptions]
    ) -> Callable[[str, str, T], R]: ...
    @overload
    def on(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T, Message], R], /,
        **options: Unpack[OnOptions],
    ) -> Callable[[str, str, T, Message], R]: ...  # fmt: skip
    @overload
    def on(  # type: ignore[overload-overlap]  # as messaging.on
        self, pattern: str, payload: type[T], /, **options: Unpack[OnOptions]
    ) -> TypedDecorator[T]: ...
    @overload
    def on(self, pattern: str, payload: UnionType, handler: H, /, **options: Unpack[OnOptions]) -> H: ...
    @overload
    def on(
        self, pattern: str, payload: UnionType | None = None, /, **options: Unpack[OnOptions]
    ) -> Callable[[H], H]: ...
    @overload
    def on(self, pattern: str, handler: H, /, **options: Unpack[OnOptions]) -> H: ...
    def on(self, pattern: str, payload: Any = None, handler: Any = None, /, **options: Any) -> Any:
        """Call ``handler(topic, sender, payload)`` in a thread for every message whose name matches; also a decorator.

        It is ``messaging.on`` for plain functions; what the handler returns is the reply to a request.

        Args:
            pattern: ``scope.topic``, whose segments may be ``*`` (any one) or ``>`` (one or more).
            payload: the type of the payloads, as a dataclass; it may be left out.
            handler: a function, or a generator, which gives the replies of a series; one that requires a fourth
                argument is given the Message.
            **options: those of ``messaging.on``; ``concurrency`` is how many messages it handles side by side.

        Raises what ``messaging.on`` raises, and TypeError for a coroutine function.

        """
        if handler is None and not is_payload_type(payload):
            payload, handler = None, payload
        typed = [] if payload is None else [payload]
        if handler is None:
            return lambda function: self._subscribe(pattern, typed, function, options)
        return self._subscribe(pattern, typed, handler, options)

    def off(self, pattern: str, handler: Handler) -> bool:
        """End the subscription; return False when there was none."""
        for entry in self._subscribed:
            if entry[:2] == (pattern, handler):
                self._subscribed.remove(entry)
                return self._here(self.platform.messaging.off, pattern, entry[2])
        return False

    @overload
    def on_event(self, event: EventName, handler: F) -> F: ...
    @overload
    def on_event(self, event: EventName, handler: None = None) -> Callable[[F], F]: ...
    def on_event(self, event: EventName, handler: F | None = None) -> F | Callable[[F], F]:
        """Call ``handler`` in a thread for an event of the node; also a decorator. See ``Platform.on``.

        Args:
            event: the name of the event.
            handler: a function with the arguments of that event.

        Raises ValueError for an unknown event, and TypeError for a coroutine function.

        """
        if handler is None:
            return lambda function: self.on_event(event, function)
        self._here(self.platform.on, event, self._handlers.calling_with_any(handler))
        return handler

    def set_up(self) -> None:
        """Say that all handlers are subscribed; see ``Platform.set_up``."""
        self._here(self.platform.set_up)

    # Who and where.

    @property
    def sign_id(self) -> SignId:
        """Our address: the Ed25519 public key in base64, 44 characters."""
        return self.platform.sign_id

    def ticket(self) -> str:
        """Return our key and addresses as one line to paste, good for 30 days. Raises NotRunning."""
        return self.call(self.platform.ticket)

    def add(self, ticket_or_key: str, *, name: str = "", circle: Literal["friends", "devices"] | None = None) -> SignId:
        """Get to know a peer; see ``Platform.add``, which has what this raises.

        Args:
            ticket_or_key: a ticket, a signId, or the name of a peer that is known already.
            name: what to call the peer here; "" leaves its name as it is.
            circle: "friends" or "devices", to make the peer one of them.

        """
        return self.call(self.platform.add, ticket_or_key, name=name, circle=circle)

    def peer(self, name_or_key: str) -> SignId:
        """Return the signId of the peer with this name here, or of this signId. Raises InvalidKey."""
        return self.call(self.platform.peer, name_or_key)

    def peers(self) -> list[PeerStatus]:
        """Return the status of every peer that is known or connected."""
        return self.call(self.platform.peers)

    def connect(self, peer: str, timeout: float = 10.0) -> None:
        """Dial ``peer`` unless a link is up. Raises Unreachable after ``timeout`` seconds."""
        self.call(self.platform.connect, peer, timeout)

    def disconnect(self, peer: str) -> None:
        """Close the links to ``peer``; the next message dials again."""
        self.call(self.platform.disconnect, peer)

    def ping(self, peer: str, timeout: float = 10.0) -> float:
        """Return the seconds of a round trip to ``peer``. Raises Unreachable after ``timeout`` seconds."""
        return self.call(self.platform.ping, peer, timeout)

    def flush(self, peer: str | None = None, timeout: float | None = None) -> None:
        """Wait until all messages (to ``peer``, or to everybody) have ended; see ``Platform.flush``."""
        self.call(self.platform.flush, peer, timeout)

    def delivery(self, delivery_id: str) -> LastState:
        """Return the state of a message by the id of its delivery, also after a restart."""
        return self.call(self.platform.delivery, delivery_id)

    # Inside.

    def _live(self, started: "Future[None]") -> None:
        """Run the event loop: the thread of the platform."""
        started.set_running_or_notify_cancel()  # whoever waits for it may not cancel it
        try:
            asyncio.run(self._main(started))
        finally:
            self._handlers.close()
            self._ended.set()

    async def _main(self, started: "Future[None]") -> None:
        try:
            await self.platform.start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self.platform.parts.closed.wait()
        await self._end_series(self._left())
        await self._handlers.leave(self._left())

    def _left(self) -> float:
        return max(self._until - asyncio.get_running_loop().time(), GIVE_UP)

    async def _stop_node(self, grace: float) -> None:
        self._until = asyncio.get_running_loop().time() + grace
        try:
            await self.platform.stop(grace)
        except asyncio.CancelledError:
            self._until = 0.0
            raise

    def _subscribe(self, pattern: str, typed: list[Any], handler: Any, options: Any) -> Any:
        called = self._handlers.calling(handler)
        subscribe: Callable[..., Any] = self.platform.messaging.on
        self._here(subscribe, pattern, *typed, called, **options)
        self._subscribed.append((pattern, handler, called))
        return handler

    def _here(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call what may be called before the start, from here, and later in the event loop."""
        if self._home.loop is None:
            return function(*args, **kwargs)
        return self.call(function, *args, **kwargs)

    def _at_exit(self) -> None:
        if self._home.here:
            self.stop()


Platform = SyncPlatform
