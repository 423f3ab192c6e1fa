"""The queue of a peer for whom only messages of earlier runs wait is made when something needs it, and not before."""

import gc
from collections.abc import Callable

from mmplatform.durable import inspection
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL, NORMAL, Node, running


async def _fill(storage: Storage) -> None:
    async with running(storage) as node:
        for peer, lane in ((BOB, 0), (BOB, NORMAL), (BOB, NORMAL), (CAROL, NORMAL)):
            await node.send(b"x" * 50, peer, lane)


async def test_what_waits_is_known_before_a_queue_is_made() -> None:
    storage = MemoryStorage()
    await _fill(storage)
    async with running(storage, 6) as node:
        outbox = node.outbox
        assert (sorted(outbox.peers()), outbox.waits(BOB), outbox.waits("D" * 44)) == ([BOB, CAROL], True, False)
        before = (outbox.count, outbox.size)
        assert before[0] == 4
        assert [message.peer async for message in inspection.queued(outbox)] == [BOB, BOB, BOB, CAROL]
        assert outbox.queues() == []
        assert outbox.queue(BOB).bytes > 0
        assert [queue.peer for queue in outbox.queues()] == [BOB]
        assert (outbox.count, outbox.size) == before
        assert sorted(outbox.peers()) == [BOB, CAROL]


async def test_a_queue_that_was_made_late_sends_and_settles_all(store: Callable[[], Storage]) -> None:
    await _fill(store())
    async with running(store(), 6) as node:
        await node.send(b"new")
        node.link()
        assert [(epoch, record.seq) for epoch, record in await node.drain()] == [(5, 1), (5, 1), (5, 2), (6, 1)]
        assert (node.outbox.peers(), node.outbox.count) == ([CAROL], 1)
    async with running(store(), 7) as node:
        assert node.outbox.peers() == [CAROL]


async def test_a_message_of_a_queue_that_is_not_made_can_be_taken_back() -> None:
    storage = MemoryStorage()
    await _fill(storage)
    async with running(storage, 6) as node:
        [carols] = [message.id async for message in inspection.queued(node.outbox, CAROL)]
        assert await inspection.cancel(node.outbox, carols)
    async with running(storage, 7) as node:
        assert await inspection.state(node.outbox, carols) == "cancelled"


async def test_thousands_of_peers_with_messages_of_earlier_runs_cost_no_objects() -> None:
    storage, peers = MemoryStorage(), [f"{number:043}=" for number in range(200)]
    async with running(storage) as node:
        for peer in peers:
            await node.send(peer=peer)
    later = Node(storage, 6)
    gc.collect()
    before = len(gc.get_objects())
    await storage.open()
    await later.outbox.open()
    gc.collect()
    assert len(gc.get_objects()) - before < len(peers)
    assert sorted(later.outbox.peers()) == peers
    await later.outbox.close()
