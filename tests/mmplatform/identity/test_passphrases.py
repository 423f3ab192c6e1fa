"""Whose passphrase opens a key file: one that was given, that of a file, of a keyring, or of a person."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmplatform.errors import IdentityError, PassphraseNeeded, WrongPassphrase
from mmplatform.identity import sealed_key
from mmplatform.identity.keys import Identity, look_into
from mmplatform.identity.passphrases import VARIABLE, asking

WORD = "correct horse"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sealed_key, "MEMORY", 8)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """That of a desktop."""
    kept: dict[tuple[str, str], str] = {}
    made = SimpleNamespace(
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, word: kept.update({(service, name): word}),
        delete_password=lambda service, name: kept.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", made)  # type: ignore[arg-type]
    return kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity"


@pytest.fixture
def asked(path: Path) -> Iterator[list[Path]]:
    """The files whose passphrase a person was asked for; it knows the right one."""
    found: list[Path] = []

    def ask(file: Path) -> str:
        found.append(file)
        return WORD

    token = asking.set(ask)
    yield found
    asking.reset(token)


def test_a_new_key_is_encrypted_from_its_first_moment(path: Path) -> None:
    made = Identity.load_or_create(path, WORD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"mm-key-1 ")
    assert Identity.load_or_create(path, WORD).sign_id == made.sign_id
    assert look_into(path) == (made.sign_id, "passphrase")
    with pytest.raises(WrongPassphrase):
        Identity.load_or_create(path, "wrong")
    with pytest.raises(PassphraseNeeded, match=VARIABLE):
        Identity.load_or_create(path)


def test_a_plain_key_is_not_taken_for_an_encrypted_one(path: Path) -> None:
    made = Identity.load_or_create(path)
    with pytest.raises(IdentityError, match=r"is not encrypted.*run: mm id --encrypt$"):
        Identity.load_or_create(path, WORD)
    made.save(path, WORD)
    assert Identity.load_or_create(path, WORD).sign_id == made.sign_id
    made.save(path)
    assert Identity.load_or_create(path).sign_id == made.sign_id
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_passphrase_of_a_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Path]
) -> None:
    made = Identity.load_or_create(path, WORD)
    word = tmp_path / "word"
    word.touch(0o600)
    monkeypatch.setenv(VARIABLE, str(word))
    for ending in ("", "\n", "\r\n"):
        word.write_bytes(f"{WORD}{ending}".encode())
        assert Identity.load_or_create(path).sign_id == made.sign_id
    word.write_text("another")
    with pytest.raises(WrongPassphrase):
        Identity.load_or_create(path)
    word.unlink()
    with pytest.raises(IdentityError, match=f"^{VARIABLE}="):
        Identity.load_or_create(path)
    assert asked == []


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o620, 0o666])
def test_a_passphrase_file_that_others_can_read_or_write_is_refused(
    mode: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Identity.load_or_create(path, WORD)
    word = tmp_path / "word"
    word.write_text(WORD)
    word.chmod(mode)
    monkeypatch.setenv(VARIABLE, str(word))
    with pytest.raises(IdentityError, match=rf"^{VARIABLE}=\S+word is open to other users; .* run: chmod 600 \S+word$"):
        Identity.load_or_create(path)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_credential_of_systemd_is_taken(
    mode: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0400, or 0440: that of the mask, where an access list lets the user of the unit read it."""
    made = Identity.load_or_create(path, WORD)
    word = tmp_path / "word"
    word.write_text(WORD)
    word.chmod(mode)
    monkeypatch.setenv(VARIABLE, str(word))
    assert Identity.load_or_create(path).sign_id == made.sign_id


def test_a_person_is_asked_last(path: Path, asked: list[Path]) -> None:
    made = Identity.load_or_create(path, WORD)
    assert Identity.load_or_create(path).sign_id == made.sign_id
    assert asked == [path]


def test_the_passphrase_of_a_keyring(path: Path, keyring: dict[tuple[str, str], str], asked: list[Path]) -> None:
    made = Identity.generate()
    made.save(path, WORD, "keyring")
    with pytest.raises(PassphraseNeeded, match="keyring of this user"):
        Identity.load_or_create(path)
    keyring["mm-platform", made.sign_id] = WORD
    assert Identity.load_or_create(path).sign_id == made.sign_id
    assert asked == []


def test_a_keyring_that_is_not_there_or_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Identity.generate().save(path, WORD, "keyring")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(IdentityError, match=r"mm-platform\[keyring\]"):
        Identity.load_or_create(path)
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(IdentityError, match="cannot be used: AttributeError"):
        Identity.load_or_create(path)


def test_a_file_that_names_another_key_than_it_holds(path: Path) -> None:
    Identity.generate().save(path, WORD)
    other = Identity.generate().sign_id
    words = path.read_text().split(" ")
    path.write_text(" ".join([words[0], other, *words[2:]]))
    with pytest.raises(IdentityError, match="is not a key file"):
        Identity.load_or_create(path, WORD)
    path.write_text(" ".join([words[0], "nobody", *words[2:]]))
    with pytest.raises(IdentityError, match="is not a key file"):
        look_into(path)
