"""The index of patterns against brute force; test_bus.py has the same through subscriptions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.messaging.patterns import Patterns
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
