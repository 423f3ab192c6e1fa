"""The APIs on top of the platform, one a protocol: topics and payloads in, topics and payloads out.

An :class:`API` encodes payloads and keeps subscriptions; below it is an :class:`Upstream` that moves bytes: the
platform itself, or any layer in between (compression, logging, ...) that has the same methods.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakSet

from mmplatform.codec import MAX_VALUES, Struct
from mmplatform.delivery.wire import TOO_LARGE
from mmplatform.errors import CodecError, InvalidPayload, NotRunning, QueueFull, Refused, RequestFailed, RequestTimeout
from mmplatform.message import DEFAULT_EXPIRY, DELIVERED, UNHANDLED, Delivery, Message, Outcome, Priority, PriorityName
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.dispatch import OnReply, ProtocolHandler
from mmplatform.messaging.results import NOBODY, EventEnd, Finished, HoldCount, LocalEnd, Result
from mmplatform.messaging.route import Route
from mmplatform.messaging.work import OnError
from mmplatform.text import escaped

LOCAL: Final = "local"
PLAIN: Final = (bytes, str, int, float, bool, type(None))  # values that nobody can change under another's hands


class Upstream(Protocol):
    """What an API stands on: moves the bytes of messages and requests to peers, and from them."""

    @property
    def sign_id(self) -> str:
        """Our own signId; a message to ourselves stays here."""
        ...

    @property
    def failed(self) -> OnError:
        """The function that is told of handlers that raise."""
        ...

    def post(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: bytes,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | PriorityName = Priority.NORMAL,
    ) -> Coroutine[Any, Any, Delivery]:
        """Send bytes to a peer; to be awaited.

        Args:
            destination: the signId of the peer.
            topic: printable segments joined by dots, at most 255 bytes.
            protocol: the name under which the peer has a handler attached, "ms" for messaging.
            payload: at most 64 MiB.
            realtime: at most once, never saved, dropped when no link is up.
            expire_after: seconds after which the message is given up.
            priority: one of the four lanes; order is kept within one.

        Raises InvalidTopic, InvalidPayload, InvalidKey, ControlTopic, StorageError or NotRunning.

        """
        ...

    def save(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: Any,
        encode: Callable[[Any], bytes],
        expire_after: float,
        priority: Priority | PriorityName,
    ) -> Coroutine[Any, Any, Delivery]:
        """Send a durable message like :meth:`post`, whose bytes ``encode(payload)`` gives once there is room for them:
        of many large ones, all would be in memory twice. Raises what ``encode`` raises, too."""
        ...

    def ask(
        self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float
    ) -> Coroutine[Any, Any, bytes] | asyncio.Future[bytes]:
        """Send a request to ``destination``, a signId; awaiting the result gives the bytes of the reply.

        Raises RequestTimeout after ``timeout`` seconds, Unreachable, RequestFailed, NoResponders, or what :meth:`post`
        raises.
        """
        ...

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        """Hand the messages and requests of ``protocol`` to ``handler``. Raises LocalError when another one has it."""


class SentHere(LocalEnd):
    """The end of a message to the handlers of this process."""

    __slots__ = ("_delivery", "_make")
    durable = True

    def __init__(self, delivery: Delivery, make: Callable[[], Message]) -> None:
        self._delivery, self._make = delivery, make

    def __call__(self, result: Result) -> None:
        """End the delivery."""
        self._delivery.settle(outcome_of(result))

    def message(self) -> Message:
        """Make the message for one handler."""
        return self._make()

    def stop(self) -> None:
        """End the wait for the delivery."""
        self._delivery.stop()


class Replying(Struct, gc=False, eq=False):
    """Makes the reply to a request of a peer of the result. Not tracked, like the request at hand."""

    finished: OnReply
    reply: Callable[[Result], bytes | Result]
    durable = False  # the peer is told of a failure, and asks again if it likes
    bounded = True

    def __call__(self, result: Result) -> None:
        """Give the reply back."""
        self.finished(self.reply(result))

    @property
    def wanted(self) -> bool:
        """Whether the peer still waits for the reply."""
        return self.finished.wanted

    def message(self) -> Message:
        """Make the message for one handler."""
        return self.finished.message()


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
        self._encode, self._decode, self._holds_more = encode, decode, holds_more
        self._post, self._save, self._ask, self._own = upstream.post, upstream.save, upstream.ask, upstream.sign_id
        self._routes = self.bus.routes
        self._unfinished: WeakSet[Delivery] = WeakSet()  # local deliveries whose handlers are at work
        self.malformed = 0  # remote messages whose payload could not be decoded
        upstream.attach(protocol, self)

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
            destination: the signId or the name of a peer, or "local" for the subscribers of this process.
            payload: what the protocol can encode, at most 64 MiB as bytes.
            realtime: at most once, never saved, dropped when no link is up.
            expire_after: seconds after which the message is given up.
            priority: control, high, normal or low; order is kept within one.

        Raises InvalidTopic, InvalidPayload, InvalidKey, ControlTopic, StorageError or NotRunning; then nothing was
        accepted. The guarantees are those of docs/protocol/delivery.rst.

        """
        if destination == LOCAL or destination == self._own:
            return self._send_local(topic, payload)
        if not realtime:
            return self._save(destination, topic, self.protocol, payload, self._encoded, expire_after, priority)
        return self._post(destination, topic, self.protocol, self._encoded(payload), realtime, expire_after, priority)

    async def request(self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0) -> Any:
        """Ask one peer and return what its handler returned. The link is dialled when there is none.

        Args:
            topic: as in :meth:`send`.
            destination: the signId or the name of a peer, or "local" for the subscribers of this process.
            payload: as in :meth:`send`.
            timeout: seconds to wait for the reply, dialling included.

        Raises RequestTimeout after ``timeout`` seconds, Unreachable with the reason once attempts to reach the peer
        have failed for a second, RequestFailed with the text of the remote exception, NoResponders at once when nobody
        listens, or InvalidTopic, InvalidPayload, InvalidKey, ControlTopic, ValueError or NotRunning before anything is
        sent.

        """
        if not isinstance(timeout, int | float) or not timeout > 0:
            raise ValueError(f"timeout={timeout!r}: a request waits for a number of seconds, 10.0 if not told")
        if destination == LOCAL or destination == self._own:
            try:
                async with asyncio.timeout(timeout):
                    make = partial(self._message, "request", topic, payload)
                    result = await self.bus.request("self", topic, self._own, self._isolated(payload), make)
            except TimeoutError:
                raise RequestTimeout(f"no reply to {topic} in time") from None
            if result.error is not None:
                raise RequestFailed(f"{type(result.error).__name__}: {escaped(result.error)}") from result.error
            return result.value
        try:
            data = self._encode(payload)
        except Exception as error:
            raise _not_encodable(payload, error) from None
        reply = await self._ask(destination, topic, self.protocol, data, timeout)
        try:
            if self._holds_more is not None and self._holds_more(reply, MAX_VALUES):
                raise CodecError(f"it consists of more than {MAX_VALUES} values")
            return self._decode(reply)
        except Exception as error:
            raise RequestFailed(f"the reply cannot be decoded: {escaped(error)}") from None

    def listens(self, scope: str, topic: str) -> bool:
        """Whether somebody has subscribed to what is called ``topic`` at the senders of ``scope``."""
        return self.bus.route(scope, topic) is not None

    def largest(self) -> int:
        """Return the bytes that the most generous subscription allows a stranger's payload."""
        return self.bus.largest

    def refuse(self, sender: str, scope: str) -> None:
        """End what waits of ``sender``, who is of ``scope`` from now on, under the scope that it had before."""
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

    def _encoded(self, payload: Any) -> bytes:
        """Return the bytes of a payload. Raises InvalidPayload."""
        try:
            return self._encode(payload)
        except Exception as error:
            raise _not_encodable(payload, error) from None

    async def _send_local(self, topic: str, payload: Any) -> Delivery:
        if self.bus.ending:
            raise NotRunning("the platform is stopping")
        delivery = Delivery(self._own)
        route = self.bus.route("self", topic)
        if route is None:
            self._isolated(payload)
            delivery.settle(UNHANDLED)
            return delivery
        await self.bus.room(route, self._own)
        payload = self._isolated(payload)
        end = SentHere(delivery, partial(self._message, "local", topic, payload))
        result = self.bus.deliver(route, self._own, payload, end)
        if result is not None:
            delivery.settle(outcome_of(result))
        else:
            self._unfinished.add(delivery)
        return delivery

    def _message(self, kind: str, topic: str, payload: Any) -> Message:
        """Make a message of this process for a handler with a fourth parameter."""
        return Message(topic, self.protocol, self._encode(payload), self._own, "self", kind, "", time.time())

    def _isolated(self, payload: Any) -> Any:
        """Copy ``payload``, as if it had travelled: what a handler changes in it, the sender does not see."""
        return payload if type(payload) in PLAIN else self._decode(self._encode(payload))

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
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

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
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
        self, scope: str, topic: str, sender: str, payload: bytes, finished: OnReply
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
            return Result(None, _not_encodable(result.value, error))


def _not_encodable(payload: object, error: Exception) -> InvalidPayload:
    if isinstance(error, InvalidPayload):
        return error
    return InvalidPayload(f"cannot encode a {type(payload).__name__}: {error}")


def outcome_of(result: Result) -> Outcome:
    """Return how a local message ended whose handlers gave ``result``."""
    if result is NOBODY:
        return UNHANDLED
    if result.error is None:
        return DELIVERED
    if isinstance(result.error, Refused | QueueFull):
        return Outcome("refused", escaped(result.error))
    return Outcome("failed", f"{type(result.error).__name__}: {escaped(result.error)}")


def raw(payload: Any) -> bytes:
    """Encode bytes as themselves. Raises InvalidPayload for any other type."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise InvalidPayload(f"this protocol carries bytes, not {type(payload).__name__}")
    return bytes(payload)
