"""Messages that wait too long end, whoever they wait for, and one timer serves them all."""

import asyncio
from typing import Any

from mmplatform import Expired
from mmplatform.durable import expiry as module
from mmplatform.message import Delivery
from tests.support.outbox import BOB, CAROL, Node, until

SOON = 1_000_020  # Unix milliseconds: the clock of Node stands at 1000 s


async def _ended(delivery: Delivery) -> str:
    try:
        return (await delivery).state
    except Expired:
        return "expired"


def timers(loop: Any) -> int:
    return sum(not each.cancelled() and each._callback.__name__ == "look" for each in loop._scheduled)


async def test_messages_for_many_peers_expire_with_one_timer(node: Node) -> None:
    late = [await node.send(peer=f"{number:043}=", expires=SOON + 100_000 - number) for number in range(300)]
    assert timers(asyncio.get_running_loop()) == 1
    brief = [await node.send(peer=f"{number:043}=", expires=SOON) for number in range(200)]
    assert timers(asyncio.get_running_loop()) <= 1  # none while a look is about to run, as one is due by now
    node.clock.now = 1000.5
    assert await asyncio.gather(*map(_ended, brief)) == ["expired"] * 200
    assert {delivery.state for delivery in late} == {"waiting"}
    node.clock.now = 1101.0
    node.outbox.expiry.look()
    assert await asyncio.gather(*map(_ended, late)) == ["expired"] * 300
    assert (node.outbox.count, timers(asyncio.get_running_loop())) == (0, 0)


async def test_a_few_are_looked_at_in_one_turn(node: Node) -> None:
    together = 3 * module.TOGETHER
    deliveries = [await node.send(peer=f"{number:043}=", expires=SOON) for number in range(together)]
    node.clock.now = 1010.0
    node.outbox.expiry.look()
    assert [delivery.state for delivery in deliveries].count("expired") == module.TOGETHER
    await until(lambda: all(delivery.state == "expired" for delivery in deliveries))


async def test_times_that_are_sooner_and_sooner_gather_no_heap(node: Node) -> None:
    for number in range(1000):
        await node.send(expires=SOON + 10**6 - number)
    assert len(node.outbox.expiry._due) < 100


async def test_what_was_in_flight_expires_once_the_link_is_gone(node: Node) -> None:
    delivery = await node.send(peer=CAROL, expires=SOON)
    other = await node.send(expires=SOON + 10**7)
    queue = node.link(CAROL)
    assert len(node.take(CAROL)) == 1
    node.clock.now = 1001.0
    node.outbox.expiry.look()
    assert delivery.state == "waiting"
    queue.sender.link_down()
    node.outbox.expiry.watch(queue)
    assert await _ended(delivery) == "expired"
    assert (other.state, node.outbox.waits(BOB), node.outbox.waits(CAROL)) == ("waiting", True, False)
