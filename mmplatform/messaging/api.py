"""The APIs on top of the platform, one a protocol: topics and payloads in, topics and payloads out.

An :class:`API` encodes payloads and keeps subscriptions; below it is an ``Upstream`` that moves bytes: the platform
itself, or any layer in between (compression, logging, ...) that has the same methods.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from threading import get_ident
from types import UnionType
from typing import Any, Final, TypeVar, Unpack, overload
from weakref import WeakSet

from mmplatform.codec import MAX_VALUES, not_encodable
from mmplatform.delivery.wire import TOO_LARGE
from mmplatform.errors import CodecError, InvalidPayload, Refused, RequestFailed, RequestTimeout
from mmplatform.group_delivery import GroupDelivery
from mmplatform.identity.names import Several
from mmplatform.message import DEFAULT_EXPIRY, UNHANDLED, Delivery, Message, MessageKind, Priority, PriorityName, Scope
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.ends import Replying, SentHere, outcome_of
from mmplatform.messaging.middleware import (
    AROUND_SENDS,
    Kind,
    SendMiddleware,
    around_send,
    awaiting,
    check_middleware,
)
from mmplatform.messaging.options import SendOptions, checked_reply_type
from mmplatform.messaging.results import NOBODY, EventEnd, Finished, HoldCount, Result
from mmplatform.messaging.route import Route
from mmplatform.messaging.series import Series, failed_here, replies_here
from mmplatform.messaging.series_server import SeriesServer
from mmplatform.messaging.upstream import Upstream
from mmplatform.payload_types import PayloadType, Unfit
from mmplatform.text import escaped

S = TypeVar("S", bound=SendMiddleware)
T = TypeVar("T")

LOCAL: Final = "local"
PLAIN: Final = (bytes, str, int, float, bool, type(None))  # values that nobody can change under another's hands


class API:
    """Publish, subscribe and request over one protocol.

    Args:
        upstream: moves the bytes: the platform, or a layer on top of it.
        protocol: the name of the protocol on the wire, "ms" for messaging.
        encode: makes bytes of a payload; what it raises becomes InvalidPayload.
        decode: makes a payload of bytes; a message that cannot be decoded is dropped and counted in ``malformed``.
        bus: keeps the subscriptions; None for a bus of the API's own.
        holds_more: whether a payload consists of more than so many values; None when it is not made of values. For
            MessagePack it is that of ``mmplatform.codec``.

    """

    def __init__(
        self,
        upstream: Upstream,
        protocol: str,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        bus: Bus | None = None,
        holds_more: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        self.protocol = protocol
        self.bus = bus if bus is not None else Bus(upstream.failed)
        self.on, self.once, self.off = self.bus.on, self.bus.once, self.bus.off
        self.around_handlers = self.bus.around_handlers
        self._around_sends: tuple[SendMiddleware, ...] = ()
        self._encode, self._decode, self._holds_more = encode, decode, holds_more
        self._post, self._save, self._ask, self._own = upstream.post, upstream.save, upstream.ask, upstream.sign_id
        self._routes = self.bus.routes
        self._unfinished: WeakSet[Delivery] = WeakSet()  # local deliveries whose handlers are at work
        self.malformed = 0  # remote messages whose payload could not be decoded
        self._series = f"{protocol}.series"
        self.report = self.bus.report
        upstream.attach(protocol, self)
        upstream.attach(self._series, SeriesServer(self))

    @overload
    def send(
        self, topic: str, destination: Several, payload: Any = None, **options: Unpack[SendOptions]
    ) -> Coroutine[Any, Any, GroupDelivery]: ...
    @overload
    def send(
        self, topic: str, destination: str = LOCAL, payload: Any = None, **options: Unpack[SendOptions]
    ) -> Coroutine[Any, Any, Delivery]: ...
    def send(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | PriorityName = Priority.NORMAL,
    ) -> Coroutine[Any, Any, Delivery]:
        """Send ``payload`` to everybody at ``destination`` who listens to ``topic`` there; to be awaited.

        Returns once the message is saved here; awaiting the :class:`~mmplatform.Delivery` waits until the peer's
        handlers are done. Waits while more than 256 MiB wait for that peer, or 16 MiB for the disk, and encodes the
        payload only then: leave ``payload`` as it is until send() has returned.

        Args:
            topic: printable segments joined by dots, at most 255 bytes, no wildcards.
            destination: the signId or the name of a peer, "local" for the subscribers of this process, or for several
                peers a list ("@family"), "@friends" or "@devices": all are sent it or none. The result has the same
                methods then; it is a :class:`~mmplatform.GroupDelivery`, and has that type where the destination is a
                ``ListName`` or one of these two words.
            payload: what the protocol can encode, at most 64 MiB as bytes.
            realtime: at most once, never saved, dropped when no link is up.
            expire_after: seconds after which the message is given up.
            priority: control, high, normal or low; order is kept within one.

        Raises InvalidTopic, InvalidPayload, InvalidKey, ControlTopic, StorageError or NotRunning; then nothing was
        accepted. For several peers also LocalError when there is none, and QueueFull instead of the wait when more than
        256 MiB wait for one of them. The guarantees are those of docs/protocol/delivery.rst.

        """
        if self._around_sends:
            kind: Kind = "realtime" if realtime else "durable"
            post = partial(self._send, topic, destination, realtime, expire_after, priority)
            return awaiting(around_send(self._around_sends, topic, destination, payload, kind, post))
        if destination == LOCAL or destination == self._own:  # as in _send: for small messages a call would count
            return self._send_local(topic, payload)
        if not realtime:
            return self._save(
                destination, topic, self.protocol, payload, self._encode, self._not_encodable, expire_after, priority
            )
        try:
            data = self._encode(payload)
        except Exception as error:
            raise self._not_encodable(payload, error) from None
        return self._post(destination, topic, self.protocol, data, realtime, expire_after, priority)

    @overload
    async def request(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: type[T]
    ) -> T: ...
    @overload
    async def request(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        timeout: float = 10.0,
        returns: UnionType | None = None,
    ) -> Any: ...
    async def request(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        timeout: float = 10.0,
        returns: Any = None,
    ) -> Any:
        """Ask one peer and return what its handler returned. The link is dialled when there is none.

        Args:
            topic: as in :meth:`send`.
            destination: the signId or the name of a peer, or "local" for the subscribers of this process.
            payload: as in :meth:`send`.
            timeout: seconds to wait for the reply, dialling included.
            returns: the type of the reply, as a dataclass; else it is of plain values.

        Raises RequestTimeout after ``timeout`` seconds, Unreachable with the reason once attempts to reach the peer
        have failed for a second, RequestFailed with the text of the remote exception or with what does not fit
        ``returns``, NoResponders at once when nobody listens, or InvalidTopic, InvalidPayload, InvalidKey,
        ControlTopic, ValueError, TypeError or NotRunning before anything is sent.

        """
        wanted = checked_reply_type(timeout, returns)
        if self._around_sends:
            ask = partial(self._request, topic, destination, timeout)
            reply = await around_send(self._around_sends, topic, destination, payload, "request", ask)
        elif destination == LOCAL or destination == self._own:
            reply = await self._request_local(topic, payload, timeout, False)
        else:  # as in _request: for small requests a coroutine would count
            reply = self._decoded(await self._ask(destination, topic, self.protocol, self.encoded(payload), timeout))
        return reply if wanted is None else self._restored(reply, wanted)

    @overload
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: type[T]
    ) -> AsyncGenerator[T, None]: ...
    @overload
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0,
        returns: UnionType | None = None,
    ) -> AsyncGenerator[Any, None]: ...  # fmt: skip
    def request_many(
        self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0, returns: Any = None
    ) -> AsyncGenerator[Any, None]:
        """Ask one peer, and give each reply of its handler, an async generator, as it comes.

        The handler is asked at the first step, and runs no further ahead than 64 KiB of replies; it is closed once the
        caller reads no more (``aclose()``, or the end of the loop). A handler that is no generator gives one reply.

        Args:
            topic: as in :meth:`send`.
            destination: the signId or the name of a peer, or "local" for the subscribers of this process.
            payload: as in :meth:`send`.
            timeout: seconds to wait for each reply.
            returns: the type of the replies.

        Raises what :meth:`request` raises; RequestFailed, RequestTimeout and Unreachable also between two replies.

        """
        return self._request_many(topic, destination, payload, timeout, checked_reply_type(timeout, returns))

    def around_sends(self, middleware: S) -> S:
        """Call ``middleware(topic, destination, payload, kind, following)`` in place of each send and request.

        It returns what ``following(payload)`` returns: what gives a Delivery, or a reply, when it is awaited. What it
        raises, the caller of :meth:`send` or :meth:`request` gets, and nothing is kept. Those that were given first
        stand around later ones. Also a decorator.

        Args:
            middleware: a function or a coroutine function; ``kind`` is "durable", "realtime" or "request".

        Raises TypeError for what cannot be called so.

        """
        check_middleware(middleware, AROUND_SENDS)
        self._around_sends = (*self._around_sends, middleware)
        return middleware

    def listens(self, scope: Scope, topic: str) -> bool:
        """Whether somebody has subscribed to what is called ``topic`` at the senders of ``scope``."""
        return self.bus.route(scope, topic) is not None

    def largest(self) -> int:
        """Return the bytes that the most generous subscription allows a stranger's payload."""
        return self.bus.largest

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End what waits of ``sender`` under any scope but ``scope``, which may be none."""
        self.bus.refuse(sender, scope)

    async def end(self, grace: float) -> list[str]:
        """End all handlers, which have ``grace`` seconds for it; return the names of those that do not end."""
        left = await self.bus.end(grace)
        for delivery in self._unfinished:
            delivery.stop()
        return left

    async def close(self) -> None:
        """End all handlers at once."""
        await self.end(0.0)

    def _send(
        self,
        topic: str,
        destination: str,
        realtime: bool,
        expire_after: float,
        priority: Priority | PriorityName,
        payload: Any,
    ) -> Coroutine[Any, Any, Delivery]:
        """Send what came through all middleware."""
        if destination == LOCAL or destination == self._own:
            return self._send_local(topic, payload)
        if not realtime:
            return self._save(
                destination, topic, self.protocol, payload, self._encode, self._not_encodable, expire_after, priority
            )
        return self._post(destination, topic, self.protocol, self.encoded(payload), realtime, expire_after, priority)

    async def _request(self, topic: str, destination: str, timeout: float, payload: Any) -> Any:
        if destination == LOCAL or destination == self._own:
            return await self._request_local(topic, payload, timeout, False)
        return self._decoded(await self._ask(destination, topic, self.protocol, self.encoded(payload), timeout))

    async def _request_local(self, topic: str, payload: Any, timeout: float, series: bool) -> Any:
        make = partial(self._message, "request", topic, payload)
        try:
            async with asyncio.timeout(timeout):
                result = await self.bus.request("self", topic, self._own, self._isolated(payload), make, series)
        except TimeoutError:
            raise RequestTimeout(f"no reply to {topic} in time") from None
        if result.error is not None:
            raise failed_here(result.error) from result.error
        return result.value

    async def _request_many(
        self, topic: str, destination: str, payload: Any, timeout: float, wanted: PayloadType[Any] | None
    ) -> AsyncGenerator[Any, None]:
        ask = partial(self._open_series, topic, destination, timeout)
        kind: Kind = "request_many"
        replies = await around_send(self._around_sends, topic, destination, payload, kind, ask)
        async with aclosing(replies):
            async for reply in replies:
                yield reply if wanted is None else self._restored(reply, wanted)

    async def _open_series(
        self, topic: str, destination: str, timeout: float, payload: Any
    ) -> AsyncGenerator[Any, None]:
        """Ask for many replies; return them as they come."""
        if destination == LOCAL or destination == self._own:
            value = await self._request_local(topic, payload, timeout, True)
            return replies_here(value, timeout, self._isolated, lambda error: self.report(error, f"self.{topic}"))

        def ask(pull: bytes, seconds: float, patience: float) -> Awaitable[bytes]:
            return self._ask(destination, topic, self._series, pull, seconds, patience)

        def stop(number: bytes) -> Awaitable[object]:
            return self._post(destination, topic, self._series, number, True)

        series = Series(secrets.randbits(53), ask, stop, timeout)
        await series.open(self.encoded(payload))
        return series.replies(self._decoded)

    def _decoded(self, reply: bytes) -> Any:
        """Return the value of a reply. Raises RequestFailed."""
        try:
            if len(reply) > MAX_VALUES and self._holds_more is not None and self._holds_more(reply, MAX_VALUES):
                raise CodecError(f"it consists of more than {MAX_VALUES} values")
            return self._decode(reply)
        except Exception as error:
            raise RequestFailed(f"the reply cannot be decoded: {escaped(error)}") from None

    def _restored(self, reply: Any, wanted: PayloadType[Any]) -> Any:
        """Return a reply, perhaps of a handler of this process, as the type says. Raises RequestFailed."""
        try:
            return wanted.restore(self._isolated(reply))
        except Unfit as error:
            raise RequestFailed(f"the reply does not fit: {error.detail}") from None
        except (Refused, InvalidPayload) as error:
            raise RequestFailed(f"the reply does not fit: {escaped(error)}") from None

    def encoded(self, payload: Any) -> bytes:
        """Return the bytes of a payload. Raises InvalidPayload."""
        try:
            return self._encode(payload)
        except Exception as error:
            raise self._not_encodable(payload, error) from None

    async def _send_local(self, topic: str, payload: Any) -> Delivery:
        bus = self.bus
        if get_ident() != bus.home.thread or bus.work.ending:
            bus.admit()
        delivery = Delivery(self._own)
        route = bus.route("self", topic)
        if route is None:
            self._isolated(payload)
            delivery.settle(UNHANDLED)
            return delivery
        if route.plain is None:  # a handler has a queue, in one loop
            bus.admit()
        await bus.room(route, self._own)
        payload = self._isolated(payload)
        end = SentHere(delivery, partial(self._message, "local", topic, payload))
        result = bus.deliver(route, self._own, payload, end)
        if result is not None:
            delivery.settle(outcome_of(result))
        else:
            self._unfinished.add(delivery)
        return delivery

    def _message(self, kind: MessageKind, topic: str, payload: Any) -> Message:
        """Make a message of this process for a handler with a fourth parameter."""
        return Message(topic, self.protocol, self._encode(payload), self._own, "self", kind, "", time.time())

    def _isolated(self, payload: Any) -> Any:
        """Copy ``payload``, as if it had travelled: what a handler changes in it, the sender does not see."""
        return payload if type(payload) in PLAIN else self._decode(self.encoded(payload))

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Hand a realtime message to its subscribers: see :class:`ProtocolHandler`. A malformed one is counted."""
        try:
            route = self._routes[scope][topic]
        except KeyError:
            route = self.bus.route(scope, topic)
        if route is None:
            return
        try:
            value = self._decode(payload) if len(payload) <= route.unchecked else self._checked(route, payload)
        except Exception:
            self.malformed += 1
            return
        if route.plain is not None:
            self.bus.deliver(route, sender, value)
            return
        make = partial(Message, topic, self.protocol, payload, sender, scope, "realtime", "", time.time())
        end = EventEnd(held, len(payload), make)
        result = self.bus.deliver(route, sender, value, end)
        if result is not None:
            end(result)

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Hand a durable message to its subscribers: see :class:`ProtocolHandler`."""
        route = self.bus.route(scope, topic)
        if route is None:
            return None if self.bus.ending else NOBODY  # not for us to say any more who listens
        try:
            value = self._decode(payload) if len(payload) <= route.unchecked else self._checked(route, payload)
        except Exception as error:
            self.malformed += 1
            return Result(None, error if type(error) is Refused else Refused("bad-payload"))
        return self.bus.deliver(route, sender, value, finished)

    def on_request(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Hand a request to its subscribers: see :class:`ProtocolHandler`."""
        result = self.on_message(scope, topic, sender, payload, Replying(finished, self._reply))
        return None if result is None else self._reply(result)

    def _checked(self, route: Route, payload: bytes) -> Any:
        """Return the value of a large payload, None when nobody wants it decoded. Raises what says why it has none."""
        if len(payload) > route.max_size:
            raise Refused(TOO_LARGE)
        if route.raw:
            return None
        if self._holds_more is not None and self._holds_more(payload, route.max_values):
            raise Refused("bad-payload")
        return self._decode(payload)

    def _reply(self, result: Result) -> bytes | Result:
        """Return the value of ``result`` in bytes, or ``result`` itself when it has an error or nobody listens."""
        if result is NOBODY or result.error is not None:
            return result
        try:
            return self._encode(result.value)
        except Exception as error:
            return Result(None, self._not_encodable(result.value, error))

    def _not_encodable(self, payload: object, error: Exception) -> InvalidPayload:
        return error if isinstance(error, InvalidPayload) else not_encodable("payload", payload, error, self._encode)


def raw(payload: Any) -> bytes:
    """Encode bytes as themselves. Raises InvalidPayload for any other type."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise InvalidPayload(f"this protocol carries bytes, not {type(payload).__name__}")
    return bytes(payload)
