"""A file of settings that is watched: changes count without a restart, a broken file changes nothing."""

import os
from pathlib import Path

import pytest

from mmplatform.errors import LocalError
from mmplatform.storage.watched_file import MAX_FILE, WatchedFile, content, reason
from tests.support.waiting import until


def number(data: bytes) -> int:
    try:
        return int(data)
    except ValueError:
        raise LocalError("no number") from None


async def test_a_change_counts_without_a_restart_and_is_told(tmp_path: Path) -> None:
    path, changes = tmp_path / "number", list[int]()
    path.write_bytes(b"1")
    file = WatchedFile(path, number, pytest.fail, look=0.001, changed=lambda: changes.append(file.value))
    await file.open()
    try:
        assert (file.value, changes) == (1, [])
        path.write_bytes(b"22")
        await until(lambda: changes == [22])
        path.write_bytes(b"22 ")
        await until(lambda: changes == [22, 22])
    finally:
        await file.close()
    await file.close()


async def test_a_broken_file_leaves_what_was_read_and_one_line(tmp_path: Path) -> None:
    path, told = tmp_path / "number", list[str]()
    path.write_bytes(b"1")
    file = WatchedFile(path, number, told.append, look=3600)
    await file.open()
    try:
        path.write_bytes(b"x")
        for _ in range(3):
            await file.look()
        assert (file.value, told) == (1, [f"{path}: no number; what was read last stays"])
        path.write_bytes(b"1")
        await file.look()
        assert told[1:] == [f"{path}: it is read again"]
    finally:
        await file.close()


async def test_a_file_that_cannot_be_read_keeps_a_start_from_going_on(tmp_path: Path) -> None:
    broken, long = tmp_path / "broken", tmp_path / "long"
    broken.write_bytes(b"x")
    long.write_bytes(bytes(MAX_FILE + 1))
    for path, words in (
        (tmp_path / "none", "make one"),
        (tmp_path, "it is no file"),
        (broken, "no number"),
        (long, "more than"),
    ):
        file = WatchedFile(path, number, pytest.fail, "make one")
        with pytest.raises(LocalError, match=words):
            await file.open()
        await file.close()


def test_no_pipe_is_waited_for_and_reasons_help(tmp_path: Path) -> None:
    pipe, missing = tmp_path / "pipe", tmp_path / "missing"
    os.mkfifo(pipe)
    with pytest.raises(LocalError, match="no file") as caught:
        content(pipe)
    assert reason(caught.value) == "it is no file"
    with pytest.raises(FileNotFoundError) as gone:
        content(missing)
    assert reason(gone.value, "make one") == "there is no such file; make one"
    assert reason(PermissionError(13, "Permission denied")) == "it cannot be read (Permission denied)"
