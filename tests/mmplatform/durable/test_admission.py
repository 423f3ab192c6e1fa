"""Senders wait for room and come in by the order of their calls; what is being saved at once is bounded."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mmplatform.durable import admission
from mmplatform.errors import NotRunning, QueueFull
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL, LATER, NORMAL, Node, running, turn, until


class HoldCount(MemoryStorage):
    """A disk that takes what is written when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = False
        self.writing: list[tuple[asyncio.Future[None], int]] = []

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        done = super().write(rows, sync=sync)
        if not self.holds:
            return done
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.writing.append((future, sum(len(value or b"") for _, value in rows)))
        return future

    def finish(self) -> None:
        writing, self.writing = self.writing, []
        for future, _ in writing:
            future.set_result(None)


async def enter(node: Node, payload: bytes, peer: str = BOB) -> None:
    """Send as an API does: wait for room, then put."""
    queue = node.outbox.queue(peer)
    await node.outbox.room(queue)
    await node.outbox.put(queue, NORMAL, "chat", "ms", payload, LATER)[1]


async def test_senders_wait_while_too_much_waits(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 1000)
    queue = node.outbox.queue(BOB)
    await node.send(bytes(2000))
    assert node.outbox.admission.crowded(queue)
    waiting = [asyncio.ensure_future(node.outbox.room(queue)) for _ in range(3)]
    await turn()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    node.link()
    node.take()
    node.acknowledge(1)
    await asyncio.wait(waiting)
    assert not node.outbox.admission.crowded(queue)
    await node.outbox.room(queue)


async def test_what_is_being_saved_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 10_000)
    storage = HoldCount()
    async with running(storage) as node:
        storage.holds = True
        sends = [asyncio.ensure_future(enter(node, bytes(1000), [BOB, CAROL][n % 2])) for n in range(50)]
        most = 0
        while not all(send.done() for send in sends):
            for _ in range(5):
                await turn()
            most = max(most, sum(size for _, size in storage.writing))
            storage.finish()
        storage.holds = False
        assert most < 12_000
        assert node.outbox.admission.saving == 0
        assert [len(await node.drain(peer)) for peer in (BOB, CAROL)] == [25, 25]


async def test_who_came_first_is_let_in_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 100)
    monkeypatch.setattr(admission, "WOKEN", 3)
    async with running(HoldCount()) as node:
        sends = [asyncio.ensure_future(enter(node, b"%d" % n)) for n in range(40)]
        for n in range(40, 60):
            await turn()
            sends.append(asyncio.ensure_future(enter(node, b"%d" % n)))
        await asyncio.gather(*sends)
        assert [int(record.payload) for _, record in await node.drain()] == list(range(60))


async def test_who_gives_up_lets_the_next_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 1000)
    async with running(HoldCount()) as node:
        await node.send(bytes(2000))
        sends = [asyncio.ensure_future(enter(node, b"%d" % n)) for n in range(3)]
        await turn()
        node.link()
        node.take()
        node.acknowledge(1)
        sends[0].cancel()
        await asyncio.wait(sends, timeout=5)
        assert sends[0].cancelled()
        assert all(send.done() for send in sends)
        assert [record.payload for _, record in await node.drain()] == [b"1", b"2"]
        assert not node.outbox.admission._crowds


async def test_a_peer_for_whom_somebody_waits_for_room_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 1000)
    storage = HoldCount()
    async with running(storage) as node:
        storage.holds = True
        sends = [asyncio.ensure_future(enter(node, bytes(2000), peer)) for peer in (BOB, CAROL)]
        await turn()
        node.outbox.release(CAROL)
        storage.finish()
        storage.holds = False
        await asyncio.wait_for(asyncio.gather(*sends), 5)
        assert len(await node.drain(CAROL)) == 1


async def test_all_who_wait_hear_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 1000)
    monkeypatch.setattr(admission, "WOKEN", 2)
    async with running(MemoryStorage()) as node:
        await node.send(bytes(2000))
        waiting = [asyncio.ensure_future(node.outbox.room(node.outbox.queue(BOB))) for _ in range(9)]
        await turn()
        await node.outbox.close()
        ends: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {NotRunning}


async def send_to_all(node: Node, payload: bytes) -> None:
    """Send to several as an API does: wait for the disk alone, then put."""
    await node.outbox.admission.disk()
    queues = [node.outbox.queue(peer) for peer in (BOB, CAROL)]
    node.outbox.admission.check(queues)
    await node.outbox.put_all(queues, NORMAL, "chat", "ms", payload, LATER)


async def test_a_message_to_several_waits_for_the_disk_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 1000)
    storage = HoldCount()
    async with running(storage) as node:
        storage.holds = True
        sends = [asyncio.ensure_future(send_to_all(node, bytes([n]) * 900)) for n in range(6)]
        await until(lambda: storage.writing)
        assert len(storage.writing) == 1
        sends[2].cancel()
        storage.holds = False
        storage.finish()
        await asyncio.wait(sends, timeout=5)
        assert [send.cancelled() for send in sends] == [n == 2 for n in range(6)]
        assert [record.payload[0] for _, record in await node.drain()] == [0, 1, 3, 4, 5]


async def test_a_message_to_several_does_not_wait_for_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 1000)
    async with running(MemoryStorage()) as node:
        await node.send(bytes(2000), CAROL)
        with pytest.raises(QueueFull, match=CAROL):
            await send_to_all(node, b"x")
        assert node.outbox.peers() == [CAROL]


async def test_who_waits_for_the_disk_hears_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 1000)
    storage = HoldCount()
    async with running(storage) as node:
        storage.holds = True
        sends = [asyncio.ensure_future(send_to_all(node, bytes(900))) for _ in range(4)]
        await turn()
        await node.outbox.close()
        storage.holds = False
        storage.finish()
        ends: list[Any] = await asyncio.gather(*sends, return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), *[NotRunning] * 3]
