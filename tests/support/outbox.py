"""An outbox with what a platform would do around it, and a disk that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mmplatform.accounts import Accounts
from mmplatform.delivery.wire import Ack, End, Record
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import (
    StorageFull,
)
from mmplatform.message import Delivery, Priority
from mmplatform.storage.contract import Row, Storage
from tests.support import waiting

BOB = "B" * 43 + "="
CAROL = "C" * 43 + "="
NORMAL = Priority.NORMAL
LATER = 10**13


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Node:
    """An outbox on a storage, with what a platform would do around it."""

    def __init__(self, storage: Storage, epoch: int = 5) -> None:
        self.storage = storage
        self.clock = Clock()
        self.woken: list[str] = []
        self.errors: list[Exception] = []
        self.known = {BOB, CAROL}
        self.outbox = Outbox(
            storage, epoch, self.clock, self.woken.append, self.errors.append, self.known.__contains__, Accounts().disk
        )

    async def send(self, payload: bytes = b"x", peer: str = BOB, lane: int = NORMAL, expires: int = LATER) -> Delivery:
        delivery, saved = self.outbox.put(self.outbox.queue(peer), lane, "chat", "ms", payload, expires)
        await saved
        return delivery

    async def send_to_all(
        self, payload: bytes = b"x", peers: Sequence[str] = (BOB, CAROL), lane: int = NORMAL, expires: int = LATER
    ) -> list[Delivery]:
        queues = [self.outbox.queue(peer) for peer in peers]
        return await self.outbox.put_all(queues, lane, "chat", "ms", payload, expires)

    def link(self, peer: str = BOB, acks: Sequence[Ack] = ()) -> PeerQueue:
        queue = self.outbox.queue(peer)
        queue.linked = True
        for settled in queue.sender.link_up(acks):
            self.outbox.settle(peer, settled)
        self.outbox.refill(peer)
        return queue

    def take(self, peer: str = BOB, budget: int = 1 << 20) -> list[Record]:
        """What goes out next; what has expired is settled."""
        batches, expired = self.outbox.queue(peer).sender.take(budget, 1 << 30, int(self.clock() * 1000))
        for settled in expired:
            self.outbox.settle(peer, settled)
        return [record for batch in batches for record in batch.records]

    def acknowledge(
        self,
        upto: int,
        peer: str = BOB,
        epoch: int = 0,
        ranges: list[tuple[int, int]] | None = None,
        outcomes: list[tuple[int, int, End, str]] | None = None,
        lane: int = NORMAL,
    ) -> None:
        ack = Ack(lane, epoch or self.outbox.epoch, upto, ranges or [], outcomes or [], [])
        settled = self.outbox.queue(peer).sender.acknowledge(ack)
        if settled is not None:
            self.outbox.settle(peer, settled)
        self.outbox.refill(peer)

    async def drain(self, peer: str = BOB) -> list[tuple[int, Record]]:
        """Send and acknowledge until nothing is left; (epoch, record) in the order it went out."""
        out: list[tuple[int, Record]] = []
        queue = self.outbox.queue(peer)

        def step() -> bool:
            batches, _ = queue.sender.take(1 << 20, 1 << 30, 0)
            for batch in batches:
                out.extend((batch.epoch, record) for record in batch.records)
                self.acknowledge(batch.records[-1].seq, peer, batch.epoch, lane=batch.lane)
            return queue.empty

        await until(step)
        return out


async def turn() -> None:
    """One turn of the loop, and of the storage's thread."""
    await asyncio.sleep(0)


async def until(true: Callable[[], Any]) -> None:
    """Wait until ``true()`` is, and leave the thread of the storage its turns."""
    await waiting.until(true, 20)


async def rows(storage: Storage, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return await storage.scan(prefix)


@asynccontextmanager
async def running(storage: Storage, epoch: int = 5) -> AsyncIterator[Node]:
    async with storage:
        node = Node(storage, epoch)
        await node.outbox.open()
        yield node
        await node.outbox.close()


def full(storage: Storage, monkeypatch: pytest.MonkeyPatch, error: type[Exception] = StorageFull) -> Callable[[], None]:
    """The disk is full until the returned function is called."""
    write = storage.write
    broken = [True]

    def failing(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        if not broken[0]:
            return write(rows, sync=sync)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error("no space left"))
        return future

    monkeypatch.setattr(storage, "write", failing)
    return lambda: broken.__setitem__(0, False)
