"""Those that hand over share the loop with everything else: one slice a turn, and a rest now and then."""

import asyncio
from itertools import pairwise

import pytest

from mmplatform.peers import pace as module
from mmplatform.peers.pace import Pace


class Work:
    """Hands over by a pace; each piece of work takes a whole slice. ``seen``: whose slice it was, turn by turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pace, self.turn, self.rests = Pace(), 0, 0
        self.seen: list[tuple[int, str]] = []
        self._now = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self._now)
        sleep = asyncio.sleep

        async def slept(seconds: float) -> None:
            self.rests += seconds == module.REST
            await sleep(0)

        monkeypatch.setattr(module.asyncio, "sleep", slept)

    async def run(self, name: str, slices: int) -> None:
        for _ in range(slices):
            async with self.pace:
                assert not self.pace.is_over
                self._now += module.SLICE
                assert self.pace.is_over
                self.seen.append((self.turn, name))

    async def count_turns(self, future: "asyncio.Future[list[None]]") -> None:
        while not future.done():
            self.turn += 1
            await _turn()


async def _turn() -> None:
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def run(work: Work, *names: str, slices: int) -> None:
    all_of_them = asyncio.gather(*(work.run(name, slices) for name in names))
    await work.count_turns(all_of_them)
    await all_of_them


async def test_a_turn_of_the_loop_has_one_slice_however_many_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    await run(work, *"abcdefgh", slices=5)
    assert len(work.seen) == 40
    turns = [turn for turn, _ in work.seen]
    assert min(b - a for a, b in pairwise(turns)) >= 1
    assert [name for _, name in work.seen] == list("abcdefgh") * 5, "one after the other"


async def test_all_rest_when_they_have_worked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    slices = round(4 * module.WORK / module.SLICE)
    await run(work, "a", "b", slices=slices // 2)
    assert 3 <= work.rests <= 4


async def test_who_is_cancelled_keeps_nobody_from_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    first, second = (asyncio.create_task(work.run(name, 50)) for name in "ab")
    while len(work.seen) < 7:
        await _turn()
    first.cancel()
    await second
    assert first.cancelled()
    assert sum(name == "b" for _, name in work.seen) == 50
