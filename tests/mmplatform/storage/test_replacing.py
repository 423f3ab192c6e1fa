"""A file is the old one or the new one, and nothing else is left."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from mmplatform.storage.replacing import replaced


def test_a_file_is_made_and_replaced_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "words"
    for text in (b"one", b"two"):
        with replaced(path) as file:
            file.write(text)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (text, 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["words"]


def test_what_goes_wrong_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"old")
    with suppress(KeyError), replaced(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        raise KeyError
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("words", b"old")]


def test_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replaced(tmp_path / "missing" / "words"):
        pass


def test_where_a_folder_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems: the file is replaced all the same, and its writer is told of no failure."""
    fsync = os.fsync

    def refuses_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuses_folders)
    with replaced(tmp_path / "words") as file:
        file.write(b"new")
    assert (tmp_path / "words").read_bytes() == b"new"
