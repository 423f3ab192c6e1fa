"""Names of peers and of lists are of one kind, told apart by the @ of a list; what means something else is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import InvalidName
from mmplatform.identity.names import LONGEST_NAME, MEANINGS, check_list_name, check_name

plain = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=LONGEST_NAME).filter(
    lambda name: not name.startswith(("-", "@")) and name not in MEANINGS
)


@given(plain)
def test_a_name_is_that_of_a_peer_or_with_an_at_of_a_list(name: str) -> None:
    check_name(name)
    check_list_name(f"@{name}")
    with pytest.raises(InvalidName):
        check_name(f"@{name}")
    with pytest.raises(InvalidName, match="begins with @"):
        check_list_name(name)


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_what_is_reserved_is_said_with_what_it_means(name: str) -> None:
    for check, text in ((check_name, name), (check_list_name, f"@{name}")):
        with pytest.raises(InvalidName, match=f"means something already .{MEANINGS[name]}"):
            check(text)
