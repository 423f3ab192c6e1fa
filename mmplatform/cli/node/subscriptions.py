"""The listening end of ``mm on``, in the node: a message is handled once the command has written it.

A :class:`Subscription` belongs to a pattern and outlives the command that reads it. What a killed command had not
acknowledged goes, first and in order, to the next one with the same pattern. A pattern that somebody listened to is
kept in the storage, so a node that is killed takes it up again before it lets anybody in. When no command comes back
within LINGER seconds, the messages in hand end as nobody's: ``unhandled``, which their senders see.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mmplatform.cli.control import Served
from mmplatform.codec import encode
from mmplatform.errors import InvalidPayload, LocalError, Refused
from mmplatform.identity.keys import SignId
from mmplatform.platform import Platform

LINGER: Final = 60.0  # seconds
PARTING: Final = 0.25  # seconds in which a node notices that a command is gone
CONCURRENCY: Final = 4096  # messages in hand; the window of a peer is 8192
BATCH: Final = 128  # messages in one frame to the command
BATCH_BYTES: Final = 256 * 1024
UNWRITTEN: Final = 3 * BATCH  # messages that are with the command and not acknowledged

Item = tuple[str, str, str, Any, "asyncio.Future[None]"]
NOBODY_CAME: Final = "unhandled"


class Subscription:
    """All messages of one pattern that are in hand, oldest first; ``reader`` is the command that gets them."""

    def __init__(self, platform: Platform, pattern: str) -> None:
        self.pattern = pattern
        self.reader: Reader | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pending: deque[Item] = deque()
        self._ended = False
        self._platform = platform
        platform.messaging.on(pattern, self._received, concurrency=CONCURRENCY)

    async def _received(self, topic: str, sender: str, payload: Any) -> None:
        if self._ended:  # it waited in the bus
            self._check_others(topic)
            return
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
        """Nobody reads it any more; what another subscription also has is not lost with this one."""
        self._ended = True
        self._platform.messaging.off(self.pattern, self._received)
        for topic, _, _, _, done in self.pending:
            try:
                self._check_others(topic)
                if not done.done():
                    done.set_result(None)
            except Refused as refused:
                if not done.done():
                    done.set_exception(refused)
        self.pending.clear()

    def _check_others(self, topic: str) -> None:
        scope, _, rest = topic.partition(".")
        if self._platform.messaging.bus.route(scope, rest) is None:
            raise Refused(NOBODY_CAME)


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

    def __init__(self, platform: Platform, lingering: bool, opened: Callable[[], None]) -> None:
        self._platform, self._lingering, self._opened = platform, lingering, opened
        self._all: dict[str, list[Subscription]] = {}

    async def restore(self, expected: str | None) -> None:
        """Subscribe before anybody can reach this node: what ``mm on`` itself wants, and what others wanted before."""
        if expected is not None:
            self._make(expected)
        for key, _ in await self._platform.storage.scan(b"listen/"):
            pattern = key[7:].decode()
            if pattern != expected:
                self._linger(self._make(pattern))

    async def read(self, pattern: str, served: Served) -> None:
        """Serve one ``mm on`` to its end."""
        subscription = await self._unread(pattern) or self._make(pattern)
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        reader = subscription.reader = Reader(subscription, served)
        self._opened()
        try:
            await self._platform.storage.put(b"listen/" + pattern.encode(), b"")
            await served.send([])  # listening
            await reader.run()
        finally:
            subscription.reader = None
            self._linger(subscription)

    def close(self) -> None:
        """The node stops; what is in hand comes again."""
        for subscription in self._everyone():
            if subscription.timer is not None:
                subscription.timer.cancel()

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
        self._all[subscription.pattern].remove(subscription)
        subscription.end()
        if not self._all[subscription.pattern] and self._platform.ready:
            self._platform.storage.write([(b"listen/" + subscription.pattern.encode(), None)], sync=False)

    def _everyone(self) -> list[Subscription]:
        return [subscription for several in self._all.values() for subscription in several]


def _size(payload: Any) -> int:
    if isinstance(payload, str | bytes):
        return len(payload)
    if payload is None or isinstance(payload, int | float):
        return 8
    try:
        return len(encode(payload))
    except InvalidPayload:  # pragma: no cover - it came in as bytes of this encoding
        return BATCH_BYTES
