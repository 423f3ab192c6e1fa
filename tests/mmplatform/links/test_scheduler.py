"""Who causes little work is served before who causes much, in virtual time; a clock that the test moves."""

import asyncio
from math import inf

from mmplatform.links.scheduler import LATELY, SHARED, STEPS, TURN, TURN_KNOWN, Scheduler
from tests.support.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Busy:
    """Has ``left`` steps to do that take ``seconds`` each; notes its name in ``log`` at each."""

    def __init__(self, clock: Clock, log: list[str], name: str, left: int, seconds: float, known: bool = False) -> None:
        self.clock, self.log, self.name, self.left, self.seconds, self.known = clock, log, name, left, seconds, known
        self.worked = 0.0

    def work(self) -> bool:
        self.log.append(self.name)
        self.clock.now += self.seconds
        self.left -= 1
        return self.left > 0


async def test_a_turn_has_time_for_strangers_up_to_a_point_and_more_for_friends() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    stranger, friend = Busy(clock, [], "s", 0, 0.0), Busy(clock, [], "f", 0, 0.0, known=True)
    assert scheduler.admits(stranger)
    scheduler.charge(stranger, TURN)
    assert not scheduler.admits(stranger)
    assert scheduler.admits(friend)
    scheduler.charge(stranger, TURN_KNOWN - TURN)
    assert not scheduler.admits(friend)
    await until(lambda: scheduler.admits(stranger))  # the next turn of the loop has time of its own


async def test_a_turn_is_half_as_long_while_several_links_have_work() -> None:
    """Whoever asks beside one that floods waits for the ends of turns: of its own, of handlers, of the answer."""
    clock = Clock()
    scheduler = Scheduler(clock)
    flood, honest = Busy(clock, [], "flood", 0, 0.0, known=True), Busy(clock, [], "honest", 0, 0.0, known=True)
    scheduler.charge(flood, SHARED * TURN_KNOWN)
    assert scheduler.admits(flood), "alone it has a whole turn"
    scheduler.charge(honest, 0.0)
    assert not scheduler.admits(flood)
    for _ in range(LATELY):
        await until(lambda: scheduler.admits(honest))
        scheduler.charge(honest, SHARED * TURN_KNOWN)
    assert scheduler.admits(honest), "the other one has had no work for long"


async def test_a_friend_who_floods_has_less_than_a_tenth_of_what_is_noticed_in_a_turn() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    friend = Busy(clock, [], "f", 0, 0.0, known=True)
    frames = 0
    while scheduler.admits(friend):
        scheduler.charge(friend, 0.001)
        frames += 1
    assert frames + round(STEPS / 0.001) <= 10  # ms, of the 100 that a person notices
    await until(lambda: scheduler.admits(friend))


async def test_who_has_caused_less_work_comes_first() -> None:
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    heavy, light = Busy(clock, log, "heavy", 2, 0.0001), Busy(clock, log, "light", 2, 0.0001)
    scheduler.charge(heavy, 0.02)
    scheduler.charge(light, 0.001)
    scheduler.wait(heavy)
    scheduler.wait(light)
    await until(lambda: len(log) == 4)
    assert log == ["light", "light", "heavy", "heavy"]


async def test_a_hundred_who_flood_do_not_hold_up_one_who_asks_now_and_then() -> None:
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    for number in range(100):
        scheduler.wait(Busy(clock, log, f"flood {number}", 10_000, 0.001))
    await until(lambda: len(log) >= 100)
    honest = Busy(clock, log, "honest", 1, 0.0001)
    scheduler.charge(honest, 0.0001)
    scheduler.wait(honest)
    before = len(log)
    await until(lambda: not honest.left)
    assert log.index("honest") == before  # the next one of all that is served


async def test_a_turn_serves_those_that_wait_for_a_bounded_time_only() -> None:
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    scheduler.wait(Busy(clock, log, "x", 1000, STEPS / 3))
    await asyncio.sleep(0)
    assert 3 <= len(log) <= 4


async def test_whoever_idled_for_long_has_saved_up_no_turns() -> None:
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    busy = Busy(clock, log, "busy", 100_000, 0.01)
    scheduler.wait(busy)
    await until(lambda: len(log) >= 500)  # five seconds of virtual time
    scheduler.wait(Busy(clock, log, "idle until now", 10_000, 0.01))
    begun = len(log)
    await until(lambda: len(log) >= begun + 100)
    served = log[begun : begun + 100]
    assert 40 <= served.count("busy") <= 60


async def test_a_friend_has_four_times_the_share_of_a_stranger() -> None:
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    scheduler.wait(Busy(clock, log, "stranger", 100_000, 0.01))
    scheduler.wait(Busy(clock, log, "friend", 100_000, 0.01, known=True))
    await until(lambda: len(log) >= 200)
    assert 35 <= log[:200].count("stranger") <= 45


async def test_who_comes_anew_waits_behind_those_who_are_here() -> None:
    """Else fresh links would be served first, and whoever makes them by the hundred would be served alone."""
    clock, log = Clock(), list[str]()
    scheduler = Scheduler(clock)
    old = Busy(clock, log, "here", 1, 0.001)
    scheduler.charge(old, 0.02)
    for number in range(50):
        fresh = Busy(clock, log, f"fresh {number}", 1, 0.001)
        fresh.worked = inf
        scheduler.wait(fresh)
    scheduler.wait(old)
    await until(lambda: len(log) == 51)
    assert log[0] == "here"


async def test_an_error_of_one_is_told_and_the_others_are_served() -> None:
    clock, log, told = Clock(), list[str](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    scheduler = Scheduler(clock)
    broken = Busy(clock, log, "broken", 1, 0.001)
    broken.left = "no number"  # type: ignore[assignment]
    scheduler.wait(broken)
    scheduler.wait(Busy(clock, log, "other", 1, 0.001))
    await until(lambda: "other" in log)
    assert [type(error) for error in told] == [TypeError]
