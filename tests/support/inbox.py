"""An inbox with what a platform would do around it, and a program whose handlers a test directs."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from mmplatform.accounts import Account, Accounts
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.receipts import Entry
from mmplatform.delivery.wire import End, Record
from mmplatform.durable.handled import Handled
from mmplatform.durable.handled_log import HandledLog
from mmplatform.durable.inbox import Inbox, InboxLimits
from mmplatform.durable.inbox_contents import InboxContents, InboxEntry
from mmplatform.durable.inbox_rows import InboxMessage
from mmplatform.durable.kept import Kept
from mmplatform.events import Events
from mmplatform.messaging.dispatch import Dispatcher, OnReply
from mmplatform.messaging.results import DONE, NOBODY, Finished, HoldCount, Result
from mmplatform.peers.reception import Reception
from mmplatform.peers.redelivery import Redelivery
from mmplatform.storage.contract import Storage
from tests.support.outbox import BOB, CAROL, LATER, Clock, until

EndOfOne = tuple[int, int, int, End, str]  # lane, epoch, number, end, text for the sender

STRANGER = "S" * 43 + "="


def message(
    seq: int, topic: str = "chat", peer: str = BOB, payload: bytes = b"x", expires: int = LATER
) -> InboxMessage:
    return InboxMessage(peer, 2, 7, seq, topic, "ms", payload, expires, 1_000_000)


class Keeper:
    """An inbox on a storage. ``told``: the ends that senders were told; nothing is told that is not saved."""

    def __init__(
        self, storage: Storage, limits: InboxLimits | None = None, log: HandledLog | None = None, now: float = 1000.0
    ) -> None:
        self.storage, self.clock = storage, Clock()
        self.clock.now = now
        self.errors: list[Exception] = []
        self.told: list[tuple[str, EndOfOne]] = []
        self.freed: list[str] = []
        self._telling = 0
        self.handled = Handled(
            storage,
            self.clock,
            lambda peer: peer != STRANGER,
            lambda peer, acks: None,
            self.errors.append,
            Accounts(),
            log,
        )
        self.kept = Kept(storage)
        self.inbox = Inbox(
            storage, self.handled, self.clock, self._tell, lambda peer: peer not in (BOB, CAROL), self.errors.append,
            limits or InboxLimits(),
        )  # fmt: skip
        self.handled.tell = self.inbox.tell
        self.handled.watch(self.inbox.saved)
        self.handled.watch(self.kept.saved)
        self.inbox.freed = self.freed.append
        self.contents = InboxContents(self.inbox)

    def _tell(self, peer: str, ends: list[Entry]) -> None:
        def saved(done: asyncio.Future[None]) -> None:
            self._telling -= 1
            if done.exception() is None:
                self.told += [
                    (peer, (lane, epoch, seq, end, text))
                    for lane, epoch, low, high, end, text in ends
                    for seq in range(low, high + 1)
                ]

        self._telling += 1
        self.storage.write([]).add_done_callback(saved)

    def keep(self, *messages: InboxMessage) -> None:
        for each in messages:
            self.inbox.put(each)

    async def saved(self) -> None:
        """Wait until all that was attached is on disk, and what follows from that has happened."""
        handled = self.handled
        await until(lambda: not (handled._attached or handled._busy or handled._scheduled or self._telling))

    async def list(self, sender: str = "", *, failed: bool = False) -> list[InboxEntry]:
        await self.saved()
        return [entry async for entry in self.contents.entries(sender, failed=failed)]

    async def open(self) -> None:
        await self.inbox.open(await self.handled.open())
        self.inbox.begin()


@asynccontextmanager
async def keeping(
    storage: Storage, limits: InboxLimits | None = None, log: HandledLog | None = None, now: float = 1000.0
) -> AsyncIterator[Keeper]:
    async with storage:
        keeper = Keeper(storage, limits, log, now)
        await keeper.open()
        yield keeper
        keeper.inbox.close()
        await keeper.handled.close()


class Program:
    """Stands for the API of a protocol: ``topics`` that it listens to, and how its handlers end, by ``answer``.

    ``given``: topic and payload of each message that it was handed. ``at_work``: the ends of those that it answered
    with None, to be called by the test.
    """

    def __init__(self, *topics: str) -> None:
        self.topics: Collection[str] = set(topics)
        self.given: list[tuple[str, bytes]] = []
        self.at_work: deque[Finished] = deque()
        self.answer: Callable[[bytes], Result | None] = lambda payload: DONE
        self.reply: bytes | Result | None = NOBODY

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.given]

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        raise AssertionError("nothing realtime is tested here")

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        if topic not in self.topics:
            return NOBODY
        self.given.append((topic, payload))
        result = self.answer(payload)
        if result is None:
            self.at_work.append(finished)
        return result

    def on_request(
        self, scope: str, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        return self.reply

    def listens(self, scope: str, topic: str) -> bool:
        return topic in self.topics

    def largest(self) -> int:
        return 0

    async def end(self, grace: float) -> list[str]:
        return []

    def at_work_forever(self) -> None:
        """Answer no message until the test does."""
        self.answer = lambda payload: None

    def finish(self, result: Result = DONE) -> None:
        """End the message that is at work for longest."""
        self.at_work.popleft()(result)


class Desk(Keeper):
    """An inbox whose messages are handed to a :class:`Program`, by the policy of a node."""

    def __init__(
        self, storage: Storage, limits: InboxLimits | None = None, log: HandledLog | None = None, now: float = 1000.0
    ) -> None:
        super().__init__(storage, limits, log, now)
        self.program = Program()
        self.events = Events()
        self.dispatcher = Dispatcher(self.events)
        self.dispatcher.attach("ms", self.program)
        self.asking: set[str] = set()
        self.again: list[str | None] = []
        self.scopes = {BOB: "friends", CAROL: "friends"}
        self.reception = Reception(
            self.inbox, self.kept, {"receipt"}, ("self", "friends"), self.asking.__contains__, self.again.append,
            self.clock,
        )  # fmt: skip
        self.redelivery = Redelivery(
            self.inbox, self.handled, self.dispatcher, self.reception, lambda peer: self.scopes.get(peer, "public"),
            self.clock, self.errors.append,
        )  # fmt: skip
        self.inbox.grown, self.inbox.freed = self.redelivery.grown, self.again.append

    def listen(self, *topics: str) -> None:
        """Subscribe to ``topics``, and to no others."""
        self.program.topics = set(topics)
        self.reception.subscribed()
        self.redelivery.look()


@asynccontextmanager
async def at_desk(
    storage: Storage, limits: InboxLimits | None = None, log: HandledLog | None = None, now: float = 1000.0
) -> AsyncIterator[Desk]:
    async with storage:
        desk = Desk(storage, limits, log, now)
        await desk.open()
        desk.redelivery.begin()
        yield desk
        desk.reception.close()
        await desk.redelivery.close()
        desk.inbox.close()
        await desk.handled.close()


def stream(lane: int = 2, epoch: int = 7) -> Stream:
    return Stream(lane, epoch, Account(1 << 20))


def record(seq: int, topic: str = "chat", payload: bytes = b"x", protocol: str = "ms") -> Record:
    return Record(seq, LATER, topic, protocol, payload)
