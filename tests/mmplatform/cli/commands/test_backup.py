"""mm backup and restore: the same node again, from one file."""

import fcntl
import json
import os
import stat
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from mmplatform.cli import backup_file
from mmplatform.cli.backup_file import COPY, MAGIC
from mmplatform.cli.command import FAILED, OK, USAGE
from mmplatform.cli.commands import backup
from mmplatform.errors import LocalError
from mmplatform.storage.folder import DataFolder
from tests.support.cli import LOOPBACK, Node

Here = Callable[..., tuple[int, str, str]]
Pair = tuple[Node, Node]


@pytest.fixture
def saved(pair: Pair, here: Here, tmp_path: Path) -> Path:
    """A backup of alice, for whose friend bob a message waits."""
    alice, _ = pair
    assert here("send", "bob", "chat", "hello", "--no-wait", data=alice.folder)[0] == OK
    (alice.folder / "relays").write_text("none\n")
    file = tmp_path / "alice.mmbackup"
    code, out, err = here("backup", str(file), data=alice.folder)
    assert (code, out) == (OK, "")
    assert "the file holds its secret key" in err
    return file


def everything(here: Here, folder: Path) -> list[str]:
    return [here(command, "--json", data=folder)[1] for command in ("peers", "outbox")]


def test_it_is_the_same_node_again(pair: Pair, here: Here, saved: Path, tmp_path: Path) -> None:
    alice, _ = pair
    new = tmp_path / "new"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    code, out, err = here("restore", str(saved), data=new)
    assert (code, "is restored in" in out) == (OK, True)
    assert "never run two nodes with one key" in err
    assert here("id", data=new) == here("id", data=alice.folder)
    assert json.loads(here("peers", "--json", data=new)[1])["name"] == "bob"
    assert json.loads(here("outbox", "--json", data=new)[1])["topic"] == "chat"
    assert (new / "relays").read_text() == "none\n"
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in new.iterdir()} == {0o600}
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_running_node_is_saved_and_what_waits_is_delivered_by_the_restored_one(
    pair: Pair, here: Here, tmp_path: Path
) -> None:
    alice, bob = pair
    file, new = tmp_path / "b", Node(tmp_path / "new")
    alice.serve("run", "--listen", *LOOPBACK)
    here("send", "bob", "chat", "hello", "--no-wait", data=alice.folder)
    told = json.loads(here("backup", str(file), "--json", data=alice.folder)[1])
    assert told["bytes"] > 1000
    assert here("ping", "nobody", data=alice.folder)[0] == FAILED, "it goes on"
    assert not list(alice.folder.glob(f"{COPY}*"))
    alice.stop()
    assert here("restore", str(file), data=new.folder)[0] == OK
    bob.serve("run", "--listen", *LOOPBACK)
    new.serve("run", "--listen", *LOOPBACK)
    assert here("ping", "bob", data=new.folder)[0] == OK
    done = bob.mm("on", "friends.chat", "--count", "1", "--payload")
    assert done.stdout == b"hello\n"
    new.stop()


def test_through_pipes(pair: Pair, tmp_path: Path) -> None:
    alice, _ = pair
    new = Node(tmp_path / "new")
    saved = alice.mm("backup", "-", "--json")
    assert json.loads(saved.stderr)["file"] == "-"
    assert new.mm("restore", "-", stdin=saved.stdout).returncode == OK
    assert new.mm("id").stdout == alice.mm("id").stdout


def test_a_folder_that_is_used_is_put_aside(here: Here, saved: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    before = here("id", data=new)[1]
    code, _, err = here("restore", str(saved), data=new)
    assert (code, "--force puts this one aside" in err) == (FAILED, True)
    told = json.loads(here("restore", "--force", "--json", str(saved), data=new)[1])
    assert here("id", data=Path(told["aside"]))[1] == before
    assert here("id", data=new)[1].strip() == told["signId"]


def test_an_empty_folder_is_used(here: Here, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert here("restore", str(saved), data=tmp_path / "new")[0] == OK


def test_never_where_a_node_runs(here: Here, saved: Path, node: Node) -> None:
    process = node.serve("run", "--listen", *LOOPBACK)
    for force in ((), ("--force",)):
        code, _, err = here("restore", *force, str(saved), data=node.folder)
        assert (code, f"in use by process {process.pid}" in err) == (FAILED, True)
    assert node.mm("id").returncode == OK


def test_a_damaged_backup_changes_nothing(here: Here, saved: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    here("id", data=new)
    before = sorted(tmp_path.iterdir())
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)
    code, _, err = here("restore", "--force", str(saved), data=new)
    assert (code, "its checksum is another one" in err) == (FAILED, True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_key_and_rows_that_do_not_belong(here: Here, pair: Pair, tmp_path: Path) -> None:
    """The checksum holds, as somebody made it so."""
    alice, bob = pair
    keys = [json.loads(here("id", "--json", data=node.folder)[1])["signId"] for node in pair]
    paths = {"identity": alice.folder / "identity", "data.db": alice.folder / "data.db"}
    for sign_id, rows, says in ((keys[1], None, "is not that of its header"), (keys[0], b"x" * 5000, "data.db")):
        if rows is not None:
            paths["data.db"].write_bytes(rows)
        sizes = [(name, path.stat().st_size) for name, path in paths.items()]
        file = tmp_path / "forged"
        with file.open("wb") as to:
            backup_file.write_backup(
                to, backup_file.BackupHeader(sign_id, 1, sizes), [BytesIO(path.read_bytes()) for path in paths.values()]
            )
        code, _, err = here("restore", str(file), data=tmp_path / "new")
        assert (code, says in err) == (FAILED, True), err
        assert not (tmp_path / "new").exists()
    assert bob.folder.exists()


def test_a_backup_that_cannot_be_written_leaves_the_old_one(
    here: Here, saved: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    code, _, err = here("backup", str(saved), data=pair[0].folder)
    assert (code, "No space left" in err) == (FAILED, True)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir() if file.name.startswith(".")] == []


def test_where_nothing_can_be_written_the_file_is_named(here: Here, pair: Pair, tmp_path: Path) -> None:
    """It was a temporary file beside it, of which nobody had heard."""
    file = tmp_path / "missing" / "b"
    code, _, err = here("backup", str(file), data=pair[0].folder)
    assert (code, err) == (FAILED, f"mm: {file} cannot be written: No such file or directory\n")


def test_a_pipe_is_written_into_and_a_link_followed(here: Here, pair: Pair, tmp_path: Path) -> None:
    """As in mm backup >(gpg -c > FILE), or to a device, which root would have replaced by a file."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("saved")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)  # it is read when all is written
    assert here("backup", str(pipe), data=pair[0].folder)[0] == OK
    assert (pipe.is_fifo(), os.read(reader, len(MAGIC))) == (True, MAGIC)
    os.close(reader)
    assert here("backup", str(link), data=pair[0].folder)[0] == OK
    assert (link.is_symlink(), (tmp_path / "saved").read_bytes()[: len(MAGIC)]) == (True, MAGIC)


def test_what_is_not_there(here: Here, node: Node, tmp_path: Path) -> None:
    assert "no node" in here("backup", str(tmp_path / "b"), data=node.folder)[2]
    assert here("restore", str(tmp_path / "missing"), data=node.folder)[0] == FAILED
    assert here("backup")[0] == USAGE


def test_a_terminal_is_no_place_for_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert here("backup", "-")[0] == USAGE
    assert here("restore", "-")[0] == USAGE


def test_too_little_room(here: Here, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backup_file.LARGEST, "data.db", 1 << 62)
    header = backup_file.BackupReader(BytesIO(saved.read_bytes())).header
    sizes = [(name, 1 << 60 if name == "data.db" else size) for name, size in header.files]
    encoded = backup_file.encode(backup_file.BackupHeader(header.sign_id, 1, sizes))
    saved.write_bytes(b"mmbackup\x01" + len(encoded).to_bytes(4) + encoded)
    code, _, err = here("restore", str(saved), data=tmp_path / "new")
    assert (code, "are free at" in err) == (FAILED, True)


def test_a_folder_that_cannot_be_moved_is_put_back(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    with pytest.raises(LocalError, match="cannot be replaced"):
        backup._put_in_place(tmp_path / "missing", target)
    assert (target / "file").exists()


def test_copies_that_killed_commands_left(node: Node) -> None:
    node.folder.mkdir()
    old, new = node.folder / f"{COPY}old", node.folder / f"{COPY}new"
    for file in (old, new):
        file.touch()
    os.utime(old, (1, 1))
    backup._remove_left(DataFolder(node.folder))
    assert (old.exists(), new.exists()) == (False, True)
