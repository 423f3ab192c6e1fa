"""Files of twins: what is read, and each thing that is refused, with words that help."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.twins.toml_file import MAX_TWINS, hex_bytes, read_twins
from mmplatform.errors import LocalError
from mmplatform.storage.watched_file import MAX_FILE
from tests.support.twins import twin_of

ONE, OTHER = twin_of(30), twin_of(31, "a", "b")
FILE = f"""# ours
[twin.30]
account = "{ONE.account.hex()}"
pk = "0x{ONE.pk.hex().upper()}"
relays = ["relay.example"]

[twin.31]
account = "{OTHER.account.hex()}"
"""


def test_what_is_read() -> None:
    found = read_twins(FILE.encode())
    assert found[30] == ONE
    assert (found[31].account, found[31].pk, found[31].relays) == (OTHER.account, b"", ())
    assert read_twins(b"") == read_twins(b"# nothing\n[twin]\n") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[twin.30", "no TOML: "),
        ("\ufeff", "no TOML: "),
        ("twin = " + "[" * 5000, "no TOML: "),
        ("x = " + "9" * 5000, "no TOML: "),
        ("[twins.30]\n", "what is 'twins'"),
        ("twin = 1\n", r"a twin is a table \[twin.NUMBER\]"),
        ("[[twin]]\n", r"a twin is a table \[twin.NUMBER\]"),
        ("[twin]\n30 = 1\n", r"\[twin.30\]: a table is \[twin.NUMBER\]"),
        ("[twin.0]\n", r"\[twin.0\]: bad-address"),
        ("[twin.030]\n", r"\[twin.030\]: bad-address"),
        ("[twin.4294967296]\n", r"\[twin.4294967296\]: bad-address"),
        ('[twin."30:s"]\n', r"\[twin.30:s\]: a table is"),
        ('[twin."\\u001b[2J"]\n', r"\[twin.\\x1b\[2J\]: bad-address"),
        ("[twin.30]\n", r"\[twin.30\]: account: a public key of 32 bytes, not of 0"),
        ("[twin.30]\naccount = 7\n", "account: hexadecimal digits"),
        ('[twin.30]\naccount = "7b4"\n', "account: hexadecimal digits"),
        ('[twin.30]\naccount = "7b 43"\n', "account: hexadecimal digits"),
        (FILE.replace("pk =", "key ="), "'key' is no field; there are account, pk and relays"),
        (FILE.replace("0x", "0x00"), r"\[twin.30\]: pk: "),
        (FILE.replace('["relay.example"]', '"relay.example"'), "relays: a list of names"),
        (FILE.replace('["relay.example"]', "[1]"), "relays: a list of names"),
        (FILE.replace("relay.example", "a_b"), r"\[twin.30\]: relays: "),
        (FILE.replace("31", "30"), "no TOML: "),
        (FILE.replace(OTHER.account.hex(), ONE.account.hex()), "the twins 30 and 31 have the same account"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(LocalError, match=words):
        read_twins(text.encode())


def test_what_is_too_much_and_what_is_no_text() -> None:
    with pytest.raises(LocalError, match="bytes, at most"):
        read_twins(bytes(MAX_FILE + 1))
    with pytest.raises(LocalError, match="no TOML"):
        read_twins(b"\xff")
    many = "".join(f"[twin.{number}]\n" for number in range(1, MAX_TWINS + 2))
    with pytest.raises(LocalError, match=f"{MAX_TWINS + 1} twins"):
        read_twins(many.encode())


@given(st.text(max_size=100), st.binary(max_size=100))
def test_anything_is_twins_or_refused(text: str, data: bytes) -> None:
    for one in (data, text.encode(errors="replace"), f"[twin.30]\n{text}".encode(errors="replace")):
        with suppress(LocalError):  # anything else is a bug
            read_twins(one)


def test_hexadecimal_digits() -> None:
    assert hex_bytes("0x00fF") == hex_bytes("00ff") == b"\0\xff"
    for wrong in ("0", "0X00", "0x0x", " 00", "00\n", "\uff10\uff10", None, 0, b"00"):
        with pytest.raises(ValueError, match="hexadecimal"):
            hex_bytes(wrong)
