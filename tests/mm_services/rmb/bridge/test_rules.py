"""The rules of a bridge: what is read, and each thing that is refused, with words that help."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.rmb.bridge.rules import OwnTwin, read_rules
from mm_transports.rmb.protocol.address import TwinAddress
from mmplatform.errors import InvalidKey, LocalError

HERE = Path("/rules")
FILE = """
twins = "twins.toml"
chain = ["wss://chain.example"]

[twin.10]
secret = "alice.secret"
friends = [30]

[twin.77]
secret = "/keys/bob"
key_type = "ed25519"
peer = "bob"
friends = [30, 40]
relays = ["wss://relay.example/"]

[names]
calculator = 30
"""


def test_what_is_read() -> None:
    rules = read_rules(FILE.encode(), HERE)
    assert (rules.twins_file, rules.chain) == (HERE / "twins.toml", ("wss://chain.example",))
    assert rules.own[10] == OwnTwin(10, HERE / "alice.secret", "sr25519", "self", frozenset({30}), ())
    assert rules.own[77] == OwnTwin(
        77, Path("/keys/bob"), "ed25519", "bob", frozenset({30, 40}), ("wss://relay.example/",)
    )  # fmt: skip
    assert (rules.own[10].is_here, rules.own[77].is_here) == (True, False)


def test_a_twin_is_asked_by_its_number_or_its_name_here() -> None:
    rules = read_rules(FILE.encode(), HERE)
    assert rules.address("calculator") == TwinAddress(30)
    assert rules.address("40") == TwinAddress(40)
    assert rules.address("40:desk") == TwinAddress(40, "desk")
    for nobody in ("", "other", "0", "-1", "4294967296", "30:"):
        with pytest.raises(InvalidKey, match=r"is no twin.*calculator"):
            rules.address(nobody)


MINIMAL = 'twins = "t"\n[twin.1]\nsecret = "s"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[twin", "no TOML"),
        ("x = " + "[" * 5000, "no TOML"),
        ("", "the file: say which twins there are"),
        ("twins = 7", "the file: twins: the name of a file"),
        ('chain = "wss://x"', "the file: chain: a list of texts"),
        ('twins = "t"', "the file: say which twin we are"),
        ("other = 1\n" + MINIMAL, "the file: 'other' is no field"),
        ('twins = "t"\ntwin = 3', r"\[twin\]: a table"),
        (MINIMAL + "[names]\nx = 0", "x: the number of a twin is 1 to 4294967295"),
        (MINIMAL + "[names]\nx = true", "x: the number of a twin"),
        ('twins = "t"\n[twin.0]\nsecret = "s"', r"\[twin.0\]: bad-address"),
        ('twins = "t"\n[twin."1:x"]\nsecret = "s"', r"\[twin.1:x\]: a table is"),
        ('twins = "t"\n[twin]\n1 = 2', r"\[twin.1\]: a table is"),
        ('twins = "t"\n[twin.1]\n', r"\[twin.1\]: secret: the name of a file"),
        (MINIMAL + 'key_type = "rsa"', r"\[twin.1\]: key_type: one of sr25519, ed25519"),
        (MINIMAL + "peer = 3", r"\[twin.1\]: peer: a text"),
        (MINIMAL + "friends = 3", r"\[twin.1\]: friends: a list"),
        (MINIMAL + 'friends = ["x"]', r"\[twin.1\]: the number of a twin"),
        (MINIMAL + "relays = [1]", r"\[twin.1\]: relays: a list of texts"),
        (MINIMAL + "frends = [1]", r"\[twin.1\]: 'frends' is no field"),
        (MINIMAL + '[twin.2]\nsecret = "s"', "two twins stand for this node"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    with pytest.raises(LocalError, match=told):
        read_rules(text.encode(), HERE)


@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with suppress(LocalError):
        read_rules(data, HERE)
