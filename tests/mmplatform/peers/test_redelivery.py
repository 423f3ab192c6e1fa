"""What the inbox keeps is handed to handlers: in order within a topic; other topics pass, and others have a turn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from mmplatform.delivery.wire import End
from mmplatform.durable import handled
from mmplatform.durable.inbox_rows import HELD
from mmplatform.errors import Refused, StorageCorrupt, StorageError
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers import redelivery as module
from mmplatform.peers.pace import SLICE
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.inbox import Desk, at_desk, message
from tests.support.outbox import BOB, CAROL, full, until


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


async def test_a_message_that_its_handler_gave_back_goes_to_another_that_is_there(desk: Desk) -> None:
    await hold(desk, 3)
    desk.program.at_work_forever()
    desk.listen("chat")
    await until(lambda: len(desk.program.given) == 3)
    for _ in range(3):
        desk.program.finish(NOBODY)
    await until(lambda: len(desk.program.given) == 6)
    assert desk.program.payloads == numbered(3) * 2
    assert desk.inbox.held == 3


async def test_a_message_that_its_handler_gave_back_expires_in_its_time(desk: Desk) -> None:
    desk.keep(message(1, expires=1_000_100))
    await desk.saved()
    desk.program.at_work_forever()
    desk.listen("chat")
    await until(lambda: desk.program.given)
    desk.clock.now = 1000.2
    desk.inbox._due()
    await until(lambda: desk.inbox._expiring is None)
    assert desk.told == [], "it is in the hands of a handler"
    desk.program.topics = ()
    desk.program.finish(NOBODY)
    await until(lambda: desk.told)
    assert desk.told[0][1] == (2, 7, 1, End.EXPIRED, "")


async def test_a_handler_that_goes_in_the_middle_leaves_the_rest_in_its_order(desk: Desk) -> None:
    await hold(desk, 10)

    def last_is_fifth(payload: bytes) -> Result:
        if payload == b"chat 5":
            desk.program.topics = ()
        return DONE

    desk.program.answer = last_is_fifth
    desk.listen("chat")
    await until(lambda: desk.inbox.held == 5)
    await turns(20)
    assert desk.program.payloads == numbered(5)
    desk.program.answer = lambda payload: DONE
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    assert desk.program.payloads == numbered(10)


async def test_handlers_have_a_bounded_number_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_HAND", 4)
    await hold(desk, 600)
    desk.program.at_work_forever()
    desk.listen("chat")
    most = 0
    for done in range(600):
        await until(lambda done=done: len(desk.program.given) > done)
        most = max(most, len(desk.program.at_work))
        desk.program.finish()
    assert desk.program.payloads == numbered(600)
    assert most <= 256 + 4, "a page, and what was there before"


# Ends.


@pytest.mark.parametrize(
    ("result", "told", "left"),
    [
        (Result(None, Refused("not you")), (End.REFUSED, "not you"), 0),
        (Result(None, ValueError("no")), (End.FAILED, "ValueError: no"), 1),
        (Result("value"), (End.DELIVERED, ""), 0),
    ],
)
async def test_how_handlers_ended_is_told(desk: Desk, result: Result, told: tuple[End, str], left: int) -> None:
    await hold(desk, 1)
    desk.program.answer = lambda payload: result
    desk.listen("chat")
    await until(lambda: desk.told)
    assert desk.told == [(BOB, (2, 7, 1, *told))]
    assert (desk.inbox.held, len(await desk.list(failed=True))) == (0, left)


async def test_rows_of_a_handler_go_with_the_end_of_its_message(desk: Desk) -> None:
    await hold(desk, 1)
    desk.program.answer = lambda payload: Result(None, None, [("last", b"\x01")])
    writes: list[list[Row]] = []
    write = desk.storage.write
    desk.storage.write = lambda rows, *, sync=True: (writes.append(list(rows)), write(rows, sync=sync))[1]  # type: ignore[method-assign]
    desk.listen("chat")
    await until(lambda: desk.told)
    assert [key.split(b"/")[0] for key, _ in writes[0]] == [b"held", b"kept"]
    assert await desk.kept.get("last") == 1


async def test_what_expired_before_a_handler_came_is_not_handed_over(desk: Desk) -> None:
    desk.keep(message(1, expires=1_000_100), message(2))
    await desk.saved()
    assert desk.inbox._timer is not None
    desk.inbox._timer.cancel()
    desk.clock.now = 1000.1
    desk.listen("chat")
    await until(lambda: len(desk.told) == 2)
    assert [end[2:4] for _, end in desk.told] == [(1, End.EXPIRED), (2, End.DELIVERED)]
    assert len(desk.program.given) == 1


async def test_a_message_that_was_taken_out_while_it_was_read_is_not_handed_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(desk, 3)
    [(key, held), *_] = await desk.inbox.page(HELD)
    rows = desk.inbox.rows

    async def slow(*args: object) -> object:
        found = await rows(*args)  # type: ignore[arg-type]
        if found and key.number not in desk.inbox.gone:
            desk.inbox.end(key, held, (End.REFUSED, "dropped unread"))
        return found

    monkeypatch.setattr(desk.inbox, "rows", slow)
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    assert desk.program.payloads == numbered(2, 2)


async def test_what_a_friend_of_before_sent_is_for_those_who_hear_strangers(desk: Desk) -> None:
    await hold(desk, 1)
    desk.scopes.clear()
    scopes: list[str] = []
    desk.program.listens = lambda scope, topic: scope == "public"  # type: ignore[method-assign]
    desk.program.on_message = lambda scope, *args: scopes.append(scope) or DONE  # type: ignore[method-assign,func-returns-value,assignment]
    desk.redelivery.look()
    await until(lambda: not desk.inbox.topics)
    assert scopes == ["public"]


async def test_a_handler_gets_the_message_as_it_came(desk: Desk) -> None:
    await hold(desk, 1)
    desk.program.at_work_forever()
    desk.listen("chat")
    await until(lambda: desk.program.at_work)
    got = desk.program.at_work[0].message()
    assert (got.topic, got.payload, got.sender, got.scope, got.kind) == ("chat", b"chat 1", BOB, "friends", "durable")
    assert (got.id, got.time, got.expires) == (f"7.2.1@{BOB}", 1000.0, 10**10)


# Trouble.


async def test_rows_that_are_not_written_yet_are_read_when_they_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handled, "RETRY_AFTER", 0.01)
    empty = full(desk.storage, monkeypatch)
    desk.listen("chat")
    desk.keep(message(1, payload=b"chat 1"), message(2, payload=b"chat 2"))
    await until(lambda: len(desk.errors) > 2)
    assert desk.program.given == []
    empty()
    await until(lambda: desk.program.payloads == numbered(2))


async def test_a_damaged_row_is_put_aside_and_those_around_it_are_handed_over(desk: Desk) -> None:
    await hold(desk, 3)
    keys = await desk.storage.keys(HELD)
    await desk.storage.put(keys[1], b"\xc1")
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    assert desk.program.payloads == [b"chat 1", b"chat 3"]
    assert [type(error) for error in desk.errors] == [StorageCorrupt]


async def test_a_disk_that_cannot_be_read_is_asked_again_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(desk, 2)

    async def broken(*_: object) -> list[bytes]:
        raise StorageError("worn out")

    with monkeypatch.context() as patched:
        patched.setattr(desk.storage, "page", broken)
        desk.listen("chat")
        await until(lambda: desk.errors)
    await until(lambda: desk.redelivery._timer is not None)
    timer = desk.redelivery._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() > 0.5
    desk.redelivery._look_now()
    await until(lambda: desk.program.payloads == numbered(2))
    assert len(desk.errors) == 1


async def test_a_reader_that_breaks_is_reported(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await hold(desk, 1)
    with monkeypatch.context() as patched:
        patched.setattr(desk.dispatcher, "message", lambda *args: 1 / 0)
        desk.listen("chat")
        await until(lambda: desk.errors)
    assert isinstance(desk.errors[0], ZeroDivisionError)
    await until(lambda: desk.program.payloads == numbered(1))


# Others.


async def test_others_have_their_turn_while_very_many_are_handed_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message takes as long as a slice, so the loop goes round after each."""
    await hold(desk, 500)
    loop, now = asyncio.get_running_loop(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    seen: list[int] = []

    def look() -> None:
        now[0] += SLICE / 10
        seen.append(len(desk.program.given))

    turning = asyncio.create_task(count_turns(look))
    desk.program.answer = lambda payload: now.__setitem__(0, now[0] + SLICE) or DONE  # type: ignore[func-returns-value]
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    turning.cancel()
    assert max(b - a for a, b in pairwise(seen)) <= 2


async def count_turns(each: Callable[[], None]) -> None:
    while True:
        each()
        await asyncio.sleep(0)


async def test_a_look_through_very_many_topics_lets_others_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.keep(*(message(1, f"topic{number}") for number in range(300)))
    await desk.saved()
    loop, now = asyncio.get_running_loop(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    looked: list[str] = []

    def listens(scope: str, topic: str) -> bool:
        now[0] += SLICE
        looked.append(topic)
        return False

    desk.program.listens = listens  # type: ignore[method-assign]
    seen: list[int] = []
    turning = asyncio.create_task(count_turns(lambda: seen.append(len(looked))))
    desk.redelivery.look()
    await until(lambda: len(looked) == 300)
    turning.cancel()
    assert max(b - a for a, b in pairwise(seen)) <= 2


async def test_a_bounded_number_of_topics_is_read_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 2)
    names = [f"topic{number}" for number in range(6)]
    for name in names:
        await hold(desk, 2, name)
    await hold(desk, 2, "chat", CAROL)
    most = [0]
    rows = desk.inbox.rows

    async def slow(*args: object) -> object:
        most[0] = max(most[0], len(desk.redelivery._reading))
        await turns(3)
        return await rows(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.inbox, "rows", slow)
    desk.listen("chat", *names)
    desk.keep(message(9, "topic5"))  # one more, while all readers are busy
    await until(lambda: not desk.inbox.topics)
    assert len(desk.program.given) == 15
    assert most[0] == 2


# Life.


async def test_nothing_is_handed_over_before_the_begin_and_after_the_close() -> None:
    async with MemoryStorage() as storage:
        desk = Desk(storage)
        await desk.open()
        await hold(desk, 2)
        desk.listen("chat")
        await turns(10)
        assert desk.program.given == []
        desk.redelivery.begin()
        await until(lambda: len(desk.program.given) == 2)
        desk.program.at_work_forever()
        await desk.redelivery.close()
        await hold(desk, 2)
        desk.redelivery.look()
        await turns(10)
        assert (len(desk.program.given), desk.redelivery._looking, desk.redelivery._reading) == (2, None, {})


async def test_a_close_leaves_no_task_and_no_timer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_HAND", 1)
    await hold(desk, 600)
    desk.program.at_work_forever()
    desk.listen("chat")
    await until(lambda: desk.program.given)
    desk.redelivery._look_later()
    timer, [reader] = desk.redelivery._timer, desk.redelivery._reading.values()
    desk.redelivery.look()
    looking = desk.redelivery._looking
    await desk.redelivery.close()
    assert timer is not None
    assert timer.cancelled()
    assert looking is not None
    assert looking.done()
    assert reader.done()
    desk.program.finish(NOBODY)
    assert desk.redelivery._timer is timer


async def test_what_handlers_had_at_the_end_comes_again() -> None:
    storage = MemoryStorage()
    async with at_desk(storage) as desk:
        await hold(desk, 2)
        desk.program.at_work_forever()
        desk.listen("chat")
        await until(lambda: len(desk.program.given) == 2)
    async with at_desk(storage) as desk:
        desk.listen("chat")
        await until(lambda: desk.program.payloads == numbered(2))
