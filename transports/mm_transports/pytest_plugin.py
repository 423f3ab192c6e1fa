"""The plugin that pytest loads where mm-platform is installed: it adds the fixture ``memory_nodes``, and nothing else.

It stands outside of testing/, and imports that when the fixture is used, since pytest imports plugins in every run.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mm_transports.testing.nodes import MemoryNodes

pytest.register_assert_rewrite("mm_transports.testing")


@pytest.fixture
def memory_nodes() -> "MemoryNodes":
    """Platforms without sockets: ``async with memory_nodes.nodes(2) as (alice, bob)``; ``memory_nodes.network`` is cut,
    delayed and loses frames as you say."""
    from mm_transports.testing.nodes import MemoryNodes

    return MemoryNodes()
