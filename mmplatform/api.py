"""The APIs on top of the platform, one a protocol: topics and payloads in, topics and payloads out.

An :class:`API` encodes payloads and keeps subscriptions; below it is an :class:`Upstream` that moves bytes: the
platform itself, or any layer in between (compression, logging, ...) that has the same three methods.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from mmplatform.bus import DONE, NOBODY, Bus, OnError, Result
from mmplatform.errors import InvalidPayload, InvalidTopic, Refused
from mmplatform.message import DEFAULT_EXPIRY, DELIVERED, UNHANDLED, Delivery, Outcome, Priority

LOCAL: Final = "local"
PLAIN: Final = (bytes, str, int, float, bool, type(None))  # values that nobody can change under another's hands

Finished = Callable[[Result], None] | None
OnMessage = Callable[[str, str, str, bytes, Finished], Result | None]


class Upstream(Protocol):
    """What an API stands on."""

    @property
    def sign_id(self) -> str:
        """Our own signId; what is sent to it stays here."""

    @property
    def failed(self) -> OnError:
        """Told of handlers that raise."""

    async def post(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: bytes,
        *,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | str | int = Priority.NORMAL,
    ) -> Delivery:
        """Send bytes to a peer."""

    async def ask(self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        """Request and wait for the reply's bytes."""

    def attach(self, protocol: str, on_message: OnMessage, on_request: OnMessage) -> None:
        """Have the messages and requests of ``protocol`` handed to these."""


class API:
    """Publish, subscribe and request over one protocol."""

    def __init__(
        self, upstream: Upstream, protocol: str, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
    ) -> None:
        self.protocol = protocol
        self.bus = Bus(upstream.failed)
        self.on, self.once, self.off = self.bus.on, self.bus.once, self.bus.off
        self._upstream, self._encode, self._decode = upstream, encode, decode
        self._post, self._own = upstream.post, upstream.sign_id
        upstream.attach(protocol, self._received, self._requested)

    async def send(
        self,
        topic: str,
        destination: str = LOCAL,
        payload: Any = None,
        *,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | str | int = Priority.NORMAL,
    ) -> Delivery:
        """Send ``payload`` to everybody at ``destination`` who listens to ``topic`` there.

        Returns once the message is saved here; awaiting the :class:`~mmplatform.Delivery` waits until the peer's
        handlers are done. ``destination`` is a signId, or "local" for the subscribers of this process.
        ``realtime``: at most once, never saved, dropped when no link is up. ``expire_after``: seconds. Waits while
        more than 256 MiB wait for that peer. Raises InvalidTopic, InvalidPayload, InvalidKey, ControlTopic,
        StorageError or NotRunning; then nothing was accepted.
        """
        if destination == LOCAL or destination == self._own:
            return await self._send_local(topic, payload)
        return await self._post(
            destination, topic, self.protocol, self._encode(payload),
            realtime=realtime, expire_after=expire_after, priority=priority,
        )  # fmt: skip

    async def request(self, topic: str, destination: str = LOCAL, payload: Any = None, *, timeout: float = 10.0) -> Any:
        """Ask one peer and return what its handler returned. The link is dialled when there is none.

        Raises RequestTimeout after ``timeout`` seconds, RequestFailed with the text of the remote exception, or
        NoResponders at once when nobody listens.
        """
        if destination == LOCAL or destination == self._own:
            result = await self.bus.request("self", topic, self._own, self._isolated(payload))
            if result.error is not None:
                raise result.error
            return result.value
        return self._decode(await self._upstream.ask(destination, topic, self.protocol, self._encode(payload), timeout))

    async def _send_local(self, topic: str, payload: Any) -> Delivery:
        delivery = Delivery(self._own)
        route = self.bus.route("self", topic)
        if route is None:
            self._isolated(payload)
            delivery.settle(UNHANDLED)
            return delivery
        await self.bus.room(route)
        payload = self._isolated(payload)
        result = self.bus.deliver(route, self._own, payload, lambda result: delivery.settle(outcome_of(result)))
        if result is not None:
            delivery.settle(outcome_of(result))
        return delivery

    def _isolated(self, payload: Any) -> Any:
        """What a handler may change without the sender noticing, as if it had travelled."""
        return payload if type(payload) in PLAIN else self._decode(self._encode(payload))

    def _received(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        try:
            route = self.bus.route(scope, topic)
        except InvalidTopic:
            return Result(None, Refused("bad-topic"))
        if route is None:
            return NOBODY
        try:
            value = self._decode(payload)
        except InvalidPayload:
            return Result(None, Refused("bad-payload"))
        return self.bus.deliver(route, sender, value, finished)

    def _requested(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        assert finished is not None
        result = self._received(scope, topic, sender, payload, lambda result: finished(self._sealed(result)))
        return None if result is None else self._sealed(result)

    def _sealed(self, result: Result) -> Result:
        """The result with its value as it travels."""
        if result is NOBODY or result.error is not None:
            return result
        try:
            return Result(self._encode(result.value))
        except InvalidPayload as error:
            return Result(None, error)


def outcome_of(result: Result) -> Outcome:
    """How a local message ended."""
    if result is NOBODY:
        return UNHANDLED
    if result is DONE or result.error is None or not isinstance(result.error, Refused):
        return DELIVERED
    return Outcome("refused", False, str(result.error))


def raw(payload: Any) -> bytes:
    """The identity encoding: bytes only; raises InvalidPayload."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise InvalidPayload(f"this protocol carries bytes, not {type(payload).__name__}")
    return bytes(payload)
