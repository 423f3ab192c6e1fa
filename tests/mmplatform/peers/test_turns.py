"""Attempts to reach peers begin a few at a time, in the order in which they came."""

import asyncio

from mmplatform.peers.turns import TOGETHER, Turns


class Attempts:
    """So many attempts that begin as soon as it is their turn."""

    def __init__(self, number: int) -> None:
        self.begun: list[int] = []
        self.most = 0  # in one turn of the loop
        turns = Turns()
        self.tasks = [asyncio.create_task(self._attempt(turns, each)) for each in range(number)]

    async def _attempt(self, turns: Turns, number: int) -> None:
        await turns.take()
        self.begun.append(number)

    async def all(self) -> None:
        while not all(task.done() for task in self.tasks):
            before = len(self.begun)
            await asyncio.sleep(0)
            self.most = max(self.most, len(self.begun) - before)


async def test_a_few_begin_at_once() -> None:
    attempts = Attempts(TOGETHER)
    await asyncio.sleep(0)
    assert len(attempts.begun) == TOGETHER


async def test_many_begin_a_few_at_a_time_and_in_order() -> None:
    attempts = Attempts(10 * TOGETHER)
    await attempts.all()
    assert attempts.begun == list(range(10 * TOGETHER))
    assert attempts.most <= TOGETHER


async def test_who_gives_up_takes_no_turn() -> None:
    attempts = Attempts(3 * TOGETHER)
    await asyncio.sleep(0)
    for task in attempts.tasks[TOGETHER : 2 * TOGETHER]:
        task.cancel()
    await attempts.all()
    assert attempts.begun == [*range(TOGETHER), *range(2 * TOGETHER, 3 * TOGETHER)]
