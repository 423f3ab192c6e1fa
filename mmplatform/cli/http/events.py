"""One program that listens: the messages of a pattern as server-sent events (WHATWG HTML, section 9.2).

An event is ``SUBSCRIPTION.NUMBER``. The program says up to which number it has handled them; what it has not when it
goes comes again, to the next one that listens to the same pattern. With ``confirm=auto`` an event counts as handled
once it is written.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mmplatform.cli.control import Channel
from mmplatform.cli.http.calls import BadCall
from mmplatform.cli.output import to_json

KIND: Final = "text/event-stream"
ALIVE: Final = 15.0  # seconds after which a comment says that the connection is up


class Listening:
    """One subscription that is read. ``write`` sends bytes and waits for a slow reader."""

    def __init__(self, channel: Channel, write: Callable[[bytes], Awaitable[None]], auto: bool) -> None:
        self.name = secrets.token_urlsafe(9)
        self._channel, self._write, self._auto = channel, write, auto
        self._written = 0
        self._handled = 0

    async def run(self) -> None:
        """Write events until the node or the program goes."""
        await self._write(_event("subscribed", f"{self.name}.0", {"subscription": self.name}))
        alive = asyncio.ensure_future(self._keep_alive())
        try:
            async for batch in self._channel:
                for topic, sender, name, payload, about in batch:
                    self._written += 1
                    told = {"topic": topic, "sender": sender, "name": name, "payload": payload, **about}
                    await self._write(_event("message", f"{self.name}.{self._written}", told))
                if self._auto and batch:
                    self._handled = self._written
                    await self._channel.send([len(batch), []])
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)

    async def handled(self, number: int, reply: dict[str, Any] | None) -> None:
        """Confirm the messages up to ``number``, and reply to that one. Raises BadCall."""
        if self._auto:
            raise BadCall("this subscription confirms by itself: it was asked for with confirm=auto")
        if number > self._written:
            raise BadCall(f"event {number} has not been sent; the last one is {self._written}")
        count = number - self._handled
        if count <= 0:
            if reply is not None:
                raise BadCall(f"event {number} is confirmed already; a reply goes with the confirmation")
            return
        self._handled = number
        await self._channel.send([count, [*[None] * (count - 1), reply]])

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE)
            await self._write(b":\n\n")


def _event(kind: str, identifier: str, value: dict[str, Any]) -> bytes:
    return f"event: {kind}\nid: {identifier}\ndata: {to_json(value)}\n\n".encode()
