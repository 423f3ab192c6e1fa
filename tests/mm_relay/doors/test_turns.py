"""LoopTurns of the loop, by a clock that stands still unless a test moves it."""

import asyncio

from mm_relay.doors.turns import RESTS, TURN, LoopTurns


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


async def turn() -> None:
    await asyncio.sleep(0)


async def test_a_turn_has_time_until_it_is_used_up_and_the_next_has_again() -> None:
    clock = Clock()
    turns = LoopTurns(clock)
    assert turns.has_time()
    clock.pass_(TURN)
    assert not turns.has_time()
    await turn()
    assert turns.has_time()


async def test_rests_take_turns_and_leave_time_for_what_comes() -> None:
    clock = Clock()
    turns, done = LoopTurns(clock), list[str]()

    def rest(name: str) -> None:
        done.append(name)
        clock.pass_(RESTS / 2)
        turns.rest(lambda: rest(name))

    for name in "abc":
        turns.rest(lambda name=name: rest(name))
    await turn()
    assert done == ["a", "b"]
    assert turns.has_time()
    await turn()
    assert done[:4] == ["a", "b", "c", "a"]


async def test_the_first_step_of_a_connection_comes_before_all_rests() -> None:
    clock = Clock()
    turns, done = LoopTurns(clock), list[str]()
    turns.rest(lambda: done.append("rest"))
    turns.first(lambda: done.append("first"))
    await turn()
    assert done == ["first", "rest"]


async def test_newcomers_wait_behind_all_others_and_each_network_has_its_turn() -> None:
    """A thousand requests of one stranger came before the words of those who were here."""
    clock = Clock()
    turns, done = LoopTurns(clock), list[str]()
    newcomer = getattr(turns, "newcomer", lambda network, step: turns.first(step))
    for number in range(3):
        newcomer("192.0.2.0/24", lambda number=number: done.append(f"flood {number}"))
    newcomer("198.51.100.0/24", lambda: done.append("honest"))
    turns.first(lambda: done.append("first"))
    turns.rest(lambda: done.append("rest"))
    await turn()
    assert done == ["first", "rest", "flood 0", "honest", "flood 2", "flood 1"]


async def test_newcomers_have_a_part_of_a_turn() -> None:
    clock = Clock()
    turns, done = LoopTurns(clock), list[int]()

    def step(number: int) -> None:
        done.append(number)
        clock.pass_(TURN / 4)

    newcomer = getattr(turns, "newcomer", lambda network, step: turns.first(step))
    for number in range(8):
        newcomer("192.0.2.0/24", lambda number=number: step(number))
    await turn()
    assert done == [0, 7]
    await turn()
    assert done == [0, 7, 1, 6]


async def test_who_comes_behind_hundreds_of_its_network_does_not_wait_for_all_of_them() -> None:
    """Of 192 handshakes that came at once, each of a millisecond, an honest one waited for all, three times over."""
    turns, done = LoopTurns(Clock()), list[str]()

    def begins(name: str) -> bool:
        done.append(name)
        return True

    for number in range(192):
        turns.newcomer("192.0.2.0/24", lambda number=number: begins(f"flood {number}"))
    turns.newcomer("192.0.2.0/24", lambda: begins("honest"))
    await turn()
    await turn()
    assert done == ["flood 0", "honest"]


async def test_each_turn_takes_at_least_one_rest_however_much_comes_first() -> None:
    clock = Clock()
    turns, done = LoopTurns(clock), list[str]()

    def first() -> None:
        clock.pass_(TURN)

    turns.rest(lambda: done.append("rest"))
    turns.first(first)
    turns.first(first)
    await turn()
    assert done == ["rest"]


async def test_a_step_that_fails_takes_no_other_with_it() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    turns, done = LoopTurns(), list[str]()
    error = ValueError("of a step")

    def fail() -> None:
        raise error

    turns.rest(fail)
    turns.rest(lambda: done.append("other"))
    await turn()
    await turn()
    assert done == ["other"]
    assert failures == [error]


async def test_a_newcomer_that_has_begun_what_takes_long_is_the_last_of_its_turn() -> None:
    turns, done = LoopTurns(Clock()), list[int]()

    def step(number: int) -> bool:
        done.append(number)
        return number % 3 == 2

    for number in range(7):
        turns.newcomer("192.0.2.0/24", lambda number=number: step(number))
    await turn()
    assert done == [0, 6, 1, 5]
    await turn()
    assert done == [0, 6, 1, 5, 2]
