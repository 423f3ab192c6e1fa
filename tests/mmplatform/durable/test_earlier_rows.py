"""What earlier runs left is found a page at a time, also in a file that is damaged."""

from collections.abc import Callable

import pytest

from mmplatform.durable import earlier_rows
from mmplatform.errors import StorageCorrupt
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL, NORMAL, running


class OutOfOrder(MemoryStorage):
    """A damaged b-tree: whatever is asked for, the same rows are found, the lowest last."""

    reads = 0

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await super().scan(prefix, b"" if prefix == b"outbox/" else start, limit)
        if prefix != b"outbox/":
            return found
        self.reads += 1
        assert self.reads < 100, "it reads the same rows for ever"
        return [*found[1:], *found[:1]]

    async def sizes(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, int]]:
        return [(key, len(value)) for key, value in await self.scan(prefix, start, limit)]


async def test_a_file_that_gives_its_rows_out_of_order_is_reported_and_ends_the_start() -> None:
    storage = OutOfOrder()
    async with running(storage) as node:
        sent = [await node.send() for _ in range(600)]
    async with running(storage, 6) as node:
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        assert 0 < node.outbox.count < len(sent)


async def test_all_rows_are_taken_up_over_many_pages(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier_rows, "PAGE", 3)
    async with running(store()) as node:
        for peer in (BOB, CAROL):
            for _ in range(7):
                await node.send(peer=peer)
        for number in range(4):
            node.outbox.queue(BOB).letters.put(
                node.outbox.queue(BOB).letters.plan(NORMAL, 5, number + 1, number + 1), 1
            )
    async with running(store(), 6) as node:
        assert node.outbox.count == 14
        assert [row.first for row in node.outbox.queue(CAROL).lanes[NORMAL].rows] == list(range(1, 8))
        assert len(node.outbox.queue(BOB).letters) == 4


async def test_no_message_is_read_before_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    async with running(storage) as node:
        await node.send(bytes(1000))
    values: list[bytes] = []
    scan = storage.scan

    async def watched(prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await scan(prefix, start, limit)
        values.extend(value for _, value in found if len(value) >= 1000)
        return found

    monkeypatch.setattr(storage, "scan", watched)
    async with running(storage, 6) as node:
        assert values == []
        assert node.outbox.queue(BOB).bytes > 1000
