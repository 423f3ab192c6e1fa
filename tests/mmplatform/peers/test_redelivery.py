"""What the inbox keeps is handed to handlers: in order within a topic; other topics pass, and others have a turn."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mmplatform.delivery.wire import End
from mmplatform.durable.inbox_rows import HELD
from mmplatform.messaging.results import DONE, Result
from mmplatform.storage.memory import MemoryStorage
from tests.support.inbox import Desk, at_desk, message
from tests.support.outbox import BOB, until


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with at_desk(MemoryStorage()) as desk:
        yield desk


def numbered(count: int, first: int = 1, topic: str = "chat") -> list[bytes]:
    return [b"%s %d" % (topic.encode(), number) for number in range(first, first + count)]


async def hold(desk: Desk, count: int, topic: str = "chat", peer: str = BOB) -> None:
    desk.keep(*(message(n, topic, peer, payload) for n, payload in enumerate(numbered(count, 1, topic), 1)))
    await desk.saved()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# Order.


async def test_what_waits_is_handed_over_in_its_order_when_a_handler_comes(desk: Desk) -> None:
    await hold(desk, 700)
    await turns(20)
    assert desk.program.given == []
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    assert desk.program.payloads == numbered(700)
    await desk.saved()
    assert await desk.storage.keys(HELD) == []
    assert [end[2:] for _, end in desk.told] == [(n, End.DELIVERED, "") for n in range(1, 701)]
    assert desk.redelivery.delivered == 700


async def test_other_topics_pass_while_one_is_held(desk: Desk) -> None:
    await hold(desk, 3, "chat")
    await hold(desk, 3, "news")
    desk.listen("news")
    await until(lambda: len(desk.program.given) == 3)
    await turns(20)
    assert desk.program.payloads == numbered(3, 1, "news")
    assert [place[2] for place in desk.inbox.topics] == ["chat"]


async def test_what_comes_while_handlers_work_goes_behind(desk: Desk) -> None:
    await hold(desk, 2)
    desk.program.at_work_forever()
    desk.listen("chat")
    await until(lambda: len(desk.program.given) == 2)
    desk.keep(message(3, payload=b"chat 3"))
    await until(lambda: len(desk.program.given) == 3)
    assert desk.program.payloads == numbered(3)
    for _ in range(3):
        desk.program.finish()
    assert not desk.inbox.topics


async def test_a_message_that_is_kept_alone_is_handed_over_when_a_handler_is_there_already(desk: Desk) -> None:
    """One that is retried, or that an old handler gave back while a new one was there."""
    desk.listen("chat")
    await turns(5)
    desk.keep(message(1, payload=b"chat 1"))
    await until(lambda: desk.program.payloads == [b"chat 1"])


async def test_a_failed_message_that_is_retried_is_handed_over_at_once(desk: Desk) -> None:
    desk.program.answer = lambda payload: Result(None, ValueError("no"))
    desk.listen("chat")
    desk.keep(message(1))
    [entry] = await failed(desk)
    desk.program.answer = lambda payload: DONE
    assert await desk.contents.retry(entry.id)
    await until(lambda: len(desk.program.given) == 2)
    assert (desk.contents.failed, desk.contents.waiting) == (0, 0)
    assert [end[3:] for _, end in desk.told] == [(End.FAILED, "ValueError: no")], "its sender is told once"


async def failed(desk: Desk) -> list[object]:
    await until(lambda: desk.contents.failed)
    return list(await desk.list(failed=True))
