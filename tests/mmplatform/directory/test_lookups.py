"""Questions about peers: one a miss, the first answer for all, misses remembered."""

import asyncio

import pytest

from mmplatform.directory import lookups as module
from mmplatform.directory.lookups import Lookups, Recent
from mmplatform.identity.keys import SignId
from tests.support.waiting import until

BOB, EVE, DAVE = SignId("bob"), SignId("eve"), SignId("dave")


class Asked:
    """What was asked."""

    def __init__(self, anybody: bool = True) -> None:
        self.questions: list[SignId] = []
        self.anybody = anybody
        self.lookups = Lookups(self._ask)

    def _ask(self, peer: SignId) -> bool:
        self.questions.append(peer)
        return self.anybody


async def test_one_question_however_many_wait() -> None:
    asked = Asked()
    finding = [asyncio.create_task(asked.lookups.find(BOB)) for _ in range(5)]
    await asyncio.sleep(0)
    assert asked.questions == [BOB]
    asked.lookups.answered(BOB)
    await asyncio.gather(*finding)
    await asyncio.sleep(0)
    assert not asked.lookups._waiting


async def test_an_answer_within_the_question() -> None:
    asked = Asked()
    asked.lookups._ask = lambda peer: asked.lookups.answered(peer) is None
    await asked.lookups.find(BOB)
    assert not asked.lookups._waiting


async def test_without_services_nobody_waits_and_nothing_is_remembered() -> None:
    asked = Asked(anybody=False)
    await asked.lookups.find(BOB)
    await asked.lookups.find(BOB)
    assert asked.questions == [BOB, BOB]


async def test_the_question_is_repeated_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that starts at this moment is in no directory when it is asked for first."""
    monkeypatch.setattr(module, "REPEATS", (0.001, 0.001, 0.001))
    asked = Asked()
    finding = [asyncio.create_task(asked.lookups.find(BOB)) for _ in range(5)]
    await until(lambda: len(asked.questions) == 4)
    asked.lookups.answered(BOB)
    await asyncio.gather(*finding)
    assert asked.questions == [BOB] * 4


async def test_a_miss_is_remembered_until_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_TIMEOUT", 0.01)
    asked = Asked()
    for peer in (BOB, BOB, EVE):
        await asked.lookups.find(peer)
    asked.lookups.refresh(BOB)
    assert asked.questions == [BOB, EVE]
    asked.lookups.answered(BOB)
    await asked.lookups.find(BOB)
    assert asked.questions == [BOB, EVE, BOB]


async def test_one_caller_gives_up_and_the_other_gets_its_answer() -> None:
    asked = Asked()
    one, other = (asyncio.create_task(asked.lookups.find(BOB)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    asked.lookups.answered(BOB)
    async with asyncio.timeout(1):
        await other
    assert not asked.lookups._waiting


async def test_a_doubt_asks_once_in_a_while_and_not_while_somebody_waits() -> None:
    asked = Asked()
    asked.lookups.refresh(BOB)
    asked.lookups.refresh(BOB)
    finding = asyncio.create_task(asked.lookups.find(EVE))
    await asyncio.sleep(0)
    asked.lookups.refresh(EVE)
    assert asked.questions == [BOB, EVE]
    asked.lookups.answered(EVE)
    await finding


async def test_memory_is_bounded_and_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    recent = Recent()
    for peer in (BOB, EVE, BOB, DAVE):
        recent.add(peer)
    assert [peer in recent for peer in (BOB, EVE, DAVE)] == [True, False, True]
    assert len(recent) == 2
    monkeypatch.setattr(module, "ASK_AGAIN", -1.0)
    recent.add(BOB)
    assert BOB not in recent
