"""When what was put is saved: at once, but for strangers above their measure."""

import asyncio

import pytest

from mmplatform.accounts import DISK_BURST, DISK_RATE, Accounts
from mmplatform.durable import staging as staging_module
from mmplatform.durable.queues import LaneQueue
from mmplatform.durable.staging import WAITING, Staging
from tests.support.waiting import until

FRIEND, STRANGER, ANOTHER = "friend", "stranger", "another"


class Scene:
    """A staging that saves nothing, and what it would have saved, transaction by transaction."""

    def __init__(self) -> None:
        self.saved: list[list[str]] = []
        self.disk = Accounts().disk
        self.staging = Staging(self._save, lambda peer: peer == FRIEND, self.disk)

    def _save(self, lanes: list[LaneQueue]) -> None:
        if lanes:
            assert all(lane.staged_bytes for lane in lanes)
            assert len(set(map(id, lanes))) == len(lanes)
            self.saved.append([lane.peer for lane in lanes])
        for lane in lanes:
            lane.staged_bytes = 0

    def put(self, peer: str, size: int = 100) -> LaneQueue:
        lane = LaneQueue(peer, 2)
        lane.staged_bytes = size
        self.staging.add(lane)
        return lane

    def spend_all(self) -> None:
        self.disk.spend(int((DISK_BURST + 3600) * DISK_RATE), asyncio.get_running_loop().time())


async def test_what_was_put_in_one_turn_is_saved_together_at_its_end() -> None:
    scene = Scene()
    for peer in (FRIEND, STRANGER, ANOTHER):
        scene.put(peer)
    assert scene.saved == []
    await asyncio.sleep(0)
    assert scene.saved == [[FRIEND, STRANGER, ANOTHER]]


async def test_above_their_measure_strangers_wait_together_and_friends_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_module, "LONGEST", 0.01)
    scene = Scene()
    scene.spend_all()
    scene.put(STRANGER)
    scene.put(FRIEND)
    await asyncio.sleep(0)
    scene.put(ANOTHER)
    await asyncio.sleep(0)
    assert scene.saved == [[FRIEND]]
    await until(lambda: len(scene.saved) == 2)
    assert scene.saved == [[FRIEND], [STRANGER, ANOTHER]]


async def test_many_bytes_of_strangers_do_not_wait() -> None:
    scene = Scene()
    scene.spend_all()
    scene.put(STRANGER, WAITING // 2)
    await asyncio.sleep(0)
    assert scene.saved == []
    scene.put(FRIEND)
    scene.put(ANOTHER, WAITING // 2)
    await asyncio.sleep(0)
    assert scene.saved == [[FRIEND, STRANGER, ANOTHER]]


async def test_at_the_end_everything_is_saved_and_nothing_later() -> None:
    scene = Scene()
    scene.spend_all()
    scene.put(STRANGER)
    await asyncio.sleep(0)
    scene.put(FRIEND)
    scene.staging.save_all()
    assert scene.saved == [[FRIEND, STRANGER]]
    await asyncio.sleep(0)
    assert scene.saved == [[FRIEND, STRANGER]]


async def test_messages_that_fill_pages_do_not_count() -> None:
    scene = Scene()
    for _ in range(1000):
        scene.put(STRANGER, 4096)
        await asyncio.sleep(0)
    assert len(scene.saved) == 1000


async def test_what_is_written_all_the_same_keeps_nobody_from_the_disk_for_good() -> None:
    scene = Scene()
    scene.spend_all()
    scene.put(STRANGER)
    scene.staging.save_all()
    assert 0 < scene.disk.spend(0, asyncio.get_running_loop().time()) <= 1
