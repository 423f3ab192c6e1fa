"""While nobody writes, pages that deletions left free go back to the disk, a few at a time."""

from pathlib import Path

import pytest

from mmplatform.storage import database, sqlite
from mmplatform.storage.database import Database
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.waiting import pace, until

MB = 1024 * 1024


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "IDLE", 0.02, raising=False)
    monkeypatch.setattr(sqlite, "BETWEEN_STEPS", 0.0, raising=False)


async def test_a_file_gives_back_what_large_messages_took(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    async with SQLiteStorage(path) as storage:
        await storage.write([(b"%d" % n, bytes(MB)) for n in range(12)])
        await storage.put(b"kept", b"kept")
        await storage.write([(b"%d" % n, None) for n in range(12)])
        for _ in range(500):
            await pace(0.005)
            if path.stat().st_size < 2 * MB:
                break
        assert path.stat().st_size < 2 * MB
        assert await storage.scan(b"") == [(b"kept", b"kept")]


async def test_what_an_earlier_run_left_free_is_given_back_too(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    earlier = Database(path)
    earlier.commit({b"%d" % n: bytes(MB) for n in range(12)}, True)
    earlier.commit({b"%d" % n: None for n in range(12)}, True)
    earlier.close()
    async with SQLiteStorage(path):
        await until(lambda: path.stat().st_size < 2 * MB)


async def test_who_writes_waits_for_one_step_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    give_back = Database.give_back

    def noted(self: Database) -> bool:
        steps.append(len(written))
        return give_back(self) or len(written) < 5

    monkeypatch.setattr(Database, "give_back", noted)
    written: list[int] = []
    async with SQLiteStorage(tmp_path / "data.db") as storage:
        for n in range(5):
            before = len(steps)
            await until(lambda before=before: len(steps) > before)  # type: ignore[misc]
            await storage.put(b"%d" % n, b"")
            written.append(n)
        await until(lambda: steps and steps[-1] == 5)


async def test_a_tidy_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    give_back = Database.give_back

    def noted(self: Database) -> bool:
        looks.append(True)
        return give_back(self)

    monkeypatch.setattr(Database, "give_back", noted)
    async with SQLiteStorage(tmp_path / "data.db") as storage:
        await until(lambda: looks)
        await storage.put(b"a", b"1")
        await pace(0.1)
        assert len(looks) == 1, "nothing was deleted since"
        await storage.delete(b"a")
        await until(lambda: len(looks) == 2)
        await pace(0.1)
        assert len(looks) == 2


def test_a_step_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STEP", 10)
    monkeypatch.setattr(database, "SPARE", 5)
    store = Database(tmp_path / "data.db")
    store.commit({b"a": bytes(40 * 4096)}, True)
    store.commit({b"a": None}, True)
    assert store._connection is not None
    free = database._pages(store._connection)
    assert store.give_back()
    assert database._pages(store._connection) == free - 10
    while store.give_back():
        pass
    assert database._pages(store._connection) == 5
    store.close()
