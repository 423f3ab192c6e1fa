"""The data folder: private, one process at a time."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mmplatform.errors import FolderInUse, FolderNotOurs, StorageError, StorageReadOnly
from mmplatform.storage import folder as module
from mmplatform.storage.folder import DataFolder

ROOT = Path(__file__).parents[3]

HOLDER = """
import sys
from mmplatform.storage.folder import DataFolder

folder = DataFolder(sys.argv[1])
folder.open()
print("held", flush=True)
sys.stdin.readline()
folder.close()
print("free", flush=True)
sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_it_is_made_private_with_its_parents(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "a" / "b") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder.path / "lock").stat().st_mode) == 0o600
        assert (folder.path / "lock").read_text() == str(os.getpid())


def test_an_open_folder_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    with DataFolder(tmp_path / "a") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["identity", "data.db", "mail.db", "lost+found"])
def test_a_folder_of_a_node_and_a_new_disk_are_made_private(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / name).touch()
    DataFolder(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    """``mm --data . id`` locked everybody else out of the working directory."""
    tmp_path.chmod(0o755)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(FolderNotOurs, match=r"as photo\.jpg, .*chmod 700"):
        DataFolder(tmp_path).open()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [file.name for file in tmp_path.iterdir()] == ["photo.jpg"]
    tmp_path.chmod(0o700)
    DataFolder(tmp_path).make()


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o2775])
def test_an_empty_folder_of_several_users_is_left_as_it_is(tmp_path: Path, mode: int) -> None:
    """As /tmp, or a folder of a group: whoever was to put files there next could not."""
    tmp_path.chmod(mode)
    with pytest.raises(FolderNotOurs, match=f"its mode {mode:o} says that several users share it; .*chmod 700"):
        DataFolder(tmp_path).open()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "identity").touch()
    DataFolder(tmp_path).make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o777 == 0o700


def test_a_folder_of_another_user_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(FolderNotOurs, match=r"name a folder of your own"):
        DataFolder(tmp_path).open()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_paths_are_known_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = DataFolder("~/alice")
    assert folder.path == tmp_path / "alice"
    assert [folder.identity.name, folder.database.name, folder.control.name] == ["identity", "data.db", "control.sock"]
    assert not folder.path.exists()


def test_the_same_folder_twice_in_one_process(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.open()
    first.open()
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}; stop it, or use another folder"):
        second.open()
    first.close()
    first.close()
    second.open()
    second.close()


def test_a_second_process_is_told_the_pid_until_the_first_closes(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with pytest.raises(FolderInUse, match=f"in use by process {process.pid};"):
            DataFolder(tmp_path).open()
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"free\n"
        with DataFolder(tmp_path):
            process.stdin.close()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert (tmp_path / "lock").read_text() == str(process.pid)
        with DataFolder(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_holder_that_could_not_write_its_pid(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        (tmp_path / "lock").write_bytes(b"")
        with pytest.raises(FolderInUse, match="process unknown"):
            DataFolder(tmp_path).open()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="choose another"):
        DataFolder(tmp_path / "file").open()


def test_no_permission_and_no_locks_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    def no_locks(_: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(StorageReadOnly, match=r"make .* writable"):
            DataFolder(tmp_path).open()
    monkeypatch.setattr(module, "_lock", no_locks)
    with pytest.raises(StorageError, match="no locks"):
        DataFolder(tmp_path).open()


def test_a_database_that_is_gone_beside_a_key_that_was_used_is_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "node")
    folder.make()
    folder.identity.write_bytes(b"key")
    with folder:
        assert folder.lost(folder.database) == ""  # the first start
    with folder:
        assert "restore a copy" in folder.lost(folder.database)
        folder.database.touch()
        assert "restore a copy" in folder.lost(folder.database)
        folder.database.write_bytes(b"rows")
        assert folder.lost(folder.database) == ""


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_folder_that_is_not_the_one_that_was_opened_says_so(how: str, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a")
    assert folder.gone() == ""
    with folder:
        assert folder.gone() == ""
        folder.path.rename(tmp_path / "b")
        if how == "removed":
            shutil.rmtree(tmp_path / "b")
        elif how == "replaced":
            with DataFolder(tmp_path / "a"):
                assert "removed or replaced" in folder.gone()
        assert "removed or replaced" in folder.gone()
        if how == "renamed":
            (tmp_path / "b").rename(folder.path)
            assert folder.gone() == ""
    assert folder.gone() == ""
