"""The listening end of ``mm on``, in the node: a message is handled once the command has written it.

A :class:`Subscription` belongs to a pattern and outlives the command that reads it. What a killed command had not
acknowledged goes, first and in order, to the next one with the same pattern. When none comes back within LINGER
seconds, nobody listens any more: what is in hand goes to the inbox, or is refused where that does not keep it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mmplatform.cli.control import Served
from mmplatform.codec import encode
from mmplatform.errors import InvalidPayload, LocalError
from mmplatform.identity.keys import SignId
from mmplatform.message import Retry
from mmplatform.messaging.results import Unhandled
from mmplatform.peers.reception import SETUP_TIME
from mmplatform.platform import Platform

LINGER: Final = SETUP_TIME  # seconds: a listener may be away for as long as after a start
PARTING: Final = 0.25  # seconds in which a node notices that a command is gone
CONCURRENCY: Final = 4096  # messages in hand; the window of a peer is 8192
BATCH: Final = 128  # messages in one frame to the command
BATCH_BYTES: Final = 256 * 1024
UNWRITTEN: Final = 3 * BATCH  # messages that are with the command and not acknowledged

Item = tuple[str, str, str, Any, "asyncio.Future[None]"]


class Subscription:
    """All messages of one pattern that are in hand, oldest first; ``reader`` is the command that gets them."""

    def __init__(self, platform: Platform, pattern: str) -> None:
        self.pattern = pattern
        self.reader: Reader | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pending: deque[Item] = deque()
        self._over: Callable[[], Exception] | None = None  # what ends a message that comes too late
        self._platform = platform
        platform.messaging.on(pattern, self._received, concurrency=CONCURRENCY)

    async def _received(self, topic: str, sender: str, payload: Any) -> None:
        if self._over is not None:  # it waited in the bus
            raise self._over()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending.append((topic, sender, self._platform.contacts.name(SignId(sender)), payload, done))
        if self.reader is not None:
            self.reader.wake()
        await done

    def written(self, count: int) -> None:
        """The oldest ``count`` are on the command's stdout."""
        if not 0 <= count <= len(self.pending):
            raise LocalError(f"{count} messages acknowledged, {len(self.pending)} are in hand")
        for _ in range(count):
            done = self.pending.popleft()[-1]
            if not done.done():  # else the node is stopping
                done.set_result(None)

    def end(self) -> None:
        """Nobody reads it any more; what another subscription has, too, is that one's."""
        self._platform.messaging.off(self.pattern, self._received)
        self._end_with(Unhandled)

    def close(self) -> None:
        """Leave what is in hand unfinished: the node stops, and gets it again when it is back."""
        if self.timer is not None:
            self.timer.cancel()
        self._end_with(lambda: Retry(LINGER))

    def _end_with(self, over: Callable[[], Exception]) -> None:
        self._over = over
        for *_, done in self.pending:
            if not done.done():
                done.set_exception(over())
        self.pending.clear()


class Reader:
    """One ``mm on`` at work on a subscription."""

    def __init__(self, subscription: Subscription, served: Served) -> None:
        self._subscription, self._served = subscription, served
        self._news = asyncio.Event()
        self._sent = 0  # of the pending ones, with the command

    def wake(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Until the command goes away."""
        writer = asyncio.ensure_future(self._write())
        try:
            while True:
                count = await self._served.receive()
                if not isinstance(count, int) or count > self._sent:
                    raise LocalError(f"{count!r} messages acknowledged, {self._sent} were sent")
                self._subscription.written(count)
                self._sent -= count
                self._news.set()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        pending = self._subscription.pending
        while True:
            if self._sent >= len(pending) or self._sent >= UNWRITTEN:
                self._news.clear()
                await self._news.wait()
                continue
            batch: list[tuple[str, str, str, Any]] = []
            size = 0
            for index in range(self._sent, min(len(pending), self._sent + BATCH)):
                topic, sender, name, payload, _ = pending[index]
                batch.append((topic, sender, name, payload))
                size += _size(payload)
                if size > BATCH_BYTES:
                    break
            self._sent += len(batch)
            await self._served.send(batch)


class Subscriptions:
    """Those of one node. ``lingering`` False keeps what nobody reads until the node ends: a command's own node."""

    def __init__(self, platform: Platform, lingering: bool) -> None:
        self._platform, self._lingering = platform, lingering
        self._all: dict[str, list[Subscription]] = {}

    def expect(self, pattern: str) -> None:
        """Subscribe before anybody can reach this node, for an ``mm on`` that is about to read it."""
        self._make(pattern)

    async def read(self, pattern: str, served: Served) -> None:
        """Serve one ``mm on`` to its end."""
        subscription = await self._unread(pattern) or self._make(pattern)
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        reader = subscription.reader = Reader(subscription, served)
        try:
            await served.send([])  # listening
            await reader.run()
        finally:
            subscription.reader = None
            self._linger(subscription)

    def close(self) -> None:
        """The node stops."""
        for several in self._all.values():
            for subscription in several:
                subscription.close()

    async def _unread(self, pattern: str) -> Subscription | None:
        """One that waits for a reader. That of a command killed just now may be about to: it holds what that one
        had not written, and must not be passed by."""
        until = asyncio.get_running_loop().time() + PARTING
        while several := self._all.get(pattern):
            for subscription in several:
                if subscription.reader is None:
                    return subscription
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(PARTING / 20)
        return None

    def _make(self, pattern: str) -> Subscription:
        subscription = Subscription(self._platform, pattern)
        self._all.setdefault(pattern, []).append(subscription)
        return subscription

    def _linger(self, subscription: Subscription) -> None:
        if self._lingering:
            subscription.timer = asyncio.get_running_loop().call_later(LINGER, self._end, subscription)

    def _end(self, subscription: Subscription) -> None:
        several = self._all[subscription.pattern]
        several.remove(subscription)
        if not several:
            del self._all[subscription.pattern]
        subscription.end()


def _size(payload: Any) -> int:
    if isinstance(payload, str | bytes):
        return len(payload)
    if payload is None or isinstance(payload, int | float):
        return 8
    try:
        return len(encode(payload))
    except InvalidPayload:  # pragma: no cover - it came in as bytes of this encoding
        return BATCH_BYTES
