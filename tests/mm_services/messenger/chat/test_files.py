"""Files of others: safe names, nothing replaced, whole or not at all, and no more than there is room for."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.chat import files as module
from mm_services.messenger.chat.files import LONGEST, IncomingFiles, read, safe_name, size
from mmplatform.errors import LocalError
from mmplatform.text import printable

HOSTILE = {
    "../../etc/passwd": "passwd",
    "/etc/passwd": "passwd",
    "..\\..\\windows\\system32\\x.dll": "x.dll",
    ".bashrc": "bashrc",
    "...": "file",
    "..": "file",
    "": "file",
    "/": "file",
    "-rf": "rf",
    "--help": "help",
    "~root": "root",
    "a\x00b.txt": "a_b.txt",
    "a\x1b[31m.txt": "a_[31m.txt",
    "a\nb": "a_b",
    "\u202egnp.exe": "_gnp.exe",
    "con.txt": "_con.txt",
    "LPT1": "_LPT1",
    "aux.tar.gz": "_aux.tar.gz",
    'a<b>c:d"e|f?g*h': "a_b_c_d_e_f_g_h",
    "a. . ": "a",
    "photo.jpg": "photo.jpg",
    "Ünïcode 文件.pdf": "Ünïcode 文件.pdf",
    "\ud800.txt": "_.txt",
}


@pytest.mark.parametrize(("name", "safe"), HOSTILE.items())
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(st.characters(), max_size=2000))
def test_every_name_is_safe(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= LONGEST + 1
    assert "/" not in safe
    assert "\\" not in safe
    assert not safe.startswith((".", "-", "~", " "))
    assert printable(safe) == safe
    assert safe_name(safe) == safe


def test_long_names_keep_what_they_end_with() -> None:
    assert safe_name("x" * 500 + ".jpg") == "x" * (LONGEST - 4) + ".jpg"
    assert safe_name("ü" * 500 + ".jpg").endswith("ü.jpg")
    assert len(safe_name("a." + "b" * 500)) == LONGEST


def test_nothing_is_replaced(tmp_path: Path) -> None:
    incoming = IncomingFiles(tmp_path / "in")
    paths = [incoming.save("../a.tar.gz", b"%d" % number, f"{number:x}") for number in range(3)]
    assert [path.name for path in paths] == ["a.tar.gz", "a.tar (2).gz", "a.tar (3).gz"]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    assert incoming.save("noend", b"", "4").name == "noend"
    assert incoming.save("noend", b"", "5").name == "noend (2)"


def test_they_are_for_this_user_alone(tmp_path: Path) -> None:
    path = IncomingFiles(tmp_path / "in").save("a", b"secret", "1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "in" / "a").symlink_to(tmp_path / "theirs")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / ".1.part").symlink_to(tmp_path / "theirs")
    incoming = IncomingFiles(tmp_path / "in")
    assert incoming.save("a", b"ours", "1").name == "a (2)"
    assert incoming.save("b", b"ours", "2").name == "b (2)"
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "nowhere").exists()


def test_what_a_kill_left_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".9c.part").write_bytes(b"half of i")
    path = IncomingFiles(tmp_path / "in").save("a", b"half of it, and the rest", "9c")
    assert path.read_bytes() == b"half of it, and the rest"
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        IncomingFiles(tmp_path / "in").save("a", b"data", "1")
    assert list((tmp_path / "in").iterdir()) == []


def test_the_folder_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = IncomingFiles(tmp_path / "in", most=100)
    incoming.save("a", bytes(60), "1")
    with pytest.raises(LocalError, match="--incoming-dir"):
        incoming.save("b", bytes(41), "2")
    incoming.save("c", bytes(40), "3")
    monkeypatch.setattr(module, "MAX_FILES", 2)
    with pytest.raises(LocalError, match="2 files"):
        incoming.save("d", b"", "4")
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_a_name_that_is_taken_too_often_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 3)
    incoming = IncomingFiles(tmp_path / "in")
    for number in range(2):
        incoming.save("a", b"", str(number))
    with pytest.raises(LocalError, match="this name"):
        incoming.save("a", b"", "9")
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_a_file_is_read_to_be_shared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    assert (size(tmp_path / "a"), read(tmp_path / "a")) == (4, b"data")


def test_what_cannot_be_shared_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "no file"), (tmp_path / "pipe", "no file")):
        with pytest.raises(LocalError, match=why):
            size(path)
    with pytest.raises(LocalError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(LocalError, match="cannot be shared"):
        size(Path("a\x00b"))
    monkeypatch.setattr(module, "MAX_FILE", 10)
    (tmp_path / "big").write_bytes(bytes(11))
    for look in (size, read):
        with pytest.raises(LocalError, match="at most 10 B"):
            look(tmp_path / "big")
