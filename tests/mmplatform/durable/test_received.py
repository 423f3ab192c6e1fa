"""Messages that their recipient keeps: their state, and receipts that come before the acknowledgement does."""

import gc
from collections.abc import Callable

import pytest

from mmplatform.delivery.wire import MAX_RANGES, End, Record
from mmplatform.durable import inspection, received
from mmplatform.durable.received_ids import OVERDUE_MS, ReceivedIds
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.message import DELIVERED, Delivery, Outcome
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL, NORMAL, Node, running, until

FAILED = Outcome("failed", "ValueError: no")


async def sent(node: Node, count: int) -> list[Delivery]:
    deliveries = [await node.send() for _ in range(count)]
    node.link()
    assert len(node.take()) == count
    return deliveries


def keep(node: Node, upto: int, epoch: int = 5) -> None:
    """Bob keeps all messages up to a number."""
    node.acknowledge(upto, epoch=epoch, outcomes=[(1, upto, End.KEPT, "")])  # type: ignore[list-item]


def tell(node: Node, low: int, high: int, outcome: Outcome) -> None:
    node.outbox.received.end(BOB, NORMAL, 5, low, high, outcome)


async def test_a_receipt_ends_what_the_recipient_kept(node: Node) -> None:
    deliveries = await sent(node, 3)
    keep(node, 3)
    assert [delivery.state for delivery in deliveries] == ["received"] * 3
    tell(node, 1, 2, DELIVERED)
    tell(node, 3, 3, FAILED)
    assert [delivery.state for delivery in deliveries] == ["delivered", "delivered", "failed"]


async def test_messages_that_nobody_holds_end_without_a_look_at_each(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(received, "make_id", lambda *key: looked.append(key) or "id")
    place = (BOB, NORMAL, 4)  # of an earlier run
    node.outbox.received.ids.add(place, 1, 100_000, 0)
    node.outbox.received.end(*place, 1, 50_000, DELIVERED)
    assert (node.outbox.ended["delivered"], looked) == (50_000, [])
    node.outbox.received.end(*place, 50_001, 50_002, FAILED)
    assert (node.outbox.ended["failed"], len(looked)) == (2, 2), "of others a fate is kept"


async def test_receipts_that_come_before_the_acknowledgement_are_all_believed(node: Node) -> None:
    """One handler is slow, and others' messages are kept between those for it: an acknowledgement has few ranges."""
    count = 4 * MAX_RANGES
    deliveries = await sent(node, count)
    for seq in range(2, count + 1, 2):
        tell(node, seq, seq, DELIVERED)
    kept = [(seq, seq, End.KEPT, "") for seq in range(2, count + 1, 2)]
    node.acknowledge(count, outcomes=kept)  # type: ignore[arg-type]
    assert {delivery.state for delivery in deliveries} == {"delivered"}
    assert node.outbox.received.ids.count(BOB) == 0


async def test_a_receipt_of_which_a_part_is_acknowledged_ends_all_that_it_names(node: Node) -> None:
    deliveries = await sent(node, 10)
    keep(node, 4)
    tell(node, 3, 8, FAILED)
    keep(node, 10)
    assert [delivery.state for delivery in deliveries] == ["received"] * 2 + ["failed"] * 6 + ["received"] * 2


async def test_a_receipt_for_messages_that_are_on_disk_only_is_kept_until_they_are_acknowledged(
    store: Callable[[], Storage],
) -> None:
    async with running(store()) as node:
        deliveries = [await node.send() for _ in range(6)]
    async with running(store(), 6) as node:
        tell(node, 2, 5, FAILED)
        node.link()
        taken: list[Record] = []
        await until(lambda: taken.extend(node.take()) or len(taken) == 6)
        keep(node, 3)
        keep(node, 6)
        await until(lambda: node.outbox.received.ids.count(BOB) == 2)
        fates = [await node.outbox.fates.outcome(delivery.id) for delivery in deliveries]
        assert fates == [None, *[FAILED] * 4, None]


async def test_what_the_recipient_keeps_is_known_after_a_restart_and_ends_with_its_receipt(
    store: Callable[[], Storage],
) -> None:
    async with running(store()) as node:
        deliveries = await sent(node, 3)
        keep(node, 3)
    async with running(store(), 6) as node:
        assert node.outbox.received.ids.count(BOB) == 3
        assert await inspection.state(node.outbox, deliveries[0].id) == "received"
        tell(node, 1, 1, DELIVERED)
        tell(node, 2, 2, FAILED)
        tell(node, 2, 2, DELIVERED)
        assert node.outbox.ended == {"delivered": 1, "failed": 1}
    async with running(store(), 7) as node:
        states = [await inspection.state(node.outbox, delivery.id) for delivery in deliveries]
        assert states == ["delivered", "failed", "received"]


async def test_a_message_whose_recipient_never_spoke_of_it_again_expires_a_week_after_its_time(node: Node) -> None:
    delivery = await node.send(expires=2_000_000)
    node.link()
    node.take()
    keep(node, 1)
    node.clock.now = 2000.0 + OVERDUE_MS / 1000 - 1
    node.outbox.received._end_overdue()
    assert delivery.state == "received"
    node.clock.now += 2
    node.outbox.received._end_overdue()
    assert delivery.state == "expired"


async def test_after_close_nobody_looks_for_what_is_overdue(node: Node) -> None:
    timer = node.outbox.received._timer
    assert timer is not None
    node.outbox.received.close()
    assert timer.cancelled()


async def test_a_receipt_of_another_peer_or_stream_ends_nothing(node: Node) -> None:
    [delivery] = await sent(node, 1)
    keep(node, 1)
    node.outbox.received.end(CAROL, NORMAL, 5, 1, 1, DELIVERED)
    node.outbox.received.end(BOB, NORMAL, 6, 1, 1, DELIVERED)
    node.outbox.received.end(BOB, 3, 5, 1, 1, DELIVERED)
    node.outbox.received.end(BOB, NORMAL, 5, 0, 0, DELIVERED)
    assert delivery.state == "received"
    node.outbox.received.end(BOB, NORMAL, 5, 0, 2**53 - 1, DELIVERED)
    assert delivery.state == "delivered"


async def test_a_peer_that_sends_very_many_early_receipts_has_them_looked_at_one_by_one() -> None:
    """Not beside those of all others, each time: a peer to which something waits may send them by the thousand."""
    looked: list[str] = []

    class Peer(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            looked.append(self)
            return str.__eq__(self, other)  # type: ignore[arg-type]

    async with MemoryStorage() as storage:
        ids = ReceivedIds(storage, UnsyncedRows(storage, lambda error: None))
        for number in range(60):
            for seq in range(60):
                ids.told_early((Peer(number), NORMAL, 5), seq, seq, FAILED)
        looked.clear()
        for seq in range(1000):
            ids.told_early((Peer(BOB), NORMAL, 5), seq, seq, FAILED)
        assert len(looked) < 10_000


async def test_a_message_that_nobody_holds_any_more_is_followed_all_the_same(node: Node) -> None:
    await sent(node, 2)
    gc.collect()
    keep(node, 2)
    assert node.outbox.received.ids.count(BOB) == 2
    tell(node, 1, 2, DELIVERED)
    assert node.outbox.ended == {"delivered": 2}


async def test_several_receipts_for_messages_that_are_on_disk_only_are_all_believed(
    store: Callable[[], Storage],
) -> None:
    async with running(store()) as node:
        deliveries = [await node.send() for _ in range(6)]
    async with running(store(), 6) as node:
        for seq in (5, 3, 1):
            tell(node, seq, seq, FAILED)
        node.link()
        lane_queue = node.outbox.queue(BOB).lanes[NORMAL]
        await until(lambda: lane_queue.loaded == len(lane_queue.rows))
        node.take()
        keep(node, 6)
        await until(lambda: node.outbox.received.ids.count(BOB) == 3)
        fates = [await node.outbox.fates.outcome(delivery.id) for delivery in deliveries]
        assert fates == [FAILED, None, FAILED, None, FAILED, None]
