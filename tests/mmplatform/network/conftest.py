"""Nothing may escape, in no test of this folder."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def nothing_escapes(nothing_escapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return nothing_escapes
