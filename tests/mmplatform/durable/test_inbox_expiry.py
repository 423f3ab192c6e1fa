"""What nobody comes for in time expires, once; what is retried, in hand or comes meanwhile has its own time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mmplatform.delivery.wire import End
from mmplatform.durable import inbox as module
from mmplatform.durable.inbox_rows import FAILED, HELD
from mmplatform.errors import StorageError
from mmplatform.message import DEFAULT_EXPIRY
from mmplatform.storage.contract import Storage
from tests.support.inbox import Keeper, keeping, message
from tests.support.outbox import BOB, CAROL, LATER, until

SOON = 1_000_500  # half a second from now


@pytest.fixture
async def keeper(store: Callable[[], Storage]) -> AsyncIterator[Keeper]:
    async with keeping(store()) as keeper:
        yield keeper


def expired(keeper: Keeper) -> list[int]:
    return [seq for _, (_, _, seq, end, _) in keeper.told if end is End.EXPIRED]


async def due(keeper: Keeper, at: float = 1001.0) -> None:
    """The clock is ``at``, and the timer for what expires is due."""
    keeper.clock.now = at
    keeper.inbox._due()


async def test_what_nobody_came_for_expires_and_the_rest_has_its_time(keeper: Keeper) -> None:
    keeper.keep(message(1, expires=SOON), message(2), message(3, "news", expires=SOON), message(4, peer=CAROL))
    keeper.keep(message(5, expires=1_900_000))
    await keeper.saved()
    await due(keeper)
    await until(lambda: len(keeper.told) == 2)
    assert expired(keeper) == [1, 3]
    assert (keeper.inbox.held, keeper.inbox.topics[BOB, "ms", "chat"].expires) == (3, 1_900_000)
    assert keeper.inbox._timer is not None
    assert keeper.inbox._timer.when() - asyncio.get_running_loop().time() == pytest.approx(899, abs=5)


async def test_an_expiry_needs_nothing_but_time(store: Callable[[], Storage]) -> None:
    async with keeping(store()) as keeper:
        keeper.clock.now = 1000.49
        keeper.keep(message(2), message(1, expires=SOON))
        await keeper.saved()
        keeper.clock.now = 1000.6
        await until(lambda: expired(keeper) == [1])


async def test_what_expired_while_the_node_was_down_ends_at_its_start(store: Callable[[], Storage]) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1, expires=SOON), message(2, expires=SOON + 10_000_000))
        await keeper.saved()
    async with keeping(store(), now=2000.0) as keeper:
        await until(lambda: expired(keeper) == [1])
        assert [entry.id for entry in await keeper.list()] == [f"7.2.2@{BOB}"]


async def test_what_handlers_have_does_not_expire(keeper: Keeper) -> None:
    keeper.keep(message(1, expires=SOON), message(2, expires=SOON))
    await keeper.saved()
    [(key, _), _] = await keeper.inbox.page(HELD)
    keeper.inbox.topics[BOB, "ms", "chat"].in_hand.add(key.encoded)
    await due(keeper)
    await until(lambda: expired(keeper) == [2])
    assert keeper.inbox.held == 1


async def test_what_comes_while_a_topic_is_looked_through_expires_in_its_time(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.keep(message(1, expires=SOON), message(2))
    await keeper.saved()
    during(keeper, monkeypatch, lambda: keeper.keep(message(3, expires=1_001_500)))
    await due(keeper)
    await until(lambda: expired(keeper) == [1])
    await keeper.saved()
    assert keeper.inbox.topics[BOB, "ms", "chat"].expires == 1_001_500
    await due(keeper, 1002.0)
    await until(lambda: expired(keeper) == [1, 3])


async def test_one_look_at_a_time(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.keep(message(1, expires=SOON))
    await keeper.saved()
    planned: list[Any] = []

    def keep_another() -> None:
        keeper.keep(message(2, expires=SOON))
        planned.append(keeper.inbox._timer)

    during(keeper, monkeypatch, keep_another)
    await due(keeper)
    await until(lambda: expired(keeper) == [1, 2])
    assert planned == [None]  # the look that is on plans the next one


async def test_a_disk_that_cannot_be_read_is_looked_at_again_a_second_later(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.keep(message(1, expires=SOON))
    await keeper.saved()

    async def broken(*_: Any) -> list[bytes]:
        raise StorageError("worn out")

    with monkeypatch.context() as patched:
        patched.setattr(keeper.storage, "page", broken)
        await due(keeper)
        await until(lambda: keeper.inbox._expiring is None)
    timer = keeper.inbox._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() > 0.5
    assert [str(error) for error in keeper.errors] == ["worn out"]
    keeper.inbox._due()
    await until(lambda: expired(keeper) == [1])


async def test_a_clock_far_ahead_is_asked_again(keeper: Keeper) -> None:
    keeper.keep(message(1))
    assert keeper.inbox._timer is not None
    assert keeper.inbox._timer.when() - asyncio.get_running_loop().time() <= module.LOOK_EVERY
    keeper.inbox._timer.cancel()
    await due(keeper)
    await until(lambda: keeper.inbox._expiring is None)
    assert keeper.inbox._timer is not None
    assert (keeper.inbox.held, keeper.inbox.topics[BOB, "ms", "chat"].expires) == (1, LATER)


async def test_a_failed_message_that_is_retried_after_its_time_waits_for_a_handler(keeper: Keeper) -> None:
    keeper.keep(message(1, expires=SOON))
    await keeper.saved()
    keeper.inbox.fail(*(await keeper.inbox.page(HELD))[0], "ValueError: x", (End.FAILED, ""))
    await keeper.saved()
    keeper.clock.now = 5000.0
    keeper.inbox.wait_again(*(await keeper.inbox.page(FAILED))[0])
    await keeper.saved()
    await due(keeper, 5001.0)
    await until(lambda: keeper.inbox._expiring is None)
    [entry] = await keeper.list()
    assert entry.expires == 5000.0 + DEFAULT_EXPIRY


@pytest.mark.parametrize("looking", [False, True])
async def test_nothing_expires_after_close(keeper: Keeper, monkeypatch: pytest.MonkeyPatch, looking: bool) -> None:
    keeper.keep(message(1, expires=SOON))
    await keeper.saved()
    timer = keeper.inbox._timer
    assert timer is not None
    task = None
    if looking:
        await due(keeper)
        task = keeper.inbox._expiring
    keeper.inbox.close()
    keeper.inbox.put(message(2))
    if task is None:
        assert timer.cancelled()
    else:
        await until(task.cancelled)
    assert keeper.told == []


def during(keeper: Keeper, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """``happens`` once, after the last row of a topic was looked for and before the answer is there."""
    page: Callable[..., Awaitable[Any]] = keeper.inbox.page
    once = [happens]

    async def slow(*args: Any) -> Any:
        found = await page(*args)
        if not found and once:
            once.pop()()
        return found

    monkeypatch.setattr(keeper.inbox, "page", slow)
