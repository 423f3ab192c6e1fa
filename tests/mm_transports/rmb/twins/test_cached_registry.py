"""What a registry said lately: fresh, stale while it is away, bounded, and asked for once however many wait."""

import asyncio

import pytest

from mm_transports.rmb.twins import cached_registry
from mm_transports.rmb.twins.cached_registry import AT_ONCE, FRESH, MISSED, RETRY, STALE, CachedRegistry
from mmplatform.errors import InvalidRecord, Unreachable
from tests.support.twins import Source, twin_of
from tests.support.waiting import until

ONE, TWO = twin_of(1), twin_of(2)


class Cache:
    """A cache with a clock, in front of a source."""

    def __init__(self, cached: int = 8, patience: float = 20.0) -> None:
        self.time = 0.0
        self.source = Source([ONE, TWO])
        self.registry = CachedRegistry(self.source, lambda: self.time, cached, patience)


async def test_it_waits_for_no_network_when_it_opens() -> None:
    cache = Cache()
    cache.source.answers.clear()
    await cache.registry.open()
    assert (cache.source.asked, cache.source.opened) == ([], 1)
    await cache.registry.close()
    assert cache.source.opened == 0


async def test_an_answer_is_good_for_a_while_by_number_and_account() -> None:
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.time = FRESH - 1
    assert await cache.registry.find(1) == await cache.registry.find(ONE.account) == ONE
    assert cache.source.asked == [1]
    cache.time = FRESH
    cache.source.twins = [twin_of(1, "moved")]
    assert await cache.registry.find(1) == twin_of(1, "moved")
    assert await cache.registry.find(ONE.account) == twin_of(1, "moved")
    assert cache.source.asked == [1, 1]


async def test_a_twin_that_there_is_not_is_asked_for_again_sooner() -> None:
    cache = Cache()
    assert await cache.registry.find(3) is None
    cache.source.twins.append(twin_of(3))
    cache.time = MISSED - 1
    assert await cache.registry.find(3) is None
    cache.time = MISSED
    assert await cache.registry.find(3) == twin_of(3)
    assert await cache.registry.find(3) == twin_of(3)
    assert cache.source.asked == [3, 3]


async def test_a_twin_that_is_gone_is_gone() -> None:
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.source.twins.clear()
    cache.time = FRESH
    assert await cache.registry.find(1) is None
    assert await cache.registry.find(1) is None


async def test_stale_answers_are_given_while_it_is_away_for_a_day() -> None:
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.source.away = "no route"
    cache.time = STALE - RETRY
    assert await cache.registry.find(1) == ONE
    assert cache.source.asked == [1, 1]
    assert await cache.registry.find(1) == ONE  # it was away a moment ago, and is not asked
    with pytest.raises(Unreachable, match="the source could not be asked for twin 2: no route"):
        await cache.registry.find(2)
    assert cache.source.asked == [1, 1]
    cache.time = STALE
    with pytest.raises(Unreachable, match="no route"):
        await cache.registry.find(1)
    cache.source.away = ""
    cache.time += RETRY
    assert await cache.registry.find(1) == ONE


async def test_a_lie_about_one_twin_hides_no_other() -> None:
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.source.lies = [1, 3]
    cache.time = FRESH
    assert await cache.registry.find(1) == ONE
    with pytest.raises(InvalidRecord, match="it lies"):
        await cache.registry.find(3)
    assert await cache.registry.find(2) == TWO
    cache.time = STALE
    with pytest.raises(InvalidRecord, match="it lies"):
        await cache.registry.find(1)


async def test_nobody_waits_long_for_a_slow_one_while_an_old_answer_is_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cached_registry, "HURRY", 0.001)
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.source.answers.clear()
    cache.source.twins = [twin_of(1, "moved")]
    cache.time = FRESH
    assert await cache.registry.find(1) == ONE
    cache.source.answers.set()
    await until(lambda: not cache.registry._asking)
    assert await cache.registry.find(1) == twin_of(1, "moved")  # it was kept when it came
    assert cache.source.asked == [1, 1]


async def test_one_that_never_answers_is_away() -> None:
    cache = Cache(patience=0.001)
    cache.source.answers.clear()
    with pytest.raises(Unreachable, match=r"the source does not answer within 0\.001 s"):
        await cache.registry.find(1)
    await until(lambda: not cache.registry._asking)
    await cache.registry.close()


async def test_many_who_wait_ask_once_and_may_give_up() -> None:
    cache = Cache()
    cache.source.answers.clear()
    asking = [asyncio.ensure_future(cache.registry.find(1)) for _ in range(100)]
    await until(lambda: cache.source.asked)
    for one in asking[::2]:
        one.cancel()
    cache.source.answers.set()
    assert await asyncio.gather(*asking[1::2]) == [ONE] * 50
    assert cache.source.asked == [1]


async def test_what_is_asked_side_by_side_is_bounded() -> None:
    cache = Cache()
    cache.source.answers.clear()
    asking = [asyncio.ensure_future(cache.registry.find(number)) for number in range(100, 100 + AT_ONCE)]
    await until(lambda: len(cache.source.asked) == AT_ONCE)
    with pytest.raises(Unreachable, match="try again"):
        await cache.registry.find(1)
    cache.source.answers.set()
    assert await asyncio.gather(*asking) == [None] * AT_ONCE
    assert await cache.registry.find(1) == ONE


async def test_strangers_who_ask_for_nobody_push_no_twin_out() -> None:
    cache = Cache(cached=8)
    assert await cache.registry.find(1) == ONE
    for number in range(100, 200):
        assert await cache.registry.find(number) is None
    assert await cache.registry.find(1) == ONE
    assert cache.source.asked.count(1) == 1
    assert len(cache.registry._missed) == 8


async def test_the_twin_that_was_not_used_for_longest_is_forgotten_first() -> None:
    cache = Cache(cached=2)
    cache.source.twins = [twin_of(number) for number in range(1, 5)]
    for number in (1, 2, 1, 3, 1, 4):
        await cache.registry.find(number)
    await cache.registry.find(1)
    assert cache.source.asked.count(1) == 1
    assert len(cache.registry._found) == 4  # by number and by account


async def test_who_finds_an_answer_outdated_has_it_asked_for_again_once_in_a_while() -> None:
    cache = Cache()
    assert await cache.registry.find(1) == ONE
    cache.source.twins = [twin_of(1, "moved")]
    assert await cache.registry.find_newer(1) == ONE
    cache.time = RETRY
    assert await cache.registry.find_newer(1) == twin_of(1, "moved")
    assert await cache.registry.find_newer(1) == twin_of(1, "moved")
    assert cache.source.asked == [1, 1]
    cache.source.away = "no route"
    cache.time += RETRY
    assert await cache.registry.find_newer(1) == twin_of(1, "moved")
    cache.time += RETRY
    with pytest.raises(Unreachable):
        await cache.registry.find_newer(3)


async def test_closing_ends_who_waits() -> None:
    cache = Cache()
    cache.source.answers.clear()
    waiting = asyncio.ensure_future(cache.registry.find(1))
    await until(lambda: cache.source.asked)
    await cache.registry.close()
    with pytest.raises(Unreachable, match="was closed"):
        await waiting
