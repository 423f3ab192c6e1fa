"""What a node says of a folder that is not as it left it."""

import shutil
from pathlib import Path

import pytest

from mmplatform import Platform, StorageGone
from tests.support.world import identity


def node(path: Path) -> tuple[Platform, list[str]]:
    told: list[str] = []
    platform = Platform(path, connection_info=[], transports=["tcp"])
    platform.on("error", lambda error, topic: told.append(f"{type(error).__name__}: {error}"))
    return platform, told


async def test_a_database_that_was_emptied_beside_a_kept_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node"
    first, told = node(path)
    async with first:
        assert told == []
    (path / "data.db").write_bytes(b"")
    again, told = node(path)
    async with again:
        assert again.sign_id == first.sign_id
        assert len(told) == 1
        assert "StorageGone" in told[0]
        assert "restore a copy" in told[0]


async def test_nothing_is_accepted_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    platform, _ = node(tmp_path / "node")
    async with platform:
        friend = identity(2).sign_id
        await platform.add(friend, circle="friends")
        await platform.messaging.send("chat", friend, 1)
        shutil.rmtree(tmp_path / "node")
        with pytest.raises(StorageGone, match="put the folder back"):
            await platform.messaging.send("chat", friend, 2)


async def test_a_copy_without_its_log_does_not_start_as_if_it_were_whole(tmp_path: Path) -> None:
    platform, _ = node(tmp_path / "node")
    async with platform:
        friend = identity(2).sign_id
        await platform.add(friend, circle="friends")
        await platform.messaging.send("chat", friend, 1)
        shutil.copytree(tmp_path / "node", tmp_path / "copy", ignore=shutil.ignore_patterns("*-wal", "*.sock"))
    copy, _ = node(tmp_path / "copy")
    with pytest.raises(StorageGone, match="touch"):
        await copy.start()
