"""Attempts to reach peers begin a few at a time, in the order in which they came."""

import asyncio

import pytest

from mmplatform.identity.keys import SignId
from mmplatform.peers import turns as module
from mmplatform.peers.turns import TOGETHER, Turns
from tests.support.waiting import until

KEYS = [SignId(f"{number:043}=") for number in range(1000)]


class Attempts:
    """So many attempts that begin as soon as it is their turn, and end at once unless they are ``long``."""

    def __init__(self, number: int, long: bool = False) -> None:
        self.begun: list[SignId] = []
        self.given_up: set[SignId] = set()
        self.long = long
        self.turns = Turns(self._begin)
        for key in KEYS[:number]:
            self.turns.take(key)

    def _begin(self, key: SignId) -> bool:
        if key in self.given_up:
            return False
        self.begun.append(key)
        self.turns.begun()
        if not self.long:
            asyncio.get_running_loop().call_soon(self.turns.ended)
        return True


async def test_a_few_begin_at_once() -> None:
    attempts = Attempts(3 * TOGETHER)
    assert len(attempts.begun) == TOGETHER
    attempts.turns.close()


async def test_many_begin_a_few_at_a_time_and_in_order() -> None:
    attempts = Attempts(10 * TOGETHER)
    most = 0
    while len(attempts.begun) < 10 * TOGETHER:
        before = len(attempts.begun)
        await asyncio.sleep(0)
        most = max(most, len(attempts.begun) - before)
    assert attempts.begun == KEYS[: 10 * TOGETHER]
    assert most <= TOGETHER


async def test_who_gives_up_takes_no_turn() -> None:
    attempts = Attempts(3 * TOGETHER)
    attempts.given_up.update(KEYS[TOGETHER : 2 * TOGETHER])
    await until(lambda: len(attempts.begun) == 2 * TOGETHER)
    assert attempts.begun == [*KEYS[:TOGETHER], *KEYS[2 * TOGETHER : 3 * TOGETHER]]


async def test_no_more_than_so_many_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNDER_WAY", 30)
    attempts = Attempts(100, long=True)
    for ended in range(1, 71):
        await until(lambda ended=ended: len(attempts.begun) == 29 + ended)
        attempts.turns.ended()
    await until(lambda: attempts.begun == KEYS[:100])
