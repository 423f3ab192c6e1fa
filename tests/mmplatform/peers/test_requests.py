"""Who waits for which reply, and what is remembered of replies given."""

import asyncio
from typing import Any

import pytest

from mmplatform.delivery.wire import FAILED, OK, Reply, Request
from mmplatform.errors import (
    NoResponders,
    NotRunning,
    ProtocolError,
    QueueFull,
    RequestFailed,
    RequestTimeout,
    Unreachable,
)
from mmplatform.peers import requests
from mmplatform.peers.requests import PendingRequests, ReplyCache, failure, nobody
from tests.support.watched import WalkedDict


def request(number: int) -> Request:
    return Request(number, "t", "ms", b"")


async def test_each_reply_finds_its_caller() -> None:
    asked = PendingRequests()
    (first, one), (second, two), (third, three) = (asked.ask("t", "ms", b"", 5) for _ in range(3))
    assert [r.id for r in asked.unanswered] == [1, 2, 3]
    assert not asked.alone
    asked.resolve(Reply(second.id, OK, b"two"))
    asked.resolve(nobody(third))
    assert asked.alone
    assert asked.floor == 1
    asked.resolve(Reply(first.id, 7, b"bad \xff"))
    assert await two == b"two"
    with pytest.raises(RequestFailed, match="bad \ufffd"):
        await one
    with pytest.raises(NoResponders, match="listens to t"):
        await three
    assert asked.floor == 4
    asked.resolve(Reply(first.id, OK, b"again"))
    asked.resolve(Reply(99, OK, b"never asked"))
    assert asked.unanswered == []
    asked.close(NotRunning("end"))


async def test_numbers_go_on_behind_those_of_requests_that_are_forgotten() -> None:
    asked = PendingRequests(after=7)
    assert (asked.asked, asked.floor) == (False, 8)
    request, _ = asked.ask("t", "ms", b"", 5)
    assert (request.id, asked.asked, asked.floor, asked.number) == (8, True, 8, 8)
    asked.resolve(Reply(request.id, OK, b""))
    assert asked.floor == 9
    asked.close(NotRunning("end"))


async def test_time_outs_come_in_their_own_time_with_one_timer() -> None:
    asked = PendingRequests()
    loop = asyncio.get_running_loop()
    late, soon, middle = (asked.ask("t", "ms", b"", timeout)[1] for timeout in (60.0, 0.01, 0.02))
    for future in (soon, middle):
        with pytest.raises(RequestTimeout, match="in time"):
            await future
    assert not late.done()
    assert asked._timer is not None
    assert asked._timer.when() > loop.time() + 50
    asked.close(NotRunning("the platform stopped"))
    with pytest.raises(NotRunning):
        await late
    assert asked._timer.cancelled()


async def test_who_is_not_reached_for_a_second_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = PendingRequests()
    loop, now = asyncio.get_running_loop(), [100.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    first = asked.ask("t", "ms", b"", 60)[1]
    asked.not_reached("refused")
    second = asked.ask("t", "ms", b"", 60)[1]
    now[0] += requests.PATIENCE / 2
    asked.not_reached("refused")
    assert not first.done()
    now[0] += requests.PATIENCE
    asked.not_reached("bob: refused")
    with pytest.raises(Unreachable, match=r"^bob: refused$"):
        await first
    assert not second.done(), "of the second request no attempt has failed that long ago"
    asked.reached()
    now[0] += requests.PATIENCE
    asked.not_reached("refused")
    assert not second.done(), "a link was up meanwhile"
    now[0] += requests.PATIENCE
    asked.not_reached("gone")
    with pytest.raises(Unreachable, match="gone"):
        await second
    assert asked.unanswered == []
    asked.close(NotRunning("end"))


async def test_who_has_patience_waits_longer_for_a_peer_that_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = PendingRequests()
    loop, now = asyncio.get_running_loop(), [100.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    short, patient = asked.ask("t", "ms", b"", 60)[1], asked.ask("t", "ms", b"", 60, 5.0)[1]
    for _ in range(5):
        assert not patient.done()
        asked.not_reached("refused")
        now[0] += requests.PATIENCE
    with pytest.raises(Unreachable, match="refused"):
        await short
    asked.not_reached("gone")
    with pytest.raises(Unreachable, match="gone"):
        await patient
    asked.close(NotRunning("end"))


def test_what_ends_after_its_peer_is_gone_is_not_remembered_nor_awaited() -> None:
    cache = ReplyCache()
    cache.begin(7, False)
    cache.begun(request(5))
    cache.close()
    assert not cache.awaited(7, 5)
    assert not cache.reply(7, Reply(5, OK, b"late"))
    assert (cache._replies, cache._bytes) == ({}, 0)


async def test_nothing_is_kept_of_the_patience_of_those_who_were_answered() -> None:
    asked = PendingRequests()
    for _ in range(1000):
        request, _ = asked.ask("t", "ms", b"", 60, 5.0)
        asked.resolve(Reply(request.id, OK, b""))
    assert len(asked._patience) <= requests.STALE + 1
    asked.close(NotRunning("end"))


class Watched(dict[int, Any]):
    """Counts how often all of it is gone through."""

    looks = 0

    def items(self) -> Any:
        self.looks += len(self)
        return super().items()

    def values(self) -> Any:
        self.looks += len(self)
        return super().values()


async def test_one_that_times_out_alone_costs_no_look_at_all_that_wait() -> None:
    asked = PendingRequests()
    watched = asked._waiting = Watched()
    loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    futures = [asked.ask("t", "ms", b"", 100 + n)[1] for n in range(500)]
    asked.ask("t", "ms", b"", 50)[1].cancel()
    for n, future in enumerate(futures):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(loop, "time", lambda n=n: now + 100.5 + n)
            asked._sweep()
        assert isinstance(future.exception(), RequestTimeout)
        assert not any(future.done() for future in futures[n + 1 :])
    assert watched.looks < 10 * len(futures)
    assert asked.floor == 502


async def test_what_was_answered_does_not_stay_in_memory_until_it_would_have_been_late() -> None:
    asked = PendingRequests()
    for _ in range(10 * requests.STALE):
        asking, _ = asked.ask("t", "ms", b"", 1000)
        asked._sweep()
        asked.resolve(Reply(asking.id, OK, b""))
    asked._sweep()
    assert len(asked._due) <= requests.STALE
    assert asked._timer is None


async def test_a_caller_that_went_is_not_answered_and_not_asked_for_again() -> None:
    asked = PendingRequests()
    asking, future = asked.ask("t", "ms", b"", 0.01)
    _, other = asked.ask("t", "ms", b"", 5)
    future.cancel()
    assert [r.id for r in asked.unanswered] == [2]
    asked.resolve(Reply(asking.id, OK, b""))
    other.cancel()
    asked.close(NotRunning("end"))


async def test_swept_callers_that_went_are_not_told() -> None:
    asked = PendingRequests()
    _, future = asked.ask("t", "ms", b"", 0.01)
    future.cancel()
    _, other = asked.ask("t", "ms", b"", 0.01)
    with pytest.raises(RequestTimeout):
        await other
    assert asked.unanswered == []


async def test_too_many_requests_are_refused_here_and_those_nobody_waits_for_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "UNFINISHED", 3)
    asked = PendingRequests()
    futures = [asked.ask("t", "ms", b"", 5)[1] for _ in range(3)]
    with pytest.raises(QueueFull, match="3 requests"):
        asked.ask("t", "ms", b"", 5)
    futures[0].cancel()
    asking, future = asked.ask("t", "ms", b"", 5)
    assert asking.id == 4
    for waiting in (*futures, future):
        waiting.cancel()
    asked.close(NotRunning("end"))


def test_a_request_is_new_then_at_work_then_answered_then_forgotten() -> None:
    answered = ReplyCache()
    answered.begin(7, known=True)
    assert answered.seen(request(1)) is False
    answered.begun(request(1))
    assert answered.seen(request(1)) is True
    assert answered.reply(7, Reply(1, OK, b"one"))
    again = answered.seen(request(1))
    assert isinstance(again, Reply)
    assert again.payload == b"one"
    answered.forget(2)
    assert answered.seen(request(1)) is True
    assert not answered.reply(7, Reply(1, OK, b"late"))
    assert answered._bytes == 0
    answered.forget(1)
    assert answered._floor == 2
    answered.reply(7, Reply(5, OK, b"five"))
    answered.forget(10**9)
    assert not answered._replies


def test_a_new_run_of_the_peer_numbers_anew() -> None:
    answered = ReplyCache()
    answered.begin(7, known=True)
    answered.begun(request(1))
    answered.begin(7, known=True)
    assert answered.seen(request(1)) is True
    answered.begin(8, known=True)
    assert answered.seen(request(1)) is False
    assert not answered.reply(7, Reply(1, OK, b"for the old run"))


def test_requests_in_hand_are_bounded_and_answered_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "UNFINISHED", 10)
    answered = ReplyCache()
    answered.most = 10
    answered.begun(request(1))
    for number in range(2, 1000):
        assert answered.seen(request(number)) is False
        answered.reply(0, Reply(number, OK, b"x"))
    assert len(answered._replies) == 10
    assert answered._bytes == 10
    for number in range(1000, 1009):
        answered.begun(request(number))
    with pytest.raises(ProtocolError, match="window"):
        answered.seen(request(2000))


def test_a_floor_that_jumps_does_not_walk_over_all_replies_each_time() -> None:
    answered = ReplyCache()
    answered._replies = replies = WalkedDict()
    for number in range(10_000):
        answered.reply(0, Reply(2**52 + number, OK, b""))
    for jump in range(1000):
        answered.forget(jump * 70_000)
    assert replies.walked <= 20_000
    answered.forget(2**52 + 10_000)
    for number in range(10_001):
        answered.reply(0, Reply(2**52 + 10_000 + number, OK, b""))
    answered.forget(2**52 + 20_001)
    assert len(answered._replies) <= 10_000, "what nobody waits for goes in the end"


def test_fewer_replies_are_remembered_for_a_stranger() -> None:
    answered, known = ReplyCache(), ReplyCache()
    answered.begin(0, known=False)
    known.begin(0, known=True)
    for number in range(1, 3000):
        for cache in (answered, known):
            cache.reply(0, Reply(number, OK, bytes(1000)))
    assert answered._bytes <= requests.REMEMBERED_BYTES_OF_STRANGER < known._bytes
    assert len(answered._replies) + len(answered._answered) == requests.REMEMBERED_OF_STRANGER
    assert answered.seen(request(2999)) == Reply(2999, OK, bytes(1000))


def test_what_a_reply_costs_does_not_grow_with_the_replies_that_were_too_large() -> None:
    answered = ReplyCache()
    answered.begin(0, known=False)
    answered._replies = replies = WalkedDict()
    for number in range(1, 1000):
        answered.reply(0, Reply(number, OK, bytes(200_000)))
    assert replies.walked <= 4000


def test_replies_too_large_to_keep_are_remembered_as_given() -> None:
    answered = ReplyCache()
    answered.most_bytes = 1000
    for number in range(1, 5):
        answered.reply(0, Reply(number, OK, bytes(400)))
    kinds = [answered.seen(request(number)) for number in range(1, 5)]
    assert [kind.status for kind in kinds if isinstance(kind, Reply)].count(FAILED) >= 2
    assert all(isinstance(kind, Reply) for kind in kinds)
    assert answered._bytes <= 1000


def test_a_failure_always_has_a_text_of_bounded_length() -> None:
    assert failure(request(1), "KeyError: 'k'").payload == b"KeyError: 'k'"
    assert failure(request(1), "\udc80").payload == b"?"
    assert failure(request(1), "").payload == b"failed"
    assert len(failure(request(1), "x" * 9999).payload) == 1000
