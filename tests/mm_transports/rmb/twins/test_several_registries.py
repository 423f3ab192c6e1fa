"""Several registries: the first that knows a twin is believed, and silence of it makes no room for another."""

from pathlib import Path

import pytest

from mm_transports.rmb.twins.cached_registry import RETRY, CachedRegistry
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.registry import told
from mm_transports.rmb.twins.several_registries import SeveralRegistries
from mm_transports.rmb.twins.toml_edit import put_twin
from mmplatform.errors import LocalError, Unreachable
from tests.support.twins import Source, twin_of


async def test_the_file_comes_before_the_directory(tmp_path: Path) -> None:
    put_twin(tmp_path / "twins.toml", twin_of(1, "file"))
    file = FileRegistry(tmp_path / "twins.toml", pytest.fail)
    directory = Source([twin_of(1, "directory"), twin_of(2, "directory")])
    both = SeveralRegistries([file, directory])
    await both.open()
    try:
        assert both.name == f"{tmp_path / 'twins.toml'}, the source"
        assert await both.where(1) == (twin_of(1, "file"), file)
        assert directory.asked == []
        assert await both.find(twin_of(2).account) == twin_of(2, "directory")
        assert await both.find(3) is None
    finally:
        await both.close()
    assert directory.opened == 0


async def test_who_keeps_one_from_answering_does_not_choose_who_is_believed() -> None:
    first, second = Source(), Source([twin_of(1, "an impostor")])
    first.away = "it is down"
    both = SeveralRegistries([first, second])
    with pytest.raises(Unreachable, match="it is down"):
        await both.find(1)
    first.away = ""
    assert await both.find(1) == twin_of(1, "an impostor")  # the first says that it has none


async def test_what_is_remembered_is_asked_for_again_in_all() -> None:
    time = 0.0
    inner = Source([twin_of(1)])
    both = SeveralRegistries([Source(), CachedRegistry(inner, lambda: time)])
    assert await both.find(1) == twin_of(1)
    inner.twins = [twin_of(1, "moved")]
    time = RETRY
    assert await both.find(1) == twin_of(1)
    assert await both.find_newer(1) == twin_of(1, "moved")
    assert await both.find_newer(2) is None


async def test_all_are_open_or_none(tmp_path: Path) -> None:
    first = Source()
    both = SeveralRegistries([first, FileRegistry(tmp_path / "missing", pytest.fail)])
    with pytest.raises(LocalError):
        await both.open()
    assert first.opened == 0


async def test_no_registry_knows_nobody() -> None:
    none = SeveralRegistries([])
    await none.open()
    assert await none.find(1) is None
    assert none.name == "no registry"
    await none.close()


def test_what_errors_call_a_twin() -> None:
    assert told(30) == "twin 30"
    assert told(b"\x01" * 32) == f"the twin with the account {'01' * 32}"
