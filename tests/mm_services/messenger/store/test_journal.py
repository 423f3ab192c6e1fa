"""The journal: what is sound is read, whatever was torn; what says nothing any more is left out."""

import errno
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from mm_services.messenger.store import journal as module
from mm_services.messenger.store.entry import Note, NotedCopies, NotedReceipt
from mm_services.messenger.store.index import BundleIndex
from mm_services.messenger.store.journal import IDLE, MAX_RECORD, NOTES, RESERVE, Journal
from mmplatform.codec import encode
from tests.support.bundle_stores import BOB
from tests.support.disks import Disk, disk

__all__ = ["disk"]


class Copies:
    """What the journals here are about: so many copies of each of a few bundles."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.known)

    def notes(self) -> Iterator[Note]:
        for bundle in list(self.known):
            yield NotedCopies(bundle, self.known[bundle])


class CopiesJournal(Journal):
    """A journal with what it is about."""

    def __init__(self, folder: Path) -> None:
        self.copies = Copies()
        super().__init__(folder / "journal", self.copies)
        self.heard = 0
        for note in self.read():
            assert isinstance(note, NotedCopies)
            self.copies.known[note.id] = note.copies
            self.heard += 1
        self.open()

    def say(self, *numbers: int) -> None:
        notes = [NotedCopies(number.to_bytes(16), number) for number in numbers]
        self.copies.known.update((note.id, note.copies) for note in notes)
        self.append(notes)

    def settle(self) -> None:
        """Have the second file tell all, and take the place of the first."""
        self.tell()
        if self.is_due():
            assert not self.is_due()
            self.replace()

    def tell(self) -> None:
        """Have the second file tell all."""
        while self.has_more:
            self.append([])

    @property
    def size(self) -> int:
        """Bytes of its notes."""
        return self._size

    @property
    def numbers(self) -> list[int]:
        return sorted(self.copies.known.values())


def numbers_in(folder: Path) -> list[int]:
    """What a kill at this moment would leave."""
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.glob("journal*"):
            shutil.copy(path, copy)
        journal = CopiesJournal(Path(copy))
        journal.close()
        return journal.numbers


def test_what_was_appended_is_read_without_being_closed(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(1, 2)
    journal.say(3)
    assert numbers_in(tmp_path) == [1, 2, 3]
    for _ in range(2):
        journal.close()
    again = CopiesJournal(tmp_path)
    again.say(4)
    assert numbers_in(tmp_path) == [1, 2, 3, 4]
    again.close()
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600


def test_many_notes_are_several_records(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(*range(3 * NOTES + 1))
    journal.close()
    assert (tmp_path / "journal").read_bytes().count(module.MARK) == 4
    assert numbers_in(tmp_path) == list(range(3 * NOTES + 1))


def test_a_torn_end_is_ignored_at_whatever_byte(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(1)
    size = journal.size
    journal.say(2)
    journal.close()
    data = (tmp_path / "journal").read_bytes()
    for cut in range(size, len(data)):
        (tmp_path / "journal").write_bytes(data[:cut])
        journal = CopiesJournal(tmp_path)
        assert (journal.numbers, journal.damaged) == ([1], 0)
        journal.say(3)
        journal.close()
        assert numbers_in(tmp_path) == [1, 3]


def test_a_damaged_record_takes_no_other_one_with_it(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    ends = [0]
    for number in range(5):
        journal.say(number)
        ends.append(journal.size)
    journal.close()
    data = (tmp_path / "journal").read_bytes()
    for place in range(ends[1], ends[4]):
        (tmp_path / "journal").write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        journal = CopiesJournal(tmp_path)
        hit = next(number for number in range(5) if place < ends[number + 1])
        assert journal.numbers == [number for number in range(5) if number != hit], place
        assert journal.damaged == 1
        journal.close()
    (tmp_path / "journal").write_bytes(data[: ends[2]] + bytes(200_000) + module.MARK + data[ends[2] :])
    journal = CopiesJournal(tmp_path)
    assert (journal.numbers, journal.damaged) == ([0, 1, 2, 3, 4], 1)
    journal.close()


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 100, 100_000])
def test_random_bytes_say_nothing(tmp_path: Path, size: int) -> None:
    chance = random.Random(size)
    for start in (b"", module.MARK, module._start.pack(module.MARK, MAX_RECORD + 1, 0)):
        (tmp_path / "journal").write_bytes(start + chance.randbytes(size))
        assert numbers_in(tmp_path) == []
    (tmp_path / "journal").write_bytes(record_of(b"\x91\x93\x04\xc4\x01x\x01"))  # a checksum proves no sense
    assert numbers_in(tmp_path) == []


def record_of(payload: bytes) -> bytes:
    return module._start.pack(module.MARK, len(payload), module.zlib.crc32(payload)) + payload


@pytest.mark.parametrize("state", [-1, 0, 4])
def test_a_receipt_of_no_state_says_nothing(tmp_path: Path, state: int) -> None:
    note = NotedReceipt(bytes(16), BOB.sign_id, state, 0.0, ours=True)
    (tmp_path / "journal").write_bytes(record_of(encode([note])))
    index = BundleIndex(10, 10)
    for each in Journal(tmp_path / "journal", index).read():
        index.apply(each)
    assert index.receipts(bytes(16)) == {}


def test_what_says_nothing_any_more_is_left_out(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(*range(100, 3100))
    sizes = []
    for _ in range(3 * IDLE):
        journal.say(1)
        journal.settle()
        sizes.append(journal.size)
    journal.close()
    assert max(sizes) > 2 * sizes[-1]
    assert not (tmp_path / "journal.next").exists()
    again = CopiesJournal(tmp_path)
    assert again.numbers == [1, *range(100, 3100)]
    assert again.heard < 2 * 3001 + IDLE + 2
    again.close()


def test_a_kill_while_it_is_told_anew_loses_nothing(tmp_path: Path) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(*range(1000, 9000))
    journal.say(*[1] * (IDLE + 9000))
    journal.say(2)  # the second file is begun, and has a part of it
    assert (tmp_path / "journal.next").exists()
    journal.close()
    for number in (3, 4):
        killed = CopiesJournal(tmp_path)
        assert killed.numbers == [*range(1, number), *range(1000, 9000)]
        killed.say(number)
        killed.close()
    again = CopiesJournal(tmp_path)
    while (tmp_path / "journal.next").exists():
        again.say(5)
        again.settle()
    assert not again.has_more
    again.close()
    assert numbers_in(tmp_path) == [1, 2, 3, 4, 5, *range(1000, 9000)]


def test_notes_that_could_not_be_written_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(1)

    def torn(file: FileIO, data: bytes, place: int) -> None:
        write(file, data[: len(data) // 2], place)
        raise OSError(errno.EIO, "worn out")

    write = module._write_at
    with monkeypatch.context() as patched:
        patched.setattr(module, "_write_at", torn)
        for number in (2, 3):
            with pytest.raises(OSError, match="worn out"):
                journal.say(number)
            assert journal.behind
            assert not journal.has_more, "it would fail again"
    assert numbers_in(tmp_path) == [1], "nothing half"
    journal.say(4)
    assert numbers_in(tmp_path) == [1, 2, 3, 4], "a kill now loses nothing"
    journal.settle()
    assert not (tmp_path / "journal.next").exists()
    journal.say(5)
    journal.close()
    assert numbers_in(tmp_path) == [1, 2, 3, 4, 5]


def test_a_second_file_that_cannot_take_its_place_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = CopiesJournal(tmp_path)
    journal.say(*[1] * (IDLE + 10))
    journal.say(2)
    journal.tell()
    assert journal.is_due()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "worn out")))
        with pytest.raises(OSError, match="worn out"):
            journal.replace()
    journal.say(3)
    assert not journal.has_more
    assert journal.is_due()
    journal.replace()
    journal.close()
    assert numbers_in(tmp_path) == [1, 2, 3]


def test_a_full_disk_has_room_for_notes_of_what_is_removed(disk: Disk) -> None:
    journal = CopiesJournal(disk.path)
    journal.say(*range(5000))
    disk.fill()
    written = 5000
    with pytest.raises(OSError, match="No space"):  # noqa: PT012 - one of them
        for written in range(5000, 50_000):
            journal.say(written)
            assert not journal.behind
    assert written > 5000 + RESERVE // 2 // 40
    assert numbers_in(disk.path) == list(range(written))
    with pytest.raises(OSError, match="No space"):
        journal.say(50_000)
    assert journal.behind
    disk.give_back()
    journal.say(50_001)
    journal.settle()
    assert numbers_in(disk.path) == journal.numbers == [*range(written + 1), 50_000, 50_001]
    journal.close()
    assert (disk.path / "journal").stat().st_size < RESERVE, "what is reserved is given back"
