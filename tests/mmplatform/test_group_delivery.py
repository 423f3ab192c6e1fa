"""One awaitable for the deliveries to all members of a list: nothing of what happened to one of them is lost."""

import asyncio

import pytest

from mmplatform import Delivery, GroupDelivery, NotAllDelivered, NotRunning, Outcome
from mmplatform.errors import Expired, HandlerFailed, Refused
from mmplatform.group_delivery import TOLD
from mmplatform.message import DELIVERED, EXPIRED, SENT
from tests.support.waiting import until

PEERS = ("bob", "carol", "dave")
BROKEN = Outcome("failed", "KeyError: 'x'")
UNWANTED = Outcome("refused", "unhandled")


def group(*peers: str) -> GroupDelivery:
    return GroupDelivery("@family", {peer: Delivery(peer, 2, 5, 1) for peer in peers or PEERS})


def settle(delivery: Delivery, *outcomes: Outcome) -> None:
    for each, outcome in zip(delivery.deliveries.values(), outcomes, strict=False):
        each.settle(outcome)


async def test_it_has_ended_when_all_have_it() -> None:
    delivery = group()
    waiting = asyncio.ensure_future(_awaited(delivery))
    settle(delivery, DELIVERED, DELIVERED)
    await asyncio.sleep(0)
    assert (waiting.done(), delivery.done, delivery.outcome, delivery.state) == (False, False, None, "waiting")
    settle(delivery, DELIVERED, DELIVERED, DELIVERED)
    assert await waiting == delivery.outcome == DELIVERED
    assert (delivery.done, delivery.state) == (True, "delivered")


async def test_all_that_failed_are_told_beside_those_that_have_it() -> None:
    delivery = group()
    settle(delivery, BROKEN, DELIVERED, UNWANTED)
    for wait in (_awaited(delivery), delivery.received()):
        with pytest.raises(NotAllDelivered, match=r"@family: 2 of 3 did not get it: .*KeyError.*; .*unhand") as caught:
            await wait
        assert {peer: type(error) for peer, error in caught.value.failed.items()} == {
            "bob": HandlerFailed, "dave": Refused,
        }  # fmt: skip
        assert caught.value.delivered == ["carol"]
    assert delivery.outcome == BROKEN


async def test_one_that_failed_keeps_nobody_from_waiting_for_the_others() -> None:
    delivery = group()
    waiting = asyncio.ensure_future(_awaited(delivery))
    settle(delivery, EXPIRED)
    await asyncio.sleep(0)
    assert not waiting.done()
    settle(delivery, EXPIRED, DELIVERED, DELIVERED)
    with pytest.raises(NotAllDelivered) as caught:
        await waiting
    assert isinstance(caught.value.failed["bob"], Expired)


async def test_it_is_received_when_all_have_it_on_disk() -> None:
    delivery = group()
    waiting = asyncio.ensure_future(delivery.received())
    bob, carol, dave = delivery.deliveries.values()
    bob.keep()
    carol.settle(DELIVERED)
    dave.relayed = True
    assert delivery.state == "relayed"
    await asyncio.sleep(0)
    assert not waiting.done()
    dave.keep()
    await waiting
    assert delivery.state == "received"


async def test_a_node_that_stops_says_so() -> None:
    delivery = group()
    settle(delivery, DELIVERED)
    waiting = asyncio.ensure_future(_awaited(delivery))
    await until(lambda: delivery.deliveries["carol"]._waiter is not None)
    for each in delivery.deliveries.values():
        each.stop()
    with pytest.raises(NotRunning):
        await waiting


async def test_it_is_taken_back_from_those_who_have_not_got_it() -> None:
    asked: list[str] = []

    async def cancel(delivery_id: str) -> bool:
        asked.append(delivery_id)
        return delivery_id.endswith("carol")

    delivery = GroupDelivery("@family", {peer: Delivery(peer, 2, 5, 1, cancel) for peer in PEERS})
    settle(delivery, DELIVERED)
    assert await delivery.cancel() == ["carol"]
    assert asked == ["5.2.1@carol", "5.2.1@dave"], "what has ended is not taken back"


def test_realtime_messages_end_at_once() -> None:
    delivery = group()
    settle(delivery, SENT, SENT, SENT)
    assert delivery.state == "sent"
    dropped = group()
    settle(dropped, SENT, Outcome("dropped", "no link"), SENT)
    assert dropped.outcome == Outcome("dropped", "no link")


async def test_of_a_hundred_failures_some_are_written_out_and_all_are_there() -> None:
    delivery = group(*(f"peer{number}" for number in range(100)))
    settle(delivery, *[UNWANTED] * 100)
    with pytest.raises(NotAllDelivered, match=f"100 of 100 .*; and {100 - TOLD} more") as caught:
        await delivery
    assert (len(caught.value.failed), caught.value.delivered) == (100, [])


def test_a_delivery_to_one_peer_has_itself_alone() -> None:
    alone = Delivery("bob")
    assert alone.deliveries == {"bob": alone}
    assert (repr(group()), group().id) == ("<GroupDelivery @family to 3: waiting>", "")


async def _awaited(delivery: Delivery) -> Outcome:
    return await delivery
