"""Changes in files of twins: what somebody wrote there stays, and no change is a half one."""

from pathlib import Path

import pytest

from mm_transports.rmb.twins import toml_edit
from mm_transports.rmb.twins.toml_edit import put_twin, remove_twin
from mm_transports.rmb.twins.toml_file import read_twins
from mmplatform.errors import InvalidRecord, LocalError
from tests.support.twins import twin_of

ONE, TWO = twin_of(1), twin_of(2, "a", "ws:/127.0.0.1:18080")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "twins.toml"


def test_a_new_file(file: Path) -> None:
    put_twin(file, ONE)
    put_twin(file, TWO)
    assert read_twins(file.read_bytes()) == {1: ONE, 2: TWO}
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_somebody_wrote_stays(file: Path) -> None:
    written = f'# ours\n\n[twin.2] # two\naccount = "0x{TWO.account.hex()}" # hers\n\n# the end\n'
    file.write_text(written)
    file.chmod(0o644)
    put_twin(file, ONE)
    assert file.read_text().startswith(written)
    put_twin(file, TWO, replace=True)
    for words in ("# ours", "# two", "# hers", "# the end"):
        assert words in file.read_text()
    assert read_twins(file.read_bytes()) == {1: ONE, 2: TWO}
    assert remove_twin(file, 1)
    assert read_twins(file.read_bytes()) == {2: TWO}
    assert file.stat().st_mode & 0o777 == 0o644  # a relay of another user still reads it


def test_a_number_is_not_replaced_unasked(file: Path) -> None:
    put_twin(file, ONE)
    before = file.stat()
    put_twin(file, ONE)
    assert file.stat() == before
    with pytest.raises(LocalError, match="has a twin 1 already; --replace"):
        put_twin(file, twin_of(1, "another"))
    put_twin(file, twin_of(1, "another"), replace=True)
    assert read_twins(file.read_bytes())[1].relays == ("another",)


def test_fields_that_are_gone_are_taken_out(file: Path) -> None:
    put_twin(file, ONE)
    bare = toml_edit.TwinInfo(1, ONE.account)
    put_twin(file, bare, replace=True)
    assert read_twins(file.read_bytes()) == {1: bare}


def test_what_is_not_there_is_not_removed(file: Path) -> None:
    assert not remove_twin(file, 1)
    assert not file.exists()


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    put_twin(real, ONE)
    file.symlink_to(real)
    put_twin(file, TWO)
    assert file.is_symlink()
    assert read_twins(real.read_bytes()) == {1: ONE, 2: TWO}


def test_a_file_that_cannot_be_changed_stays_as_it_is(file: Path, tmp_path: Path) -> None:
    for written, words in (
        ("[twin.2", "no TOML"),
        (f'twin = {{ 2 = {{ account = "{TWO.account.hex()}" }} }}\n', "edit it by hand"),
        (f'[twin.3]\naccount = "{ONE.account.hex()}"\n', "the twins 3 and 1 have the same account"),
    ):
        file.write_text(written)
        with pytest.raises(LocalError, match=words):
            put_twin(file, ONE)
        assert file.read_text() == written
    for path, words in ((tmp_path, "it is no file"), (tmp_path / "no" / "twins.toml", "cannot be written")):
        with pytest.raises(LocalError, match=words):
            put_twin(path, ONE)
    with pytest.raises(InvalidRecord):
        put_twin(file, twin_of(1, "a_b"))


def test_what_somebody_else_wrote_meanwhile_is_not_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_twin(file, ONE)
    edited = toml_edit._edited

    def slow(*arguments: object) -> bytes:
        file.write_text("# another hand\n")
        return edited(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(toml_edit, "_edited", slow)
    with pytest.raises(LocalError, match="run the command again"):
        put_twin(file, TWO)
    assert file.read_text() == "# another hand\n"
