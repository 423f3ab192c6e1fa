"""Keys: vectors, text forms, labelled signatures, the key file."""

import base64
import copy
import errno
import os
import pickle
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import BadSignature, IdentityError, InvalidKey
from mmplatform.identity.keys import (
    Identity,
    box_id_of,
    digest,
    is_box_key,
    labelled,
    parse_sign_id,
    raw_key,
    sign_id_of,
    verify,
)
from tests.support.vectors import cases

ALICE = Identity.from_seed(b"\x11" * 32)
BOB = Identity.from_seed(b"\x22" * 32)


def test_the_box_ids_are_those_of_microminion() -> None:
    assert ALICE.box_id == "ekbhKf2AUEdEhDfkdE8fFXa+jESf31fgxYDTbFz8Zmg="
    assert BOB.box_id == "nY14ucnmZh5VLy8a8CCV7i+HQ/ouYYP0G7cHfvUbU3k="


@pytest.mark.parametrize("case", cases("identity", "keys"))
def test_keys(case: dict[str, Any]) -> None:
    identity = Identity.from_seed(bytes.fromhex(case["seed"]))
    assert identity.sign_id == parse_sign_id(case["signId"])
    assert identity.box_id == box_id_of(identity.sign_id) == case["boxId"]
    assert identity.box_secret.hex() == case["boxSecret"]
    assert raw_key(identity.sign_id) == identity.sign_key
    assert raw_key(identity.box_id) == identity.box_key


@pytest.mark.parametrize("case", cases("identity", "invalidSignIds"))
def test_invalid_sign_ids(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidKey):
        parse_sign_id(case["signId"])


@pytest.mark.parametrize("case", cases("identity", "labelled"))
def test_labelled(case: dict[str, Any]) -> None:
    parts = [bytes.fromhex(part) for part in case["parts"]]
    assert labelled(case["label"], *parts).hex() == case["encoded"]
    assert digest(case["label"], *parts).hex() == case["digest"]


@pytest.mark.parametrize("case", cases("identity", "signatures"))
def test_signatures(case: dict[str, Any]) -> None:
    parts = [bytes.fromhex(part) for part in case["parts"]]
    signature = bytes.fromhex(case["signature"])
    if case["valid"]:
        verify(raw_key(case["signId"]), signature, case["label"], *parts)
    else:
        with pytest.raises(BadSignature):
            verify(raw_key(case["signId"]), signature, case["label"], *parts)


@given(st.binary(min_size=32, max_size=32))
def test_both_halves_agree_for_any_seed(seed: bytes) -> None:
    identity = Identity.from_seed(seed)
    assert box_id_of(identity.sign_id) == identity.box_id
    verify(identity.sign_key, identity.sign("l", seed), "l", seed)


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_different_lists_never_look_alike(first: list[bytes], second: list[bytes]) -> None:
    assert (labelled("l", *first) == labelled("l", *second)) == (first == second)


@given(st.text() | st.binary() | st.none() | st.integers() | st.binary(max_size=40).map(base64.b64encode))
def test_no_text_does_more_than_raise_invalid_key(text: Any) -> None:
    try:
        sign_id = parse_sign_id(text)
    except InvalidKey:
        return
    assert sign_id_of(raw_key(sign_id)) == text


@pytest.mark.parametrize("text", [None, 5, b"", [], ALICE.sign_key])
def test_other_types_are_no_key(text: Any) -> None:
    with pytest.raises(InvalidKey):
        parse_sign_id(text)


@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_key_or_invalid(raw: bytes) -> None:
    sign_id = sign_id_of(raw)
    assert raw_key(sign_id) == raw
    with suppress(InvalidKey):
        assert is_box_key(raw_key(box_id_of(sign_id)))


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33)])
def test_raw_keys_of_a_wrong_length(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        sign_id_of(raw)
    assert not is_box_key(raw)


def test_box_keys_of_low_order() -> None:
    assert is_box_key(ALICE.box_key)
    assert not is_box_key(bytes(32))
    assert not is_box_key(b"\x01" + bytes(31))


@pytest.mark.parametrize(
    ("key", "signature"),
    [(ALICE.sign_key[:31], bytes(64)), (ALICE.sign_key + b"\0", bytes(64)), (ALICE.sign_key, bytes(63)), (b"", b"")],
)
def test_verify_refuses_wrong_lengths(key: bytes, signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(key, signature, "l")


def test_verify_refuses_every_flipped_bit() -> None:
    signature = ALICE.sign("l", b"part")
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            verify(ALICE.sign_key, bytes(flipped), "l", b"part")


def test_generate_asks_the_given_randomness_for_a_seed() -> None:
    assert Identity.generate(lambda size: b"\x11" * size).sign_id == ALICE.sign_id
    assert Identity.generate().sign_id != Identity.generate().sign_id


def test_secrets_do_not_leak_into_text_or_copies() -> None:
    for shown in (repr(ALICE), str(ALICE), f"{ALICE}"):
        assert ALICE.sign_id in shown
        assert base64.b64encode(ALICE.box_secret).decode() not in shown
        assert repr(ALICE.box_secret) not in shown
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            take(ALICE)


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65])
def test_secrets_of_a_wrong_length(size: int) -> None:
    with pytest.raises(IdentityError):
        Identity.from_seed(bytes(size))
    with pytest.raises(IdentityError):
        Identity(bytes(size))


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = Identity.load_or_create(tmp_path / "identity")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]
    assert len(base64.b64decode((tmp_path / "identity").read_text())) == 64
    assert Identity.load_or_create(str(tmp_path / "identity")).sign_id == made.sign_id


def test_a_key_kept_by_microminion_is_read(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_text(base64.b64encode(b"\x11" * 32 + ALICE.sign_key).decode())
    path.chmod(0o600)
    assert Identity.load_or_create(path).sign_id == ALICE.sign_id


GARBAGE = {
    "empty": b"",
    "cut": base64.b64encode(b"\x11" * 32 + ALICE.sign_key)[:-9],
    "seed only": base64.b64encode(b"\x11" * 32),
    "too long": base64.b64encode(b"\x11" * 32 + ALICE.sign_key + b"\0"),
    "huge": b"A" * 100_000,
    "not base64": b"\xff\x00 this is no key",
    "halves of two keys": base64.b64encode(b"\x22" * 32 + ALICE.sign_key),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_damaged_key_file_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=r"identity is not a key file .* restore it from a backup"):
        Identity.load_or_create(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity"
    Identity.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match=r"chmod 600 .*identity"):
        Identity.load_or_create(path)


def test_what_a_killed_writer_left_of_a_key_goes_when_the_key_is_written_anew(tmp_path: Path) -> None:
    """Both leave the key as it is: one killed between link and unlink, and one that was to decrypt it."""
    made = Identity.load_or_create(tmp_path / "identity")
    for left in ("identity.39a8456397580f85", ".identity.3v1h_ep1"):
        (tmp_path / left).write_bytes((tmp_path / "identity").read_bytes())
    others = {"identity.bak", ".identity.example", "data.db", "identities.39a8456397580f85"}
    for other in others:
        (tmp_path / other).touch()
    made.save(tmp_path / "identity", "a passphrase")
    assert {each.name for each in tmp_path.iterdir()} == {"identity", *others}


def test_a_key_file_that_cannot_be_read_or_made(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="readable"):
        Identity.load_or_create(tmp_path)
    with pytest.raises(IdentityError, match=r"make .*nowhere a folder"):
        Identity.load_or_create(tmp_path / "nowhere" / "identity")


def test_a_key_made_meanwhile_by_another_process_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "identity"
    link = os.link

    def late_link(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        Identity.load_or_create(path)
        link(source, target)

    monkeypatch.setattr(os, "link", late_link)
    loser = Identity.load_or_create(path)
    assert Identity.load_or_create(path).sign_id == loser.sign_id
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_file_system_without_links_is_served_by_a_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    made = Identity.load_or_create(tmp_path / "identity")
    assert Identity.load_or_create(tmp_path / "identity").sign_id == made.sign_id
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError, match="no space left"):
        Identity.load_or_create(tmp_path / "identity")
    assert list(tmp_path.iterdir()) == []
