"""box.py: the same boxes as PyNaCl's public binding, and nothing that libsodium could read or write past the end."""

import random

import pytest
from nacl.bindings import crypto_box_easy_afternm, crypto_box_open_easy_afternm
from nacl.exceptions import CryptoError

from mmplatform.session import box
from mmplatform.session.packets import MAX_PLAINTEXT

KEY, NONCE = bytes(range(32)), bytes(range(24))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 100, 65_536, MAX_PLAINTEXT])
def test_it_makes_and_opens_the_boxes_of_the_public_binding(size: int) -> None:
    plaintext = random.Random(size).randbytes(size)
    sealed = crypto_box_easy_afternm(plaintext, NONCE, KEY)
    assert box.seal(plaintext, NONCE, KEY) == sealed
    assert crypto_box_open_easy_afternm(bytes(box.seal(plaintext, NONCE, KEY)), NONCE, KEY) == plaintext
    assert box.unseal(sealed, NONCE, KEY) == plaintext


def test_a_frame_inside_a_buffer_is_opened_where_it_is() -> None:
    sealed = box.seal(b"payload", NONCE, KEY)
    buffer = bytearray(b"before" + sealed + b"after")
    assert box.unseal(memoryview(buffer)[6 : 6 + len(sealed)], NONCE, KEY) == b"payload"
    assert buffer == b"before" + sealed + b"after"


def test_what_was_touched_does_not_open() -> None:
    sealed = box.seal(b"pay 10", NONCE, KEY)
    for place in range(len(sealed)):
        touched = bytearray(sealed)
        touched[place] ^= 1
        with pytest.raises(CryptoError):
            box.unseal(memoryview(touched), NONCE, KEY)
    for key, nonce in ((bytes(32), NONCE), (KEY, bytes(24))):
        with pytest.raises(CryptoError):
            box.unseal(bytes(sealed), nonce, key)


@pytest.mark.parametrize(("key", "nonce"), [(b"", NONCE), (KEY[:-1], NONCE), (KEY + b"x", NONCE), (KEY, NONCE[:-1])])
def test_keys_and_nonces_of_a_wrong_length_never_reach_libsodium(key: bytes, nonce: bytes) -> None:
    with pytest.raises(CryptoError):
        box.seal(b"", nonce, key)
    with pytest.raises(CryptoError):
        box.unseal(bytes(16), nonce, key)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_less_than_a_tag_is_no_box(size: int) -> None:
    with pytest.raises(CryptoError):
        box.unseal(bytes(size), NONCE, KEY)
