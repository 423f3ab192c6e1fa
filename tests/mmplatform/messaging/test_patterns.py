"""The index of patterns against brute force; test_bus.py has the same through subscriptions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.errors import InvalidTopic
from mmplatform.messaging.patterns import Patterns, check_pattern
from tests.support.brute_force import matches

SEGMENTS = ["a", "b", "c"]
names = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=5)
patterns = st.lists(st.sampled_from([*SEGMENTS, "*", ">"]), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(patterns, max_size=10), st.lists(names, max_size=10), st.integers(0, 10))
def test_exactly_what_matches(chosen: list[list[str]], asked: list[list[str]], gone: int) -> None:
    index = Patterns()
    live = {".".join(pattern) for pattern in chosen}
    for pattern in sorted(live) * 2:
        index.add(pattern)
    for pattern in sorted(live)[:gone]:
        index.discard(pattern)
        live.discard(pattern)
    for name in asked:
        expected = sorted(pattern for pattern in live if matches(pattern.split("."), name))
        assert sorted(index.matching(".".join(name))) == expected
    for pattern in live:
        index.discard(pattern)
    assert index._root.children == {}


@pytest.mark.parametrize("pattern", [">", "*.>", "self.a", "friends.*", "public.>.b", "*.a/b", "friends.c#"])
def test_a_pattern_begins_with_a_scope(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("chat", "'friends.chat'"), ("friend.chat", "'friends.chat'"), ("devices.a.b", "'friends.a.b'"),
        ("friends", "'friends.chat' for one, 'friends.>' for all"), ("*", "'*.chat' for one"),
        ("friends/#", "'friends.a.>'"), ("friends.#", "'friends.a.>'"), ("friends.+.a", "'friends.a.>'"),
        (print, "a topic comes first, and is text"), ("", "1 to 255 bytes"), ("friends..a", "not empty"),
    ],
)  # fmt: skip
def test_what_nothing_can_match_says_what_was_meant(pattern: str, meant: str) -> None:
    with pytest.raises(InvalidTopic) as refused:
        check_pattern(pattern)
    assert meant in str(refused.value)
