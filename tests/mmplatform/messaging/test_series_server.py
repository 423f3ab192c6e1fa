"""The side that runs generators: batches, pulls, leases and bounds."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from mmplatform.codec import decode, encode
from mmplatform.errors import Refused
from mmplatform.messaging import series_places
from mmplatform.messaging import series_server as module
from mmplatform.messaging.api import API
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.messaging.results import NOBODY, Result
from mmplatform.messaging.series import KEEP, SIZE, Pull, read_batch
from mmplatform.messaging.series_places import OF_STRANGER
from mmplatform.messaging.series_server import EARLY, LEASE, SeriesServer
from tests.support.bus import Counted, Ended
from tests.support.waiting import until

ALICE, EVE = "alice", "eve"


class Reply(Ended):
    """One pull of ALICE or EVE, and what it was answered."""

    def __init__(self, held: Counted | None = None) -> None:
        super().__init__()
        self.wanted, self.clogged = True, False
        self.held = held or Counted()


class Served:
    """An API and its server of series, without a wire."""

    def __init__(self) -> None:
        self.errors: list[tuple[Exception, str]] = []
        self.sign_id = "own"
        self.handlers: dict[str, Any] = {}
        self.post = self.save = self.ask = None
        self.api = API(self, "ms", encode, decode)  # type: ignore[arg-type]
        self.server: SeriesServer = self.handlers["ms.series"]

    def attach(self, protocol: str, handler: Any) -> None:
        self.handlers[protocol] = handler

    def failed(self, error: Exception, topic: str = "", /) -> None:
        self.errors.append((error, topic))

    def pull(
        self,
        number: int,
        payload: Any = b"",
        series: int = 1,
        sender: str = ALICE,
        scope: str = "friends",
        held: Counted | None = None,
    ) -> Reply:
        reply = Reply(held)
        pull = encode(Pull(series, number, payload if number != 1 else encode(payload)))
        result = self.server.on_request(scope, "x", sender, pull, reply)
        if result is not None:
            reply(result)
        return reply

    def stop(self, series: int = 1, sender: str = ALICE) -> None:
        self.server.on_event("friends", "x", sender, encode([series]), Counted())


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    yield served
    await served.server.end(0.0)
    await served.api.close()
    assert len(asyncio.all_tasks()) == 1


async def answered(reply: Reply) -> Any:
    """Return the replies in a batch, and whether it is the last; or the text of an error."""
    await until(lambda: reply)
    [result] = reply
    if isinstance(result, Result):
        return "nobody" if result is NOBODY else str(result.error)
    batch = read_batch(result)
    return [decode(one) for one in batch.replies], batch.ended


class Counting:
    """A handler that yields numbers, at each of which it waits for a token; how it ended is known."""

    def __init__(self, free: int = 10**9) -> None:
        self.tokens = asyncio.Semaphore(free)
        self.yielded = 0
        self.closed = 0

    async def __call__(self, topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        try:
            for number in range(payload):
                await self.tokens.acquire()
                self.yielded += 1
                yield number
        finally:
            self.closed += 1


async def test_all_that_is_yielded_in_one_turn_is_one_batch(served: Served) -> None:
    served.api.on("friends.x", Counting())
    assert await answered(served.pull(1, 3)) == ([0, 1, 2], True)


async def test_a_reply_leaves_as_soon_as_it_is_yielded(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    assert await answered(served.pull(1, 3)) == ([0], False)
    second, third = served.pull(2), served.pull(3)
    counting.tokens.release()
    assert await answered(second) == ([1], False)
    assert third == []
    counting.tokens.release()
    assert await answered(third) == ([2], True)
    assert counting.closed == 1


async def test_pulls_that_overtake_each_other_are_answered_in_order(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    assert await answered(served.pull(1, 3)) == ([0], False)
    third, second = served.pull(3), served.pull(2)
    counting.tokens.release()
    assert await answered(second) == ([1], False)
    counting.tokens.release()
    assert await answered(third) == ([2], True)


async def test_a_generator_runs_no_further_than_a_batch_ahead(served: Served) -> None:
    counting = served.api.on("friends.x", Counting())
    replies, ended = await answered(served.pull(1, 10**9))
    assert not ended
    await until(lambda: counting.yielded > len(replies))
    before = -1
    while before != counting.yielded:
        before = counting.yielded
        await asyncio.sleep(0)
    assert counting.yielded <= len(replies) + module.MOST + 1


async def test_large_replies_fill_a_batch_by_their_bytes(served: Served) -> None:
    @served.api.on("friends.x")
    async def large(topic: str, sender: str, payload: Any) -> AsyncGenerator[bytes, None]:
        yield bytes(10)
        yield bytes(SIZE)
        yield bytes(3 * SIZE)

    sizes = []
    for number in (1, 2, 3):
        replies, ended = await answered(served.pull(number))
        sizes.append([len(reply) for reply in replies])
    assert sizes == [[10], [SIZE], [3 * SIZE]]
    assert ended


async def test_a_handler_that_is_no_generator_gives_the_only_reply(served: Served) -> None:
    async def later(topic: str, sender: str, payload: Any) -> str:
        return "later"

    served.api.once("friends.x", lambda topic, sender, payload: payload + 1)
    assert await answered(served.pull(1, 1)) == ([2], True)
    served.api.once("friends.x", later)
    assert await answered(served.pull(1, series=2)) == (["later"], True)
    served.api.once("friends.x", lambda topic, sender, payload: object())
    assert "cannot encode" in await answered(served.pull(1, series=3))


async def test_a_generator_that_somebody_returns_is_run_as_well(served: Served) -> None:
    counting = Counting()

    async def wrapped(topic: str, sender: str, payload: Any) -> Any:
        return counting(topic, sender, payload)

    served.api.once("friends.x", lambda *arguments: counting(*arguments))
    assert await answered(served.pull(1, 2)) == ([0, 1], True)
    served.api.once("friends.x", wrapped)
    assert await answered(served.pull(1, 2, series=2)) == ([0, 1], True)


async def test_nobody_listens(served: Served) -> None:
    assert await answered(served.pull(1)) == "nobody"


async def test_what_it_raises_comes_behind_its_replies_and_is_reported(served: Served) -> None:
    @served.api.on("friends.x")
    async def fail(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("oops")

    assert await answered(served.pull(1)) == ([1], False)
    assert await answered(served.pull(2)) == "oops"
    assert [(str(error), topic) for error, topic in served.errors] == [("oops", "friends.x")]
    assert "unknown-series" in await answered(served.pull(3))


async def test_what_cannot_be_sent_ends_it(served: Served) -> None:
    @served.api.on("friends.x")
    async def odd(topic: str, sender: str, payload: Any) -> AsyncGenerator[Any, None]:
        yield 1
        yield object()

    assert await answered(served.pull(1)) == ([1], False)
    assert "cannot encode" in await answered(served.pull(2))


async def test_who_reads_no_more_has_the_generator_closed(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    await answered(served.pull(1, 9))
    served.stop(sender=EVE)
    served.stop(series=2)
    await asyncio.sleep(0)
    assert counting.closed == 0, "each peer has series of its own"
    served.stop()
    await until(lambda: counting.closed == 1)
    assert "unknown-series" in await answered(served.pull(2))


async def test_a_series_that_nobody_pulls_is_closed_and_one_that_is_kept_is_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = served.api.on("friends.x", Counting(1))
    await answered(served.pull(1, 9))
    [series] = served.server._open.values()
    now = asyncio.get_running_loop().time()
    series.look(now + LEASE / 2)
    assert await answered(served.pull(KEEP)) == ([], False)
    series._heard = now + LEASE / 2  # when it was kept
    series.look(now + LEASE)
    assert served.server._open
    series.look(now + 2 * LEASE)
    await until(lambda: counting.closed == 1)
    assert not served.server._open


async def test_a_pull_that_waits_long_is_answered_with_nothing(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    await answered(served.pull(1, 9))
    pull = served.pull(2)
    [series] = served.server._open.values()
    series.look(asyncio.get_running_loop().time() + module.ANSWERED)
    assert await answered(pull) == ([], False)
    counting.tokens.release()
    assert await answered(served.pull(3)) == ([1], False)


async def test_the_series_of_who_waits_no_longer_is_closed(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    await answered(served.pull(1, 9))
    pull = served.pull(2)
    pull.wanted = False
    [series] = served.server._open.values()
    series.look(asyncio.get_running_loop().time())
    await until(lambda: counting.closed == 1)


async def test_one_timer_looks_at_all(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.001)
    monkeypatch.setattr(module, "LEASE", 0.0)
    counting = served.api.on("friends.x", Counting())
    for number in range(3):
        await answered(served.pull(1, 10**9, series=number))
    await until(lambda: counting.closed == 3)
    await until(lambda: served.server._timer is None)


async def test_pulls_out_of_bounds_are_refused(served: Served) -> None:
    served.api.on("friends.x", Counting(1))
    await answered(served.pull(1, 9))
    assert await answered(served.pull(1, 9)) == "bad-payload"
    assert await answered(served.pull(2 + EARLY)) == "bad-payload"
    served.pull(2)
    assert await answered(served.pull(2)) == "bad-payload", "a repeated request is none of ours"
    assert "unknown-series" in await answered(served.pull(2, sender=EVE))
    assert "unknown-series" in await answered(served.pull(2, scope="public")), "another scope by now"
    malformed = served.server.on_request("friends", "x", ALICE, b"\xc1", Reply())
    assert isinstance(malformed, Result)
    assert str(malformed.error) == "bad-payload"


async def test_a_stranger_has_few_series_and_its_network_some(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_places, "OF_NETWORK", OF_STRANGER + 1)
    served.api.on("public.x", Counting(0))
    eves = [served.pull(1, 9, number, EVE, "public") for number in range(OF_STRANGER)]
    assert "too-many-series" in await answered(served.pull(1, 9, 200, EVE, "public"))
    served.pull(1, 9, 1, "mallory", "public")
    trudy = served.pull(1, 9, 1, "trudy", "public")
    assert "overloaded" in await answered(eves[0]), "what was not pulled for longest, of who has most"
    assert trudy == []
    assert len(served.server._open) == OF_STRANGER + 1


async def test_a_series_has_its_place_until_its_generator_is_closed(served: Served) -> None:
    gate = asyncio.Event()

    @served.api.on("public.x")
    async def slow(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        try:
            yield 1
            await gate.wait()
        finally:
            while not gate.is_set():
                with suppress(asyncio.CancelledError):
                    await gate.wait()

    for number in range(OF_STRANGER):
        assert await answered(served.pull(1, 1, number, EVE, "public")) == ([1], False)
        served.server.on_event("public", "x", EVE, encode([number]), Counted())
    assert not served.server._open
    assert "too-many-series" in await answered(served.pull(1, 1, 99, EVE, "public"))
    gate.set()
    await until(lambda: not served.server._tasks)
    assert await answered(served.pull(1, 1, 99, EVE, "public")) == ([1], True)


async def test_a_series_has_its_place_and_is_charged_until_its_last_replies_are_pulled(served: Served) -> None:
    held = Counted()

    @served.api.on("public.x")
    async def two(topic: str, sender: str, payload: Any) -> AsyncGenerator[bytes, None]:
        yield bytes(SIZE - 100)
        yield bytes(SIZE - 200)

    for number in range(OF_STRANGER):
        assert await answered(served.pull(1, 1, number, EVE, "public", held)) == ([bytes(SIZE - 100)], False)
    await until(lambda: not served.server._tasks)
    assert "too-many-series" in await answered(served.pull(1, 1, 99, EVE, "public", held))
    assert held.bytes == OF_STRANGER * SIZE
    last = served.pull(2, series=0, sender=EVE, scope="public", held=held)
    assert await answered(last) == ([bytes(SIZE - 200)], True)
    assert held.bytes == (OF_STRANGER - 1) * SIZE
    assert await answered(served.pull(1, 1, 99, EVE, "public", held)) == ([bytes(SIZE - 100)], False)


@pytest.mark.parametrize("turns", range(12))
async def test_a_series_gives_its_place_and_its_bytes_back_once(served: Served, turns: int) -> None:
    """Whenever its last replies are pulled: before its generator is closed, in the same turn of the loop, or later."""
    held = Counted()
    served.api.on("friends.x", Counting())
    pull = Reply(held)
    pull.clogged = True
    assert served.server.on_request("friends", "x", ALICE, encode(Pull(1, 1, encode(3))), pull) is None
    [series] = served.server._open.values()
    for _ in range(turns):
        await asyncio.sleep(0)
    pull.clogged = False
    series._turn()
    assert await answered(pull) == ([0, 1, 2], True)
    await until(lambda: not served.server._tasks)
    assert held.bytes == 0


async def test_a_series_whose_last_replies_wait_gives_way(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_places, "OF_NETWORK", 2)

    @served.api.on("public.x")
    async def two(topic: str, sender: str, payload: Any) -> AsyncGenerator[bytes, None]:
        yield bytes(SIZE - 100)
        yield bytes(SIZE - 200)

    for number in range(2):
        await answered(served.pull(1, 1, number, EVE, "public"))
    await until(lambda: not served.server._tasks)
    assert await answered(served.pull(1, 1, 1, "mallory", "public")) == ([bytes(SIZE - 100)], False)
    assert {sender for sender, _ in served.server._open} == {EVE, "mallory"}


async def test_generators_that_never_pause_share_the_loop_a_batch_a_turn(served: Served) -> None:
    counting = served.api.on("friends.x", Counting())
    for series in range(8):
        served.pull(1, 10**9, series)
        for number in range(2, 1 + EARLY):
            served.pull(number, series=series)
    most = before = 0
    for _ in range(200):
        await asyncio.sleep(0)
        most, before = max(most, counting.yielded - before), counting.yielded
    assert before > 8 * module.MOST, "all of them go on"
    assert most <= 3 * module.MOST


async def test_what_is_held_for_a_series_is_counted_until_it_is_gone(served: Served) -> None:
    held = Counted()

    @served.api.on("friends.x")
    async def large(topic: str, sender: str, payload: Any) -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield bytes(3 * SIZE)

    first = Reply(held)
    assert served.server.on_request("friends", "x", ALICE, encode(Pull(1, 1, encode(None))), first) is None
    assert held.bytes == SIZE
    await answered(first)
    await until(lambda: held.bytes > 4 * SIZE)
    served.stop()
    await until(lambda: held.bytes == 0)


async def test_who_does_not_read_has_no_pull_answered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOGGED", 0.0)
    served.api.on("friends.x", Counting())
    pull = Reply()
    pull.clogged = True
    assert served.server.on_request("friends", "x", ALICE, encode(Pull(1, 1, encode(3))), pull) is None
    for _ in range(20):
        await asyncio.sleep(0)
    assert pull == []
    pull.clogged = False
    assert await answered(pull) == ([0, 1, 2], True)


async def test_a_reply_to_a_stranger_has_a_bound(served: Served) -> None:
    served.api.on("*.x", large_reply)
    assert "at most" in await answered(served.pull(1, scope="public"))
    assert (await answered(served.pull(1, series=2)))[1] is False


async def large_reply(topic: str, sender: str, payload: Any) -> AsyncGenerator[bytes, None]:
    yield bytes(PUBLIC_SIZE + 1)
    yield b""


async def test_who_moves_to_another_scope_has_its_series_ended(served: Served) -> None:
    served.api.on("*.x", Counting(0))
    friends, public = served.pull(1, 9), served.pull(1, 9, 2, ALICE, "public")
    other = served.pull(1, 9, 1, EVE)
    served.server.refuse(ALICE, "public")
    assert "something else" in await answered(friends)
    assert public == []
    assert other == []


async def test_the_end_of_a_node_closes_generators_and_says_so(served: Served) -> None:
    counting = served.api.on("friends.x", Counting(1))
    pull = served.pull(1, 9)
    await answered(pull)
    waiting = served.pull(2)
    assert await served.server.end(5.0) == []
    assert counting.closed == 1
    assert "stopping" in await answered(waiting)
    assert "stopping" in await answered(served.pull(1, 9, series=2))


async def test_a_generator_that_will_not_end_is_named(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    @served.api.on("friends.x")
    async def stubborn(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            while not gate.is_set():
                with suppress(asyncio.CancelledError):
                    await gate.wait()

    await answered(served.pull(1))
    monkeypatch.setattr(module, "GIVE_UP", 0.0)
    assert await served.server.end(0.0) == ["mm series friends.x"]
    gate.set()


async def test_what_is_durable_is_refused_and_what_is_malformed_does_nothing(served: Served) -> None:
    result = served.server.on_message("friends", "x", ALICE, b"", Ended())
    assert result is not None
    assert isinstance(result.error, Refused)
    for data in (b"", b"\xc1", encode([]), encode([1, 2]), encode(["x"]), bytes(100)):
        served.server.on_event("friends", "x", ALICE, data, Counted())
