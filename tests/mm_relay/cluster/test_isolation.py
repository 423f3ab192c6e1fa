"""A process that is cut off from the store: when it says so, when it gives its clients away, and when it keeps them."""

from collections.abc import Callable

from mm_relay.cluster.front import Front
from mm_relay.cluster.isolation import ASK, ASKED, CUT_OFF, MINUTE, TROUBLE, IsolationWatch
from mm_relay.ports import Cluster
from tests.support.waiting import until


class Cut(Cluster):
    """One that answers or not."""

    def __init__(self) -> None:
        self.answers = True

    async def open(self, forwarded: Callable[..., None], displaced: Callable[[bytes], None]) -> None: ...

    async def close(self) -> None: ...

    def here(self, key: bytes) -> None: ...

    def gone(self, key: bytes) -> None: ...

    async def locate(self, key: bytes) -> str:
        return ""

    def send(self, process: str, forwarded: object) -> None: ...

    def publish(self, forwarded: object) -> None: ...

    def answered(self) -> bool:
        return self.answers


class Process:
    """A process whose public URL answers ``front``."""

    def __init__(self, front: Front = Front.SERVES, others: bool = True) -> None:
        self.cluster, self.front = Cut(), front
        self.cluster.others = others
        self.asked = self.given = 0
        self.notes: list[str] = []
        self.watch = IsolationWatch(self.cluster, self._ask, self._give_away, self.notes.append)

    async def looks(self, times: int) -> None:
        for _ in range(times):
            await self.watch.look()

    async def _ask(self) -> Front:
        self.asked += 1
        return self.front

    async def _give_away(self, seconds: float, goes_on: Callable[[], bool]) -> int:
        self.given += goes_on()
        return self.given


async def test_a_process_that_hears_from_the_store_keeps_its_clients() -> None:
    process = Process()
    await process.looks(100)
    assert (process.watch.trouble, process.watch.refusal, process.asked, process.given) == ("", "", 0, 0)


async def test_clients_are_given_away_when_another_process_serves() -> None:
    process = Process()
    await process.looks(1)
    process.cluster.answers = False
    await process.looks(CUT_OFF - 1)
    assert process.watch.trouble == ""
    await process.looks(1)
    assert (process.watch.trouble, process.watch.refusal) == (TROUBLE, "")
    await process.looks(ASK - CUT_OFF + 1)
    assert process.watch.refusal == TROUBLE
    await until(lambda: process.given == 1)
    process.cluster.answers = True
    await process.looks(1)
    assert (process.watch.trouble, process.watch.refusal) == ("", "")
    assert process.notes == [
        "cut off from the store and from the other processes of this relay: see Redis and the way to it",
        "1 clients were given to other processes of this relay, as this one is cut off",
        "the store and the other processes of this relay are there again",
    ]


async def test_clients_stay_when_all_processes_are_cut_off() -> None:
    process = Process(Front.REFUSES)
    await process.looks(1)
    process.cluster.answers = False
    await process.looks(2 * MINUTE)
    assert (process.given, process.watch.refusal) == (0, "")
    assert len([note for note in process.notes if "its clients stay" in note]) == 1
    assert len([note for note in process.notes if "see Redis" in note]) == 2


async def test_one_healthy_answer_may_be_of_a_process_that_has_not_noticed_yet() -> None:
    process = Process(Front.SERVES)
    process.cluster.answers = False
    await process.looks(ASK)
    process.front = Front.REFUSES
    await process.looks(20)
    assert process.given == 0


async def test_where_nobody_answers_the_last_word_of_redis_counts_once() -> None:
    for others in (True, False):
        process = Process(Front.SILENT, others)
        await process.looks(1)
        process.cluster.answers = False
        await process.looks(ASK + ASKED - 2)
        assert not process.given
        await process.looks(20)
        assert process.watch.refusal == ""
        await until(lambda process=process, others=others: process.given == int(others))
