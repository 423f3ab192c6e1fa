"""Hands what came for us to handlers: what is here of one sender in the order in which it was written.

A handler that raises is called again, with pauses; after the last attempt the bundle stays, and its sender is told.
What nobody handles stays until a handler comes, or until it is over.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple, cast

from mm_services.messenger.protocol import content
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.hops import carriers
from mm_services.messenger.protocol.receipts import ReceiptState
from mm_services.messenger.receipting import Receipting
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.store import BundleStore
from mmplatform.codec import MAX_VALUES, decode
from mmplatform.errors import CodecError, MMError, ProtocolError
from mmplatform.identity.keys import Identity, SignId
from mmplatform.messaging.handlers import check_function, takes_message
from mmplatform.messaging.options import PUBLIC_SIZE, PUBLIC_VALUES

PAUSES: Final = (1.0, 4.0, 15.0)  # seconds until a handler that raised is called again
LARGE: Final = 256 * 1024  # bytes of a content that is opened in a thread; so is one that swells to a MiB
CALLED: Final = "a handler is called with (topic, sender, payload), or with the bundle as a fourth"
AT_ONCE: Final = 64  # senders whose bundles are handled side by side


class ReceivedBundle(NamedTuple):
    """A bundle that has come for us.

    Attributes:
        id: its name, 32 hexadecimal digits.
        sender: who wrote it.
        recipients: whom it is for; none when it is for everybody.
        created: when it was written, in Unix seconds by the clock of its sender.
        expires: until when it lives, in Unix seconds by ours.
        hops: to whom it was handed, in order; the last one is this node.
        topic: what it is about.
        payload: what it says.
        read: to be called when a person has read it: its sender is told.

    """

    id: str
    sender: SignId
    recipients: tuple[SignId, ...]
    created: float
    expires: float
    hops: tuple[SignId, ...]
    topic: str
    payload: Any
    read: Callable[[], Awaitable[None]]


_Called = Callable[[str, SignId, Any, ReceivedBundle], Any]
BundleHandler = _Called | Callable[[str, SignId, Any], Any]
"""Called with the topic, the sender, the payload, and the bundle if it takes four; it may be async."""


class Handling:
    """The handlers of one node.

    Args:
        identity: our keys.
        store: where the bundles are.
        secrets: gives the keys that bundles for us may be sealed to, beside that of our boxId.
        receipting: ends bundles.
        mail: takes the platform's own mail, and calls back once that is handled, or cannot be.
        failed: is told of handlers that raise, with the topic.
        is_stranger: says whether a sender is no friend and no device of ours; what it writes may be as large as any
            other payload of a stranger.

    """

    def __init__(
        self,
        identity: Identity,
        store: BundleStore,
        secrets: Callable[[], Iterable[bytes]],
        receipting: Receipting,
        mail: Callable[[bytes, Callable[[bool], None]], None],
        failed: Callable[[Exception, str], None],
        is_stranger: Callable[[SignId], bool],
    ) -> None:
        self._identity, self._store, self._secrets = identity, store, secrets
        self._receipting, self._mail, self._failed, self._is_stranger = receipting, mail, failed, is_stranger
        self._handlers: dict[str, list[_Called]] = {}
        self._unheard: dict[str, list[BundleEntry]] = {}  # those that no handler listens to, by topic
        self._queues: dict[SignId, list[tuple[int, bytes, BundleEntry]]] = {}  # heaps, by when they were written
        self._waiting: deque[SignId] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._attempts: dict[bytes, int] = {}
        self._running: dict[bytes, ReceiptState] = {}  # what handlers run on, and how it ends if they do not raise
        self._open = True
        self.given_up: dict[bytes, str] = {}
        """Bundles whose handlers failed, with the last error."""

    def on(self, topic: str, handler: BundleHandler) -> None:
        """Have bundles of ``topic`` handled, also those that are here. Raises TypeError for what is no handler."""
        check_function(handler, CALLED)
        takes_four = takes_message(handler, CALLED)
        self._handlers.setdefault(topic, []).append(cast("Any", handler) if takes_four else _without_bundle(handler))
        for entry in self._unheard.pop(topic, []):
            self.came(entry)

    def came(self, entry: BundleEntry) -> None:
        """Hand over a bundle that is for us, once those of its sender that came before are done."""
        if not self._open:
            return
        place = entry.created, entry.id, entry
        queue = self._queues.get(entry.sender)
        if queue is not None:
            heappush(queue, place)
            return
        self._queues[entry.sender] = [place]
        self._waiting.append(entry.sender)
        self._next()

    async def close(self) -> None:
        """End handlers that run; their bundles come again in the next run."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _next(self) -> None:
        while self._waiting and len(self._tasks) < AT_ONCE and self._open:
            sender = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._work(sender), name="mm messenger handler")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failed(error, "")
        self._next()

    async def _work(self, sender: SignId) -> None:
        queue = self._queues[sender]
        try:
            while queue:
                await self._handle(heappop(queue)[2])
        finally:
            del self._queues[sender]

    async def _handle(self, entry: BundleEntry) -> None:
        if self._store.find(entry.id) is None:
            return
        try:
            found = await self._store.read(entry.id)
            if found is None:
                return
            header = Header.unproven(found[0].header)
            data = await self._opened(header, found[1])
            if header.kind == Kind.MAIL:
                self._mail(data, partial(self._mail_done, entry))
                return
            topic, payload = _said(data, PUBLIC_VALUES if self._is_stranger(header.sender) else MAX_VALUES)
        except ProtocolError as error:
            self._failed(error, "")  # its sender wrote what nobody can read
            self._receipting.end(entry, ReceiptState.FAILED)
            self._store.note_handled(entry.id)
            return
        except MMError as error:
            self._failed(error, "")
            self._again(entry, error)
            return
        handlers = self._handlers.get(topic)
        if not handlers:
            self._unheard.setdefault(topic, []).append(entry)
            return
        bundle = ReceivedBundle(
            entry.id.hex(), entry.sender, entry.recipients, entry.created / 1e6, entry.expires,
            carriers(found[0].hops), topic, payload, lambda: self._read(entry),
        )  # fmt: skip
        await self._call(handlers, entry, bundle)

    async def _call(self, handlers: list[_Called], entry: BundleEntry, bundle: ReceivedBundle) -> None:
        self._running[entry.id] = ReceiptState.RECEIVED
        try:
            for handler in handlers:
                result = handler(bundle.topic, bundle.sender, bundle.payload, bundle)
                if isinstance(result, Awaitable):
                    await result
        except (Exception, asyncio.CancelledError) as error:
            if not self._open:
                raise
            told = error if isinstance(error, Exception) else RuntimeError("something that it waited for was cancelled")
            self._failed(told, bundle.topic)
            self._again(entry, told)
            return
        finally:
            state = self._running.pop(entry.id)
        self._attempts.pop(entry.id, None)
        self.given_up.pop(entry.id, None)
        self._receipting.end(entry, state)
        await self._receipting.room()

    def _mail_done(self, entry: BundleEntry, handled: bool) -> None:
        """End mail of the platform. What cannot be handled is nobody's; what is done after the end comes again."""
        if not self._open:
            return
        self._receipting.end(entry, ReceiptState.RECEIVED if handled else ReceiptState.FAILED)
        if not handled:
            self._store.note_handled(entry.id)

    async def _opened(self, header: Header, sealed: bytes) -> bytes:
        bounded = header.kind != Kind.MAIL and self._is_stranger(header.sender)
        secrets, most = tuple(self._secrets()), PUBLIC_SIZE if bounded else header.kind.largest
        if len(sealed) < LARGE:
            try:
                return content.opened(header, sealed, self._identity, secrets, min(most, PUBLIC_SIZE))
            except ProtocolError as error:
                if error.reason != "too-big" or most <= PUBLIC_SIZE:
                    raise
        return await asyncio.to_thread(content.opened, header, sealed, self._identity, secrets, most)

    def _again(self, entry: BundleEntry, error: Exception) -> None:
        """Hand a bundle over again later, or give it up; those behind it pass meanwhile."""
        attempt = self._attempts.get(entry.id, 0)
        self._attempts[entry.id] = attempt + 1
        if attempt < len(PAUSES):
            loop = asyncio.get_running_loop()
            self._timers[entry.id] = loop.call_later(PAUSES[attempt], self._due, entry)
            return
        del self._attempts[entry.id]
        self.given_up[entry.id] = f"{type(error).__name__}: {error}"
        self._receipting.end(entry, ReceiptState.FAILED)

    def _due(self, entry: BundleEntry) -> None:
        self._timers.pop(entry.id, None)
        self.came(entry)

    async def _read(self, entry: BundleEntry) -> None:
        """Tell the sender that it was read; while handlers run, once they are done: they may still raise."""
        if entry.id in self._running:
            self._running[entry.id] = ReceiptState.READ
        else:
            self._receipting.end(entry, ReceiptState.READ)


def _without_bundle(handler: Callable[..., Any]) -> _Called:
    """Return a handler of four arguments that leaves out the fourth."""
    return lambda topic, sender, payload, bundle: handler(topic, sender, payload)


def _said(data: bytes, most: int) -> tuple[str, Any]:
    """Return the topic and the payload of a message of at most ``most`` values. Raises ProtocolError."""
    try:
        said = decode(data, most)
    except CodecError as error:
        raise ProtocolError("bad-content", str(error)) from None
    if not isinstance(said, list) or len(said) != 2 or not isinstance(said[0], str):
        raise ProtocolError("bad-content", "a message is a topic and a payload")
    return said[0], said[1]
