"""Encrypted key files: what a passphrase opens, and what no file may make of a node."""

import base64
import hashlib

import nacl.secret
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import IdentityError, WrongPassphrase
from mmplatform.identity import sealed_key
from mmplatform.identity.sealed_key import SealedKey, is_sealed, parse, seal

SECRET = bytes(range(64))
KEY = "0EqyMjQrtKs6E2i9RhX0hMLWlOGbfEAu6oM/vL2wwqk="


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_key, "MEMORY", 8)
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)


def zeros(size: int) -> bytes:
    return b"\0" * size


def test_it_opens_with_its_passphrase_alone() -> None:
    sealed = parse(seal(SECRET, KEY, "open sesame", zeros).encoded())
    assert (sealed.sign_id, sealed.keeper) == (KEY, "passphrase")
    assert sealed.open("open sesame") == SECRET
    for other in ("open sesame ", "Open sesame", "x"):
        with pytest.raises(WrongPassphrase):
            sealed.open(other)


def test_a_passphrase_is_the_same_however_its_letters_are_typed() -> None:
    assert seal(SECRET, KEY, "caf\u00e9", zeros).open("cafe\u0301") == SECRET


@pytest.mark.parametrize("passphrase", ["", "x" * 1025])
def test_what_is_no_passphrase(passphrase: str) -> None:
    with pytest.raises(IdentityError, match="1 to 1024"):
        seal(SECRET, KEY, passphrase, zeros)


def test_what_was_changed_does_not_open() -> None:
    sealed = seal(SECRET, KEY, "p", zeros)
    for part in range(0, len(sealed.box), 7):
        box = bytearray(sealed.box)
        box[part] ^= 1
        with pytest.raises(WrongPassphrase):
            sealed._replace(box=bytes(box)).open("p")


def test_the_form_is_that_of_the_page() -> None:
    """Read by words, as docs/protocol/identity.rst has them, and opened by another class of PyNaCl."""
    line = seal(SECRET, KEY, "p", zeros).encoded().decode()
    version, key, keeper, method, operations, memory, salt, box = line.removesuffix("\n").split(" ")
    assert (version, key, keeper, method, operations, memory) == ("mm-key-1", KEY, "passphrase", "argon2id", "1", "8")
    import nacl.pwhash.argon2id as argon2id

    made = argon2id.kdf(32, b"p", base64.b64decode(salt), opslimit=1, memlimit=8192)
    assert nacl.secret.SecretBox(made).decrypt(base64.b64decode(box)) == SECRET
    assert len(line) < 512


def words(**changed: str) -> bytes:
    salt, box = base64.b64encode(zeros(16)).decode(), base64.b64encode(zeros(104)).decode()
    names = ("version", "key", "keeper", "method", "operations", "memory", "salt", "box")
    whole = (
        dict(zip(names, ("mm-key-1", KEY, "passphrase", "argon2id", "3", "65536", salt, box), strict=True)) | changed
    )
    return " ".join(whole.values()).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "mm-key-2"}, {"keeper": "friend"}, {"method": "scrypt"}, {"operations": "0"}, {"operations": "21"},
        {"operations": "03"}, {"operations": "-1"}, {"operations": "\u0663"}, {"memory": "1048577"},
        {"memory": "9" * 400},
        {"salt": "AAAA"}, {"salt": "?"}, {"box": "AAAA"}, {"box": ""}, {"box": "a b"},
    ],
)  # fmt: skip
def test_what_is_not_whole_or_asks_for_too_much_is_refused(changed: dict[str, str]) -> None:
    assert parse(words()).memory == 65536
    with pytest.raises(IdentityError, match="not an encrypted key"):
        parse(words(**changed))


@given(st.binary(max_size=400))
def test_anything_is_read_or_refused(content: bytes) -> None:
    for data in (content, b"mm-key-1 " + content):
        try:
            found = parse(data)
        except IdentityError:
            continue
        assert parse(found.encoded()) == found


def test_an_encrypted_file_is_told_from_a_plain_one() -> None:
    assert is_sealed(words())
    assert is_sealed(b"mm-key-2 whatever")
    assert not is_sealed(base64.b64encode(hashlib.sha512(b"x").digest()))


def test_a_host_without_the_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(sealed_key.sodium, "crypto_pwhash_alg", exhausted)
    with pytest.raises(IdentityError, match="8 KiB of memory"):
        SealedKey(KEY, "passphrase", 1, 8, zeros(16), zeros(104)).open("p")
