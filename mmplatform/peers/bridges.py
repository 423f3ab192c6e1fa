"""Requests to and from peers of other networks, by way of services that know them (``plugins/bridge.py``)."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.errors import LocalError, NoResponders, Refused, RequestFailed, RequestTimeout
from mmplatform.message import Message, Scope
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.results import NOBODY, Result
from mmplatform.plugins.bridge import NetworkBridge
from mmplatform.text import escaped, quoted

LONGEST_SCHEME: Final = 16


class Bridges:
    """The bridges of one node, by scheme."""

    def __init__(self, dispatcher: Dispatcher, now: Callable[[], float]) -> None:
        self._dispatcher, self._now = dispatcher, now
        self._by_scheme: dict[str, NetworkBridge] = {}

    def add(self, scheme: str, bridge: NetworkBridge) -> None:
        """Have destinations that begin with ``scheme`` and a colon asked by ``bridge``. Raises LocalError."""
        if not (scheme.isascii() and scheme.isalnum() and scheme.islower() and len(scheme) <= LONGEST_SCHEME):
            raise LocalError(f"{quoted(scheme)} is no scheme: small letters and digits")
        if scheme in self._by_scheme:
            raise LocalError(f"another service is the bridge of {scheme}:")
        self._by_scheme[scheme] = bridge

    def remove(self, scheme: str) -> None:
        """Have nobody ask destinations of ``scheme`` any more."""
        self._by_scheme.pop(scheme, None)

    def find(self, destination: object) -> tuple[NetworkBridge, str] | None:
        """Return the bridge that asks ``destination``, and its name over there; None when none does."""
        if not self._by_scheme or not isinstance(destination, str):
            return None
        scheme, colon, peer = destination.partition(":")
        bridge = self._by_scheme.get(scheme) if colon else None
        return None if bridge is None else (bridge, peer)

    async def hand_in(
        self, scope: Scope, topic: str, protocol: str, sender: str, payload: bytes, timeout: float
    ) -> bytes:
        """Hand a request of another network to the handlers of this node; return the bytes of the reply.

        Raises NoResponders, Refused with a text for who asks, RequestFailed with the class and text of what else a
        handler has raised, or RequestTimeout.
        """
        asked = _Asked(Message(topic, protocol, payload, sender, scope, "request", "", self._now(), 0.0))
        result = self._dispatcher.request(scope, sender, topic, protocol, payload, asked)
        if result is not None:
            asked(result)
        try:
            async with asyncio.timeout(timeout):
                answer = await asked.answer
        except TimeoutError:
            raise RequestTimeout(f"the handlers of {topic} have not answered within {timeout:g} s") from None
        finally:
            asked.wanted = False
        if isinstance(answer, bytes):
            return answer
        if answer is NOBODY:
            raise NoResponders(f"nobody here listens to {topic}")
        if isinstance(answer.error, Refused):
            raise answer.error
        raise RequestFailed(f"{type(answer.error).__name__}: {escaped(answer.error)}")


class _Asked:
    """One request that was handed in; called with its reply or its result."""

    clogged = False

    def __init__(self, message: Message) -> None:
        self._message = message
        self.wanted = True
        self.answer: asyncio.Future[bytes | Result] = asyncio.get_running_loop().create_future()

    def __call__(self, reply: bytes | Result, /) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def message(self) -> Message:
        return self._message

    @property
    def held(self) -> "_Asked":
        """Count for nothing: the bridge bounds what it hands in, and waits for each."""
        return self

    @property
    def party(self) -> object:
        return self._message.sender

    def hold(self, size: int) -> None:
        """Do nothing; see ``held``."""

    def free(self, size: int) -> None:
        """Do nothing; see ``held``."""
