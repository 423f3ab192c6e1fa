"""A small disk, a resolver of dead names; and nothing may escape in the tests of what talks to peers."""

from typing import Any

import pytest

from tests.support.disks import disk
from tests.support.resolver import resolver

__all__ = ["disk", "nothing_escapes_in_watched_tests", "resolver"]

WATCHED = {"directory", "links", "mail", "peers"}


@pytest.fixture(autouse=True)
def nothing_escapes_in_watched_tests(request: pytest.FixtureRequest) -> Any:
    """Use ``nothing_escapes`` for every test of these folders and of whole platforms."""
    path = request.path
    watched = path.parent.name in WATCHED or path.name.startswith("test_platform")
    return request.getfixturevalue("nothing_escapes") if watched else None
