"""How messages ended, and that they were taken back, is known after a restart too."""

import asyncio
from collections.abc import Callable

import pytest

from mmplatform.delivery.wire import UNHEARD, End
from mmplatform.durable import fates, inspection
from mmplatform.errors import (
    Cancelled,
    Expired,
    Refused,
)
from mmplatform.message import DELIVERED, UNHANDLED
from mmplatform.storage.contract import Storage
from tests.support.outbox import BOB, CAROL, rows, running, until


async def test_every_end_is_told_and_remembered(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        delivered, unhandled, refused, expired, cancelled = [await node.send(expires=2_000_000) for _ in range(5)]
        assert await inspection.cancel(node.outbox, cancelled.id)
        node.link()
        node.clock.now = 1000
        node.take(budget=100)  # the first few
        node.acknowledge(3, outcomes=[(2, 2, *UNHEARD), (3, 3, End.REFUSED, "busy")])
        node.clock.now = 3000
        node.outbox.queue(BOB).sender.link_down()
        for settled in node.outbox.queue(BOB).sender.expire(3_000_000):
            node.outbox.settle(BOB, settled)
        assert await delivered == DELIVERED
        for delivery, error in ((unhandled, Refused), (refused, Refused), (expired, Expired), (cancelled, Cancelled)):
            with pytest.raises(error):
                await delivery
        assert unhandled.outcome == UNHANDLED
        ids = [delivery.id for delivery in (delivered, unhandled, refused, expired, cancelled)]
        ends = ["delivered", "refused", "refused", "expired", "cancelled"]
        assert [await inspection.state(node.outbox, each) for each in ids] == ends
        assert node.outbox.queue(BOB).empty
    async with running(store(), 6) as node:
        assert [await inspection.state(node.outbox, each) for each in ids] == ends
        assert node.outbox.queue(BOB).empty


async def test_fates_are_forgotten_oldest_run_first(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fates, "FATES_KEPT", 4)
    ids = []
    for epoch in (9, 3, 7):  # drawn anew at each start, so never in order
        async with running(store(), epoch) as node:
            for _ in range(2):
                delivery = await node.send()
                await inspection.cancel(node.outbox, delivery.id)
                ids.append(delivery.id)
            await node.storage.put(b"fate/rubbish", b"")
    async with running(store(), 5) as node:
        await until(lambda: not node.outbox._unsynced.pending)
        assert [await inspection.state(node.outbox, each) == "cancelled" for each in ids] == [
            False,
            False,
            True,
            True,
            True,
            True,
        ]


async def test_cancelled_stays_so_after_a_restart(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        first, second = await asyncio.gather(node.send(b"1"), node.send(b"2"))
        assert await inspection.cancel(node.outbox, second.id)
        await node.storage.put(b"cancelled/rubbish", b"")
        await node.storage.put(f"cancelled/1.2.3@{CAROL}".encode(), b"")
    async with running(store(), 6) as node:
        await until(lambda: not node.outbox._unsynced.pending)
        assert await rows(node.storage, b"cancelled/") == [(f"cancelled/{second.id}".encode(), b"")]
        node.link()
        await until(lambda: node.outbox.queue(BOB).sender.unsettled)
        assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, "")]
        node.acknowledge(2, epoch=5)
        assert await inspection.state(node.outbox, first.id) == "delivered"
        assert await inspection.state(node.outbox, second.id) == "cancelled"


async def test_a_row_of_cancelled_messages_only_goes_away(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        sent = await asyncio.gather(*(node.send() for _ in range(3)))
        node.outbox.queue(BOB).sender.take(1, 1, 0)
        for delivery in sent:
            await node.storage.put(f"cancelled/{delivery.id}".encode(), b"")
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.queue(BOB).empty)
        await until(lambda: not node.outbox._unsynced.pending)
        assert await rows(node.storage, b"outbox/") + await rows(node.storage, b"cancelled/") == []


def test_marks_are_found_by_their_stream() -> None:
    marks = fates.Marks()
    assert not marks
    for seq in (3, 4, 900, 10**9):
        marks.add((BOB, 2, 5, seq))
    marks.add((CAROL, 2, 5, 4))
    assert sorted(marks.between(BOB, 2, 5, 4, 10**9)) == [4, 900, 10**9]
    assert marks.between(BOB, 2, 5, 4, 5) == [4]
    assert marks.between(BOB, 2, 6, 1, 10**9) == marks.between(BOB, 1, 5, 1, 2) == []
    assert (CAROL, 2, 5, 4) in marks
    assert (CAROL, 2, 5, 3) not in marks
    for seq in (3, 4, 4, 900, 10**9):
        marks.discard((BOB, 2, 5, seq))
    marks.discard((CAROL, 2, 5, 4))
    assert not marks
