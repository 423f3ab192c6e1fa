"""The folder of a running node is removed: the node says so, once, though it has nothing to write."""

import shutil
from pathlib import Path

import pytest

from mmplatform import Platform, StorageGone
from mmplatform.storage import folder_watch as module
from tests.support.waiting import stays, until


async def test_a_node_that_has_nothing_to_write_says_once_that_its_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    told: list[Exception] = []
    async with Platform(tmp_path / "a", connection_info=()) as node:
        node.on("error", lambda error, topic: told.append(error))
        (tmp_path / "a").rename(tmp_path / "b")
        await until(lambda: told)
        await stays(lambda: len(told) == 1, 0.1)
        (tmp_path / "b").rename(tmp_path / "a")
        await stays(lambda: len(told) == 1, 0.1)
        shutil.rmtree(tmp_path / "a")
        await until(lambda: len(told) == 2)
    assert {type(error) for error in told[:2]} == {StorageGone}
    assert str(tmp_path / "a") in str(told[0])
