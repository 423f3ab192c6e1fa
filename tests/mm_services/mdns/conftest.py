"""Nodes on loopback, with keys of their own: other tests may run beside these and be heard, too."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_services.mdns.interfaces import hears_itself


@pytest.fixture(scope="session")
def multicast() -> None:
    """For tests that need it on loopback."""
    if not hears_itself("127.0.0.1"):
        pytest.skip("loopback carries no multicast here")


@pytest.fixture(autouse=True)
async def nothing_is_left_over(nothing_escapes: list[dict[str, Any]]) -> AsyncIterator[None]:
    """Nothing escapes, and no task of ours goes on after a test."""
    yield
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mm ")] == []
