"""A file that is watched: changes count without a restart, a broken file changes nothing, and is told once."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.toml_edit import put_twin, remove_twin
from mmplatform.errors import LocalError
from tests.support.twins import twin_of
from tests.support.waiting import until

ONE, TWO = twin_of(1), twin_of(2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "twins.toml"
    put_twin(path, ONE)
    return path


def break_it(file: Path) -> bytes:
    before = file.read_bytes()
    file.write_text("[twin.2")
    return before


def remove_it(file: Path) -> bytes:
    before = file.read_bytes()
    file.unlink()
    return before


def overwrite(file: Path, old: bytes, new: bytes) -> None:
    """Change it so that nothing but its content tells."""
    before = file.stat()
    with file.open("r+b") as same:
        text = same.read().replace(old, new)
        same.seek(0)
        same.write(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


async def test_found_by_number_and_by_account(file: Path) -> None:
    registry = FileRegistry(file, pytest.fail)
    await registry.open()
    try:
        assert await registry.find(1) == await registry.find(ONE.account) == ONE
        assert await registry.find(2) is None
        assert await registry.find(TWO.account) is None
        assert registry.all() == [ONE]
        assert registry.name == str(file)
    finally:
        await registry.close()
    await registry.close()


async def test_a_change_counts_without_a_restart(file: Path) -> None:
    registry = FileRegistry(file, pytest.fail, look=0.001)
    await registry.open()
    try:
        put_twin(file, TWO)
        await until(lambda: registry.all() == [ONE, TWO])
        remove_twin(file, 1)
        await until(lambda: registry.all() == [TWO])
        assert await registry.find(ONE.account) is None
    finally:
        await registry.close()


@pytest.mark.parametrize("spoil", [break_it, remove_it])
async def test_a_file_that_is_no_good_keeps_what_was_read_and_says_so_in_one_line(
    file: Path, spoil: Callable[[Path], bytes]
) -> None:
    told: list[str] = []
    registry = FileRegistry(file, told.append, look=3600)
    await registry.open()
    try:
        good = spoil(file)
        for _ in range(3):
            await registry.look()
        assert registry.all() == [ONE]
        assert len(told) == 1
        assert told[0].startswith(f"{file}: ")
        assert told[0].endswith("; what was read last stays")
        await asyncio.to_thread(file.write_bytes, good)
        for _ in range(2):
            await registry.look()
        assert told[1:] == [f"{file}: it is read again"]
    finally:
        await registry.close()


async def test_what_settled_is_not_read_again(file: Path) -> None:
    os.utime(file, ns=(1, 1))
    registry = FileRegistry(file, pytest.fail)
    await registry.look()
    overwrite(file, b"[twin.1]", b"[twin.0]")
    await registry.look()
    assert registry.all() == [ONE]


async def test_two_changes_within_one_tick_of_the_clock_are_both_seen(file: Path) -> None:
    registry = FileRegistry(file, pytest.fail)
    await registry.look()
    overwrite(file, b"relay.example", b"relay.exampl2")
    await registry.look()
    assert await registry.find(1) == twin_of(1, "relay.exampl2")


async def test_a_file_that_cannot_be_read_keeps_a_start_from_going_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[twin.0]\n")
    for path, words in (
        (tmp_path / "missing.toml", "no such file; mm rmb twin add makes one"),
        (tmp_path, "it is no file"),
        (broken, "bad-address"),
    ):
        registry = FileRegistry(path, pytest.fail)
        with pytest.raises(LocalError, match=words):
            await registry.open()
        await registry.close()
