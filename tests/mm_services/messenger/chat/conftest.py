"""People who chat."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.chats import Person, people


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[Person]]:
    """Alice and bob, who are friends."""
    async with people(tmp_path, "alice", "bob") as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[list[Person]]:
    """Alice, bob and eve, who are friends."""
    async with people(tmp_path, "alice", "bob", "eve") as made:
        yield made
