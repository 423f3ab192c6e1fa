"""Checks the topics of remote messages and hands each message to the API of its protocol."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from mmplatform.delivery.wire import Event
from mmplatform.errors import InvalidTopic, LocalError, Refused
from mmplatform.events import Events
from mmplatform.identity.circles import is_control_topic
from mmplatform.message import MAX_PAYLOAD, Message, Scope, check_topic
from mmplatform.messaging.bus import MAX_PUBLIC_ROUTES, MAX_ROUTES, forget_oldest
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.messaging.results import DONE, NOBODY, Finished, HoldCount, Result
from mmplatform.text import escaped

log = logging.getLogger("mmplatform.messaging")


class OnReply(Protocol):
    """Is called with the reply to a request, or with the result when there is none."""

    @property
    def held(self) -> HoldCount:
        """Count for what is held for the peer that asks."""
        ...

    @property
    def clogged(self) -> bool:
        """Whether the peer does not read what it has asked for."""
        ...

    def __call__(self, reply: bytes | Result, /) -> None:
        """Take the reply."""
        ...

    @property
    def wanted(self) -> bool:
        """Whether the peer still waits for the reply."""
        ...

    def message(self) -> Message:
        """Make the message for one handler that has a fourth parameter."""
        ...


class ProtocolHandler(Protocol):
    """Takes the remote messages of one protocol. Topics are checked before; payloads are not."""

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Handle a realtime message; nobody waits for its end. ``payload`` is hostile input; ``held`` counts it
        while it waits for its handlers."""

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Handle a durable message: return its result, or None and call ``finished`` with it later."""

    def on_request(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Handle a request like ``on_message``; a result that has a value is given as the bytes of that value."""

    def listens(self, scope: Scope, topic: str) -> bool:
        """Whether somebody would take a message; those that are kept are handed over when that becomes true."""
        ...

    def largest(self) -> int:
        """Return the bytes that a stranger's payload may have: a larger one is not even put together."""
        ...

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End what waits of ``sender`` under any scope but ``scope``, its own from now on; None when it is blocked."""
        ...

    async def end(self, grace: float) -> list[str]:
        """End all handlers, which have ``grace`` seconds for it; return the names of those that do not end."""
        ...


class Dispatcher:
    """Hands what peers send to the handler of its protocol. Refuses control topics to peers of every scope."""

    def __init__(self, events: Events) -> None:
        self.protocols: dict[str, ProtocolHandler] = {}
        self.internal: set[str] = set()  # protocols of the platform itself
        self.attached: Callable[[], None] | None = None  # called when a protocol has got its handler
        self._events = events
        self._allowed: dict[str, None] = {}  # topics that were checked before, the oldest first
        self._allowed_public: dict[str, None] = {}  # those of strangers, who can invent any number

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        """Hand what comes for ``protocol`` to ``handler``. Raises LocalError when another one has it."""
        if protocol in self.protocols:
            raise LocalError(f"the protocol {protocol!r} has an API already")
        self.protocols[protocol] = handler
        if self.attached is not None:
            self.attached()

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End what waits of ``sender`` under any scope but ``scope``, which may be none."""
        for handler in self.protocols.values():
            handler.refuse(sender, scope)

    def listens(self, scope: Scope, topic: str, protocol: str) -> bool:
        """Whether somebody would take a message of a peer."""
        handler = self.protocols.get(protocol)
        if handler is not None and handler.listens(scope, topic):
            return True
        return self._events.watched and protocol not in self.internal

    def largest(self, scope: Scope) -> int:
        """Return the bytes that a payload of a peer in ``scope`` may have: a larger one is not even put together."""
        if scope != "public":
            return MAX_PAYLOAD
        return max((handler.largest() for handler in self.protocols.values()), default=PUBLIC_SIZE)

    def message(
        self, scope: Scope, peer: str, topic: str, protocol: str, payload: bytes, finished: Finished
    ) -> Result | None:
        """Dispatch a durable message; return its result, or None and call ``finished`` with it later."""
        allowed = self._allowed_public if scope == "public" else self._allowed
        if topic not in allowed and not self._allow(topic, scope):
            return Result(None, Refused("bad-topic"))
        watched = self._events.watched and protocol not in self.internal
        if watched:
            self._tell(finished.message())
        handler = self.protocols.get(protocol)
        try:
            result = handler.on_message(scope, topic, peer, payload, finished) if handler is not None else NOBODY
        except Exception as error:  # a layer between the API and us failed: the link of the peer must not end for that
            self._events.failed(error, topic)
            return Result(None, error)
        return DONE if watched and result is NOBODY else result

    def events(self, scope: Scope, peer: str, events: list[Event], held: HoldCount) -> None:
        """Dispatch realtime messages of a peer; malformed topics and unknown protocols are dropped."""
        watchers = self._events
        topic = protocol = ""
        allowed, handler = False, None
        for event in events:
            if event.topic != topic or event.protocol != protocol:  # most have those of the one before
                topic, protocol = event.topic, event.protocol
                allowed = topic in self._checked(scope) or self._allow(topic, scope)
                handler = self.protocols.get(protocol)
            if not allowed:
                continue
            if watchers.watched and protocol not in self.internal:
                self._tell(Message(topic, protocol, event.payload, peer, scope, "realtime", "", time.time()))
            if handler is not None:
                try:
                    handler.on_event(scope, topic, peer, event.payload, held)
                except Exception as error:
                    watchers.failed(error, topic)

    def request(
        self, scope: Scope, peer: str, topic: str, protocol: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Dispatch a request of a peer; return the reply or the error, or None and call ``finished`` later."""
        allowed = self._allowed_public if scope == "public" else self._allowed
        if topic not in allowed and not self._allow(topic, scope):
            return Result(None, Refused("bad-topic"))
        handler = self.protocols.get(protocol)
        if handler is None:
            return NOBODY
        try:
            return handler.on_request(scope, topic, peer, payload, finished)
        except Exception as error:
            self._events.failed(error, topic)
            return Result(None, error)

    def _tell(self, message: Message) -> None:
        message.open = False  # who watches handles nothing
        self._events.emit("message", message)

    def _checked(self, scope: Scope) -> dict[str, None]:
        return self._allowed_public if scope == "public" else self._allowed

    def _allow(self, topic: str, scope: Scope) -> bool:
        """Whether a peer of ``scope`` may use ``topic``: well formed, and no control topic."""
        try:
            allowed = not is_control_topic(check_topic(topic))
        except InvalidTopic:
            allowed = False
        if not allowed:
            log.debug("a peer may not use the topic %s", escaped(topic))
        if allowed:
            checked = self._checked(scope)
            forget_oldest(checked, MAX_PUBLIC_ROUTES if scope == "public" else MAX_ROUTES)
            checked[topic] = None
        return allowed
