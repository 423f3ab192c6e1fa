"""What APIs stand on: the platform itself, or a layer in between."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from mmplatform.message import DEFAULT_EXPIRY, Delivery, Priority, PriorityName
from mmplatform.messaging.dispatch import ProtocolHandler
from mmplatform.messaging.work import OnError


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
            destination: the signId or the name of the peer, or a list or circle.
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
        unfit: Callable[[Any, Exception], Exception],
        expire_after: float,
        priority: Priority | PriorityName,
    ) -> Coroutine[Any, Any, Delivery]:
        """Send a durable message like :meth:`post`, whose bytes ``encode(payload)`` gives once there is room for them:
        of many large ones, all would be in memory twice. Where that fails, ``unfit(payload, error)`` is raised."""
        ...

    def ask(
        self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float, patience: float = 0.0
    ) -> Coroutine[Any, Any, bytes] | asyncio.Future[bytes]:
        """Send a request to ``destination``, a signId; awaiting the result gives the bytes of the reply.

        Raises RequestTimeout after ``timeout`` seconds, Unreachable where no attempt has reached the peer for a second,
        or for ``patience`` seconds if that is more, RequestFailed, NoResponders, or what :meth:`post`
        raises.
        """
        ...

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        """Hand the messages and requests of ``protocol`` to ``handler``. Raises LocalError when another one has it."""
