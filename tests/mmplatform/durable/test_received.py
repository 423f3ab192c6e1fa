"""Messages that their recipient keeps: their state, and receipts that come before the acknowledgement does."""

from collections.abc import Callable

from mmplatform.delivery.wire import MAX_RANGES, End, Record
from mmplatform.message import DELIVERED, Delivery, Outcome
from mmplatform.storage.contract import Storage
from tests.support.outbox import BOB, NORMAL, Node, running, until

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
