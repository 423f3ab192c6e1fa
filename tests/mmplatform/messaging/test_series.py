"""The side that asks for replies as they come, and the bytes of both sides."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from mmplatform.codec import decode, encode
from mmplatform.errors import CodecError, NoResponders, QueueFull, Refused, RequestFailed, RequestTimeout, Unreachable
from mmplatform.message import MAX_PAYLOAD
from mmplatform.messaging import series as module
from mmplatform.messaging.series import (
    AHEAD,
    KEEP,
    MOST,
    SIZE,
    Pull,
    ReplyBatch,
    Series,
    read_batch,
    read_pull,
    replies_here,
)
from tests.support.waiting import until

Parse = Callable[[bytes], Any]


class OtherSide:
    """Answers pulls with what is put in, in their order; keeps what it was asked."""

    def __init__(self, *answers: ReplyBatch | Exception) -> None:
        self.answers = list(answers)
        self.pulls: list[Pull] = []
        self.timeouts: list[float] = []
        self.waiting: list[asyncio.Future[bytes]] = []
        self.stopped: list[Any] = []
        self.closed: Exception | None = None

    def ask(self, pull: bytes, timeout: float, patience: float) -> asyncio.Future[bytes]:
        if self.closed is not None:
            raise self.closed
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.pulls.append(read_pull(pull))
        self.timeouts.append(timeout)
        if self.pulls[-1].number != KEEP:
            self.waiting.append(future)
            self.go_on()
        return future

    def say(self, answer: ReplyBatch | Exception) -> None:
        self.answers.append(answer)
        self.go_on()

    def go_on(self) -> None:
        while self.waiting and self.answers:
            future, answer = self.waiting.pop(0), self.answers.pop(0)
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(encode(answer))

    async def stop(self, number: bytes) -> None:
        self.stopped.append(decode(number))

    async def asked(self, timeout: float = 5.0) -> AsyncGenerator[Any, None]:
        series = Series(7, self.ask, self.stop, timeout)
        await series.open(b"question")
        return series.replies(decode)


def batch(*replies: Any, ended: bool = False) -> ReplyBatch:
    return ReplyBatch(ended, [encode(reply) for reply in replies])


async def test_replies_come_in_order_and_two_pulls_are_outstanding_while_the_reader_reads() -> None:
    other = OtherSide(batch(1, 2))
    replies = await other.asked()
    assert [(pull.number, pull.payload) for pull in other.pulls] == [(1, b"question")]
    assert await anext(replies) == 1
    assert len(other.waiting) == AHEAD
    other.say(batch(3))
    other.say(batch(ended=True))
    assert [reply async for reply in replies] == [2, 3]
    assert [pull.number for pull in other.pulls] == [1, 2, 3, 4]
    assert other.stopped == [], "the other side has ended it"


@pytest.mark.parametrize("timeout", [1.0, 120.0])
async def test_no_pull_ends_before_the_patience_of_the_reader(timeout: float) -> None:
    """A reader that had two minutes was told after 30 s that no reply had come within 120 s."""
    other = OtherSide(batch(1))
    replies = await other.asked(timeout)
    assert await anext(replies) == 1
    assert [each >= timeout for each in other.timeouts] == [True] * (1 + AHEAD)
    await replies.aclose()


async def test_a_reader_that_takes_its_time_has_no_more_than_two_batches_waiting() -> None:
    other = OtherSide(*(batch(n) for n in range(100)))
    replies = await other.asked()
    assert await anext(replies) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(other.pulls) == 1 + AHEAD
    await replies.aclose()


async def test_who_reads_no_more_says_so() -> None:
    other = OtherSide(batch(1))
    replies = await other.asked()
    async for _ in replies:
        break
    await replies.aclose()
    assert other.stopped == [[7]]
    assert all(pull.cancelled() for pull in other.waiting)


async def test_an_error_comes_behind_the_replies_before_it() -> None:
    other = OtherSide(batch(1), RequestFailed("oops"))
    replies = await other.asked()
    assert await anext(replies) == 1
    with pytest.raises(RequestFailed, match="oops"):
        await anext(replies)
    assert other.stopped == [], "the other side knows that it has ended"


@pytest.mark.parametrize("error", [NoResponders("nobody"), RequestFailed("no"), RequestTimeout("late")])
async def test_what_the_first_answer_says_is_raised_before_anything_is_read(error: Exception) -> None:
    with pytest.raises(type(error)):
        await OtherSide(error).asked()


async def test_a_peer_that_is_gone_is_named_between_two_replies() -> None:
    other = OtherSide(batch(1), Unreachable("it has gone"))
    replies = await other.asked()
    assert await anext(replies) == 1
    with pytest.raises(Unreachable, match="it has gone"):
        await anext(replies)


async def test_a_node_that_stops_gives_what_is_here_first() -> None:
    other = OtherSide(batch(1))
    replies = await other.asked()
    other.closed = QueueFull("too many")
    assert await anext(replies) == 1
    with pytest.raises(QueueFull):
        await anext(replies)


async def test_empty_answers_do_not_count_as_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    other = OtherSide(batch(), batch(), batch(), batch(1))
    replies = await other.asked(timeout=0.2)
    assert await anext(replies) == 1
    other.say(batch())
    with pytest.raises(RequestTimeout, match="no further reply"):
        await anext(replies)


async def test_what_is_no_batch_is_an_error_that_says_so() -> None:
    other = OtherSide(batch(1))
    replies = await other.asked()
    assert await anext(replies) == 1
    other.waiting.pop(0).set_result(b"\xc1")
    with pytest.raises(RequestFailed, match="cannot be decoded"):
        await anext(replies)
    assert other.stopped == [[7]]


async def test_a_reader_that_takes_long_over_one_reply_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0.001)
    other = OtherSide(batch(1, 2))
    replies = await other.asked()
    await anext(replies)
    await until(lambda: [pull.number for pull in other.pulls].count(KEEP) > 2)
    await replies.aclose()
    count = len(other.pulls)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(other.pulls) == count


# Here.


async def here(value: Any, timeout: float = 5.0) -> list[Any]:
    def report(error: BaseException) -> Exception:
        return error if isinstance(error, Exception) else RuntimeError(f"raised {type(error).__name__}")

    return [reply async for reply in replies_here(value, timeout, lambda reply: reply, report)]


async def test_replies_of_this_process() -> None:
    async def count() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    assert await here(count()) == [1, 2]
    assert await here("the only one") == ["the only one"]


async def test_a_handler_of_this_process_that_fails_or_hangs() -> None:
    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("oops")

    async def hang() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RequestFailed, match="ValueError: oops"):
        await here(fail())
    with pytest.raises(RequestTimeout, match="no further reply"):
        await here(hang(), 0.01)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (TimeoutError("the database"), "TimeoutError: the database"),
        (asyncio.CancelledError(), "RuntimeError: raised CancelledError"),
        (Refused("not on Sundays"), "^not on Sundays$"),
    ],
)
async def test_what_a_handler_of_this_process_raises_is_its_own(raised: BaseException, text: str) -> None:
    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise raised

    with pytest.raises(RequestFailed, match=text):
        await here(fail())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_handler_that_takes_long_to_leave_is_waited_for_before_it_is_closed() -> None:
    left: list[str] = []

    async def slow() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            left.append("left")

    with pytest.raises(RequestTimeout):
        await here(slow(), 0.01)
    asking = asyncio.ensure_future(here(slow()))
    for _ in range(5):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert left == ["left", "left"]


# Bytes.


@pytest.mark.parametrize("parse", [read_pull, read_batch])
@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", encode([1]), encode([1, 2]), encode({}), encode("text")])
def test_what_is_too_short_or_something_else_is_refused(parse: Parse, data: bytes) -> None:
    with pytest.raises(CodecError):
        parse(data)


def test_what_is_too_long_is_refused() -> None:
    for parse, data in (
        (read_pull, encode([1, 2, b"", 3])),
        (read_pull, encode([2**53, 2, b""])),
        (read_pull, encode([1, 2**53, b""])),
        (read_pull, encode([-1, 2, b""])),
        (read_batch, encode([False, [], 3])),
        (read_batch, encode([False, [b""] * (MOST + 1)])),
        (read_pull, encode([1, 2, bytes(MAX_PAYLOAD)])),
    ):
        with pytest.raises(CodecError):
            parse(data)


def test_several_replies_have_no_more_than_a_batch_may_have() -> None:
    """Each of them may consist of as many values as a payload may."""
    assert len(read_batch(encode(ReplyBatch(False, [bytes(SIZE - 1), b"x"]))).replies) == 2
    assert len(read_batch(encode(ReplyBatch(False, [bytes(3 * SIZE)]))).replies) == 1
    with pytest.raises(CodecError, match="bytes in a batch"):
        read_batch(encode(ReplyBatch(False, [bytes(SIZE), b"x"])))


async def test_who_answers_with_nothing_at_once_is_not_asked_without_a_pause() -> None:
    other = OtherSide(*(batch() for _ in range(1000)))
    replies = await other.asked(timeout=0.3)
    with pytest.raises(RequestTimeout):
        await anext(replies)
    assert len(other.pulls) < 10


def test_what_is_as_long_as_it_may_be_is_read() -> None:
    assert len(read_batch(encode(ReplyBatch(False, [b"x"] * MOST))).replies) == MOST
    assert read_pull(encode(Pull(2**53 - 1, 2**53 - 1, b"x"))).series == 2**53 - 1


@pytest.mark.parametrize("parse", [read_pull, read_batch])
def test_random_bytes_are_refused_or_read(parse: Parse) -> None:
    random_bytes = random.Random(1)
    for _ in range(2000):
        try:
            parse(random_bytes.randbytes(random_bytes.randint(0, 40)))
        except CodecError:
            continue
