"""What is queued for one loop turn: taken in portions, waited for, and forgotten with the link."""

import asyncio

import pytest

from mmplatform import RequestTimeout
from mmplatform.delivery.wire import Event, Reply, Request
from mmplatform.peers import realtime_queue
from mmplatform.peers.realtime_queue import EXTRA, PORTION, RealtimeQueue, take
from tests.support.peers import peer_of
from tests.support.world import World


def test_a_portion_is_never_empty_and_never_more_than_it_may() -> None:
    queue = [Event("t", "ms", bytes(size)) for size in (PORTION * 3, 10, PORTION - 26, 10)]
    assert [len(taken.payload) for taken in take(queue, PORTION)[0]] == [PORTION * 3]
    first, room = take(queue, PORTION)
    assert [len(taken.payload) for taken in first] == [10]
    more, room = take([Request(1, "t", "ms", bytes(PORTION))], room)
    assert more == []
    assert take([Reply(1, 0, b"")], room)[0] == [Reply(1, 0, b"")]


def test_portions_hold_everything_in_order_and_count_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_queue, "PORTION", 1000)
    queue = RealtimeQueue()
    queue.events = [Event("t", "ms", bytes(400)) for _ in range(4)]
    queue.requests = [Request(n, "t", "ms", bytes(300)) for n in range(3)]
    queue.replies = [Reply(1, 0, bytes(3000))]
    queue.bytes = 4 * (400 + EXTRA) + 3 * (300 + EXTRA) + 3000 + EXTRA
    portions = []
    while queue.bytes:
        before = queue.bytes
        portions.append(queue.portion())
        assert queue.bytes < before
    assert [[len(each) for each in portion] for portion in portions] == [[2, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]]
    assert [request.id for portion in portions for request in portion[1]] == [0, 1, 2]


async def test_who_waits_goes_on_when_the_queue_shrinks_or_is_discarded() -> None:
    queue = RealtimeQueue()
    for end in (queue.wake, queue.discard):
        waiting = [asyncio.ensure_future(queue.shrunk()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert not waiting[1].done(), "one who gives up does not end it for the others"
        end()
        await waiting[1]
        assert queue.waiter is None


def test_what_is_asked_again_takes_the_place_of_what_was_queued() -> None:
    queue = RealtimeQueue()
    queue.requests = [Request(1, "t", "ms", b"")]
    again = [Request(1, "t", "ms", b"12"), Request(2, "t", "ms", b"345")]
    queue.ask_again(again)
    assert queue.requests is again
    assert queue.bytes == 2 + 3 + 2 * (1 + EXTRA)
    queue.discard()
    assert (queue.events, queue.requests, queue.replies, queue.bytes) == ([], [], [], 0)


def test_requests_that_nobody_waits_for_any_more_are_taken_out_of_a_queue_that_does_not_move() -> None:
    queue = RealtimeQueue()
    queue.events = [Event("t", "ms", bytes(100))]
    queue.requests = [Request(n, "t", "ms", bytes(100)) for n in range(10)]
    queue.bytes = 11 * (101 + EXTRA)
    queue.withdraw([0, 1, 2, 3])
    assert len(queue.requests) == 10  # so few are not worth a look at all
    queue.withdraw([7])
    assert [request.id for request in queue.requests] == [4, 5, 6, 8, 9]
    assert queue.bytes == 6 * (101 + EXTRA)
    queue.withdraw([4, 5, 6, 8, 9, 1000])
    queue.events = []
    queue.withdraw([1001])
    assert (queue.requests, queue.bytes > 0) == ([], True)


async def test_what_was_asked_in_vain_does_not_stay_in_memory_and_does_not_go_first() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        link = peer_of(alice, bob).link
        assert link is not None
        link.pause_writing()  # bob reads nothing
        for _ in range(20):
            asked = [alice.messaging.request("x", bob.sign_id, bytes(10_000), timeout=0.01) for _ in range(10)]
            assert all(
                isinstance(each, RequestTimeout) for each in await asyncio.gather(*asked, return_exceptions=True)
            )
        waiting = peer_of(alice, bob).exchange._realtime
        assert len(waiting.requests) <= 20
        assert waiting.bytes < 300_000
