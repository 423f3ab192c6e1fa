"""The listening end of ``mm on``, in the node: a message is handled once the command has written it.

A request is answered with what the command sends back for it, by commands that answer; else nobody listens to it.

A :class:`Subscription` belongs to a pattern and outlives the command that reads it. What a killed command had not
acknowledged goes, first and in order, to the next one with the same pattern. When none comes back within LINGER
seconds, nobody listens any more: what is in hand goes to the inbox, or is refused where that does not keep it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from mmplatform.cli.control import Served
from mmplatform.codec import encode
from mmplatform.errors import InvalidPayload, LocalError
from mmplatform.identity.keys import SignId
from mmplatform.message import Message, Priority, Retry, parse_id
from mmplatform.messaging.results import Unhandled
from mmplatform.peers.reception import SETUP_TIME
from mmplatform.platform import Platform

LINGER: Final = SETUP_TIME  # seconds: a listener may be away for as long as after a start
PARTING: Final = 0.25  # seconds in which a node notices that a command is gone
CONCURRENCY: Final = 4096  # messages in hand; the window of a peer is 8192
BATCH: Final = 128  # messages in one frame to the command
BATCH_BYTES: Final = 256 * 1024
UNWRITTEN: Final = 3 * BATCH  # messages that are with the command and not acknowledged

Entry = tuple[str, str, str, Any, dict[str, Any]]  # scope and topic, sender, name, payload, and what else is known
Item = tuple[Entry, "asyncio.Future[Any]"]


class ReplyFailed(Exception):
    """Raised in place of a reply: whoever answers could not."""


class Subscription:
    """All messages of one pattern that are in hand, oldest first; ``reader`` is the command that gets them."""

    def __init__(self, platform: Platform, pattern: str, answers: bool) -> None:
        self.pattern, self.answers = pattern, answers
        self.reader: Reader | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pending: deque[Item] = deque()
        self._over: Callable[[], Exception] | None = None  # what ends a message that comes too late
        self._platform = platform
        platform.messaging.on(pattern, self._received, concurrency=CONCURRENCY)

    async def _received(self, topic: str, sender: str, payload: Any, message: Message) -> Any:
        if self._over is not None:  # it waited in the bus
            raise self._over()
        if message.kind == "request" and not self.answers:
            raise Unhandled
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        name = self._platform.contacts.name(SignId(sender))
        self.pending.append(((topic, sender, name, payload, _about(message)), done))
        if self.reader is not None:
            self.reader.wake()
        return await done

    def written(self, count: int, replies: Sequence[Any]) -> None:
        """The oldest ``count`` are on the command's stdout, and it replies to those that are requests."""
        if not 0 <= count <= len(self.pending):
            raise LocalError(f"{count} messages acknowledged, {len(self.pending)} are in hand")
        for reply in [*replies, *[None] * count][:count]:
            _, done = self.pending.popleft()
            if done.done():  # the node is stopping
                continue
            if isinstance(reply, dict) and "error" in reply:
                done.set_exception(ReplyFailed(str(reply["error"])))
            else:
                done.set_result(reply["value"] if isinstance(reply, dict) else None)

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
                match await self._served.receive():
                    case [int(count), list(replies)] if count <= self._sent:
                        self._subscription.written(count, replies)
                        self._sent -= count
                    case other:
                        raise LocalError(f"{other!r:.100} is no acknowledgement of the {self._sent} messages sent")
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
            batch: list[Entry] = []
            size = 0
            for index in range(self._sent, min(len(pending), self._sent + BATCH)):
                entry, _ = pending[index]
                batch.append(entry)
                size += _size(entry[3])
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
        self._make(pattern, answers=False)

    async def read(self, pattern: str, served: Served, answers: bool) -> None:
        """Serve one ``mm on`` to its end; ``answers``: whether it replies to requests."""
        subscription = await self._unread(pattern) or self._make(pattern, answers)
        if subscription.answers is not answers:
            subscription.answers = answers
            self._platform.parts.reception.subscribed()  # requests that waited for one that answers
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

    def _make(self, pattern: str, answers: bool) -> Subscription:
        subscription = Subscription(self._platform, pattern, answers)
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


def _about(message: Message) -> dict[str, Any]:
    """What is known of a message beside who said what: kind and time, and of a durable one id and priority."""
    about: dict[str, Any] = {"kind": message.kind, "time": round(message.time, 3)}
    if message.id:
        about |= {"id": message.id, "priority": Priority(parse_id(message.id)[1]).name.lower()}
    return about


def _size(payload: Any) -> int:
    if isinstance(payload, str | bytes):
        return len(payload)
    if payload is None or isinstance(payload, int | float):
        return 8
    try:
        return len(encode(payload))
    except InvalidPayload:  # pragma: no cover - it came in as bytes of this encoding
        return BATCH_BYTES
