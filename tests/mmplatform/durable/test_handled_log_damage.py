"""The log of what is handled: torn, foreign and old bytes are not believed, and none of them stops a start."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmplatform.durable.handled_log import ENTRIES, ENTRY_SIZE, INBOX, STREAM, HandledLog, HandledNote

PEER = "A" * 43 + "="

notes = st.builds(
    lambda kind, lane, epoch, low, more: HandledNote(kind, PEER, lane, epoch, low, low + more),
    st.sampled_from([STREAM, INBOX]), st.integers(0, 3), st.integers(0, 2**53 - 1), st.integers(1, 2**53 - 1),
    st.integers(0, 2**53 - 1),
)  # fmt: skip
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def written(path: Path, noted: list[HandledNote]) -> bytes:
    log = HandledLog(path, lambda error: pytest.fail(str(error)))
    log.open()
    log.clear()
    for note in noted:
        log.note(note)
    log.close()
    return path.read_bytes()


def read(path: Path, data: bytes) -> list[HandledNote]:
    path.write_bytes(data)
    log = HandledLog(path, lambda error: pytest.fail(str(error)))
    found = log.open()
    log.close()
    return found


@in_a_folder
@given(st.lists(notes, max_size=20))
def test_what_is_noted_is_read_again(tmp_path: Path, noted: list[HandledNote]) -> None:
    path = tmp_path / "log"
    assert read(path, written(path, noted)) == noted


@in_a_folder
@given(st.lists(notes, min_size=1, max_size=5), st.integers(0, 5 * ENTRY_SIZE - 1), st.integers(1, 255))
def test_an_entry_with_a_changed_byte_is_not_believed(
    tmp_path: Path, noted: list[HandledNote], position: int, change: int
) -> None:
    path = tmp_path / "log"
    data = bytearray(written(path, noted))
    data[position] ^= change
    whole = read(path, bytes(data))
    hit = position // ENTRY_SIZE
    assert whole in (noted, noted[:hit] + noted[hit + 1 :])  # bytes behind an entry say nothing


@in_a_folder
@given(st.binary(max_size=4 * ENTRY_SIZE))
def test_foreign_bytes_say_nothing(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path / "log", data) == []


def test_the_newest_entries_stay_when_the_ring_is_full(tmp_path: Path) -> None:
    noted = [HandledNote(STREAM, PEER, 2, 7, number, number) for number in range(1, ENTRIES + 11)]
    path = tmp_path / "log"
    assert set(read(path, written(path, noted))) == set(noted[-ENTRIES:])


def test_a_file_that_was_cut_gives_its_whole_entries(tmp_path: Path) -> None:
    noted = [HandledNote(STREAM, PEER, 2, 7, number, number) for number in range(1, 4)]
    path = tmp_path / "log"
    assert read(path, written(path, noted)[: 2 * ENTRY_SIZE + 60]) == noted[:2]
