"""Timers by name: the last setting counts, and a timer that fired is gone."""

import asyncio

from mmplatform.peers.timers import Timers
from tests.support.waiting import until


async def test_the_last_setting_of_a_name_counts() -> None:
    timers, fired = Timers(), list[str]()
    timers.set("one", 0.0, lambda: fired.append("first"))
    timers.set("one", 0.0, lambda: fired.append("second"))
    timers.set("other", 0.0, lambda: fired.append("other"))
    assert "one" in timers
    await until(lambda: len(fired) == 2)
    assert fired == ["second", "other"]
    assert "one" not in timers


async def test_a_timer_may_set_itself_again_while_it_fires() -> None:
    timers, fired = Timers(), list[bool]()

    def fire() -> None:
        fired.append("again" in timers)
        if len(fired) < 3:
            timers.set("again", 0.0, fire)

    timers.set("again", 0.0, fire)
    await until(lambda: len(fired) == 3)
    assert fired == [False, False, False]
    assert "again" not in timers


async def test_what_is_cancelled_does_not_fire() -> None:
    timers, fired = Timers(), list[str]()
    timers.set("one", 0.0, lambda: fired.append("one"))
    timers.set("two", 0.0, lambda: fired.append("two"))
    timers.set("three", 0.0, lambda: fired.append("three"))
    timers.cancel("one")
    timers.cancel("unknown")
    timers.clear()
    assert not any(name in timers for name in ("one", "two", "three"))
    done = asyncio.Event()
    timers.set("last", 0.0, done.set)
    await done.wait()
    assert fired == []
