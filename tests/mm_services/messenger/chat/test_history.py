"""The history on disk: it only grows, survives kills and damage, is bounded, and belongs to this user alone."""

import asyncio
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mm_services.messenger.chat import history as module
from mm_services.messenger.chat.history import HistoryFile, MemoryLines
from mmplatform.errors import StorageError
from tests.support.programs import environment


def opened(path: Path, most: int = 1 << 20) -> HistoryFile:
    made = HistoryFile(path, most)
    made.open()
    return made


def kept(path: Path) -> list[bytes]:
    history = opened(path)
    try:
        return [record for _, record in history.records()]
    finally:
        history.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.jsonl"


def test_records_are_read_at_their_places_now_and_later(path: Path) -> None:
    history = opened(path)
    long = b"x" * 40_000
    places = [history.append(data + b"\n") for data in (b"one", long, b"three")]
    assert [history.read(place) for place in places] == [b"one", long, b"three"]
    assert history.end == path.stat().st_size
    history.close()
    again = opened(path)
    assert list(again.records()) == list(zip(places, [b"one", long, b"three"], strict=True))
    assert again.read(places[1]) == long
    assert again.append(b"four\n") == places[2] + 6
    again.close()


def test_it_is_for_this_user_alone(path: Path) -> None:
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_follows_no_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("theirs\n")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(StorageError, match="--no-history"):
        opened(path)
    assert (tmp_path / "other").read_text() == "theirs\n"


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_torn_end_is_left_out_and_nothing_else(path: Path, cut: int) -> None:
    path.write_bytes(b"first\nsecond\nthird..\n"[:-cut])
    assert kept(path)[:2] == [b"first", b"second"]
    history = opened(path)
    place = history.append(b"fourth\n")
    assert history.read(place) == b"fourth"
    history.close()
    assert kept(path)[-1] == b"fourth"


def test_damage_takes_no_other_record_with_it(path: Path) -> None:
    history = opened(path)
    places = [history.append(f"record {number}\n".encode()) for number in range(100)]
    history.close()
    data = bytearray(path.read_bytes())
    data[places[50] : places[51] - 1] = os.urandom(8) + b"\x00" * (places[51] - 1 - places[50] - 8)
    path.write_bytes(data)
    found = kept(path)
    assert [f"record {number}".encode() for number in range(100) if number != 50] == [
        record for record in found if record.startswith(b"record ")
    ]


def test_a_full_file_becomes_the_old_one_and_both_are_read(path: Path) -> None:
    history = opened(path, most=100)
    places = [history.append(b"%08d.\n" % number) for number in range(25)]
    assert path.stat().st_size <= 110
    assert path.with_suffix(".old.jsonl").stat().st_size <= 110
    there = [number for number, place in enumerate(places) if history.read(place) is not None]
    assert there == list(range(there[0], 25))
    assert len(there) >= 11
    assert [history.read(places[number]) for number in there] == [b"%08d." % number for number in there]
    history.close()
    assert kept(path) == [b"%08d." % number for number in there]


def test_distances_between_records_stay_over_restarts_and_turns(path: Path) -> None:
    """The state of a line says how many bytes before it the line begins."""
    history = opened(path, most=100)
    place = 0
    for number in range(30):
        place = history.append(b"line %03d\n" % number)
    back = history.end - place
    history.close()
    again = opened(path, most=100)
    assert again.read(again.end - back) == b"line 029"
    again.close()


def test_a_full_disk_says_so_and_leaves_no_half_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = opened(path)
    history.append(b"first\n")
    real, room = os.write, [4]

    def write(file: int, data: bytes) -> int:
        if not room:
            return real(file, data)
        size = room.pop()
        return real(file, data[:size])

    monkeypatch.setattr(module.os, "write", write)
    with pytest.raises(StorageError, match="no room"):
        history.append(b"second\n")
    place = history.append(b"third\n")
    assert history.read(place) == b"third"
    history.close()
    assert kept(path) == [b"first", b"seco", b"third"]


async def test_saved_waits_for_the_disk_and_many_share_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda file: (syncs.append(file), real(file))[1])
    history = opened(path)
    syncs.clear()
    await history.saved()
    assert syncs == []

    async def one(number: int) -> None:
        history.append(b"%d\n" % number)
        await history.saved()

    await asyncio.gather(*(one(number) for number in range(200)))
    assert 1 <= len(syncs) <= 3
    assert history._synced == history.end
    history.close()


async def test_who_waits_for_a_broken_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = opened(path)

    def broken(file: int) -> None:
        raise OSError("it is gone")

    history.append(b"1\n")
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fsync", broken)
        with pytest.raises(StorageError, match="it is gone"):
            await history.saved()
    await history.saved()
    history.close()


WRITER = """
import sys
from pathlib import Path
from mm_services.messenger.chat.history import HistoryFile
history = HistoryFile(Path(sys.argv[1]), most=200_000)
history.open()
number = int(sys.argv[2])
while True:
    history.append(b"%d %s\\n" % (number, b"x" * (number % 300)))
    print(number, flush=True)
    number += 1
"""


def test_what_was_appended_survives_kills(path: Path) -> None:
    """At random moments, ten times in a row; each begins on what the one before has left."""
    chance, following = random.Random(7), 0
    for _ in range(10):
        command = [sys.executable, "-c", WRITER, str(path), str(following)]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(chance.randrange(1, 400))]
            writer.kill()
            said += writer.stdout.read().splitlines()
        whole = [int(line) for line in said if line.strip().isdigit()]
        numbers = [int(record.split()[0]) for record in kept(path) if b" " in record]
        assert numbers == sorted(set(numbers))
        assert set(whole) - set(numbers) <= set(range(min(numbers)))
        following = max(numbers) + 1


def test_memory_keeps_the_latest() -> None:
    memory = MemoryLines(last=3, size=1000)
    places = [memory.append(b"%d" % number) for number in range(5)]
    assert places == [-1, -2, -3, -4, -5]
    assert [memory.read(place) for place in places] == [None, None, b"2", b"3", b"4"]
    assert memory.read(-6) is None
    assert memory.read(0) is None


def test_memory_is_bounded_in_bytes() -> None:
    memory = MemoryLines(last=1000, size=100)
    places = [memory.append(b"x" * 30) for _ in range(50)]
    assert [memory.read(place) is not None for place in places] == [False] * 47 + [True] * 3
