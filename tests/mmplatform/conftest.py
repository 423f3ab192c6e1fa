"""Nothing may escape in the tests of what talks to peers."""

from typing import Any

import pytest

WATCHED = {"directory", "links", "mail", "peers"}


@pytest.fixture(autouse=True)
def nothing_escapes_in_watched_folders(request: pytest.FixtureRequest) -> Any:
    """Use ``nothing_escapes`` for every test of these folders."""
    return request.getfixturevalue("nothing_escapes") if request.path.parent.name in WATCHED else None
