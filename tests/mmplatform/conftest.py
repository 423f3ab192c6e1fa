"""A small disk; and nothing may escape in the tests of what talks to peers."""

from typing import Any

import pytest

from tests.support.disks import disk

__all__ = ["disk", "nothing_escapes_in_watched_tests"]

WATCHED = {"directory", "links", "mail", "peers"}


@pytest.fixture(autouse=True)
def nothing_escapes_in_watched_tests(request: pytest.FixtureRequest) -> Any:
    """Use ``nothing_escapes`` for every test of these folders and of whole platforms."""
    path = request.path
    watched = path.parent.name in WATCHED or path.name.startswith("test_platform")
    return request.getfixturevalue("nothing_escapes") if watched else None
