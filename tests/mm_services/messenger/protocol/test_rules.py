"""Rules as people write them, and errors that name the entry."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.rules import (
    DEFAULT,
    LISTS,
    STRANGERS_RATE,
    InvalidRule,
    Rule,
    open_to_everyone,
    parse_rules,
)
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity

BOB = Identity.from_seed(b"b" * 32).sign_id

FILE = f"""
[[in]]
who = ["friends", "self"]

[[in]]
who = "everyone"
not_who = ["@noisy", "mallory"]
rate = 60

[[sender]]
who = ["{BOB}", "@family"]
rate = 0.5
"""


def test_a_file_is_read() -> None:
    rules = parse_rules(tomllib.loads(FILE))
    assert rules["in"] == (
        Rule(("friends", "self")),
        Rule(("everyone",), ("@noisy", "mallory"), 60.0),
    )
    assert rules["sender"] == (Rule((BOB, "@family"), (), 0.5),)
    assert rules["out"] == rules["recipient"] == DEFAULT["out"] == (Rule(("friends", "self")),)


def test_without_rules_friends_and_our_devices_may() -> None:
    assert parse_rules({}) == DEFAULT
    assert set(DEFAULT) == set(LISTS)
    assert parse_rules({"in": []})["in"] == ()


def test_everyone_comes_last_and_with_a_rate() -> None:
    rules = open_to_everyone(parse_rules({"in": [{"who": "@family"}]}))
    assert rules["in"] == (Rule(("@family",)), Rule(("everyone",), (), STRANGERS_RATE))
    assert all(entries[-1] == Rule(("everyone",), (), STRANGERS_RATE) for entries in rules.values())
    assert open_to_everyone(DEFAULT, None)["out"][-1].rate is None
    assert DEFAULT["in"] == (Rule(("friends", "self")),)


GOOD = {"who": "friends"}


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"into": []}, "there is no list 'into'; there are in, out, recipient, sender"),
        ({"in": {"who": "friends"}}, r"in: a list of entries is needed, each written \[\[in\]\]"),
        ({"in": [GOOD, "friends"]}, "in, entry 2: 'friends' is no entry"),
        ({"out": [{}]}, "out, entry 1: who is missing"),
        ({"out": [{"who": []}]}, "out, entry 1: who is missing"),
        ({"in": [{"who": "friends", "not": "bob"}]}, "in, entry 1: there is no 'not'; there are not_who, rate, who"),
        ({"in": [GOOD, GOOD, {"who": 7}]}, "in, entry 3: who is 7, and has to be a text or a list of texts"),
        ({"in": [{"who": ["bob", 7]}]}, "in, entry 1: who has 7, which is no text"),
        ({"in": [{"who": "friends", "not_who": {}}]}, "in, entry 1: not_who is {}, and has to be"),
        ({"in": [{"who": "public"}]}, "in, entry 1: who has 'public': .* everyone, friends, self are understood, too"),
        ({"in": [{"who": "@"}]}, "in, entry 1: who has '@'"),
        ({"in": [{"who": "@friends"}]}, "in, entry 1: who has '@friends'"),
        ({"in": [{"who": "a\nb"}]}, r"in, entry 1: who has 'a\\nb'"),
        ({"in": [{"who": "friends", "rate": -1}]}, "in, entry 1: rate is -1, and has to be a number a minute"),
        ({"in": [{"who": "friends", "rate": True}]}, "in, entry 1: rate is True"),
        ({"in": [{"who": "friends", "rate": "many"}]}, "in, entry 1: rate is 'many'"),
        ({"in": [{"who": "friends", "rate": float("nan")}]}, "in, entry 1: rate is nan"),
        ({"in": [{"who": "friends", "rate": float("inf")}]}, "in, entry 1: rate is inf"),
        ({"in": [{"who": "friends", "rate": 10**400}]}, "in, entry 1: rate is 1000"),
        ({"in": [{"who": "friends", "rate": 10**5000}]}, "in, entry 1: "),
        ({"in": [{"who": "friends", "rate": 5e-324}]}, "in, entry 1: rate is 5e-324"),
    ],
)
def test_an_error_names_the_entry(tables: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidRule, match=text) as raised:
        parse_rules(tables)
    assert isinstance(raised.value, LocalError)
    assert "\n" not in str(raised.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["friends", "@a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["who", "not_who", "rate", "x"]), inner)
    ),
)


@given(st.dictionaries(st.sampled_from([*LISTS, "x"]), plain | st.lists(plain, max_size=3)))
def test_whatever_is_written_is_read_or_refused(tables: dict[str, object]) -> None:
    try:
        rules = parse_rules(tables)
    except InvalidRule:
        return
    assert all(isinstance(entry, Rule) and entry.who for entries in rules.values() for entry in entries)
