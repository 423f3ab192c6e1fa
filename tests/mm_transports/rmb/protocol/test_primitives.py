"""The libraries: what they are relied upon for, and what is said when they are missing."""

import runpy
import sys

import pytest

from mm_transports.rmb.protocol import primitives
from mmplatform.errors import InvalidKey, PluginError

SEED = b"\x07" * 32


@pytest.mark.parametrize("library", ["sr25519", "cryptography.exceptions", "mnemonic"])
def test_a_missing_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(PluginError, match=r"pip install 'mm-platform\[rmb\]'"):
        runpy.run_path(primitives.__file__)


def test_sr25519_never_signs_alike_and_ed25519_always() -> None:
    schnorr, edwards = primitives.Sr25519Signer(SEED), primitives.Ed25519Signer(SEED)
    assert schnorr.sign(b"m") != schnorr.sign(b"m")
    assert edwards.sign(b"m") == edwards.sign(b"m")
    assert primitives.verify_sr25519(schnorr.account, schnorr.sign(b"m"), b"m")
    assert primitives.verify_ed25519(edwards.account, edwards.sign(b"m"), b"m")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_and_signatures_of_other_sizes_are_no_error(size: int) -> None:
    for verify, signer in (
        (primitives.verify_sr25519, primitives.Sr25519Signer(SEED)),
        (primitives.verify_ed25519, primitives.Ed25519Signer(SEED)),
    ):
        assert not verify(bytes(size), signer.sign(b"m"), b"m")
        if size != primitives.SIGNATURE_SIZE:
            assert not verify(signer.account, bytes(size), b"m")


def test_a_shared_point_is_the_same_from_both_sides() -> None:
    one, other = primitives.Secp256k1Key(SEED), primitives.Secp256k1Key(b"\x08" * 32)
    assert one.shared_x(other.public) == other.shared_x(one.public)
    with pytest.raises(InvalidKey):
        one.shared_x(other.public[:-1])


def test_keys_are_not_pickled() -> None:
    for made in (primitives.Sr25519Signer, primitives.Ed25519Signer, primitives.Secp256k1Key):
        with pytest.raises(TypeError, match="secret"):
            made(SEED).__reduce__()
