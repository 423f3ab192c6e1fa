"""The plugin that pytest loads where mm-platform is installed: it adds the fixture ``memory_nodes``, and nothing else.

The plugin stands outside of testing/, which is imported when the fixture is used: pytest imports plugins in every run.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mm_transports.testing.nodes import MemoryNodes

pytest.register_assert_rewrite("mm_transports.testing")


@pytest.fixture
def memory_nodes() -> "MemoryNodes":
    """Make platforms without sockets: ``async with memory_nodes.nodes(2) as (alice, bob)``.

    ``memory_nodes.network`` can be cut and delayed, and can lose frames.
    """
    from mm_transports.testing.nodes import MemoryNodes

    return MemoryNodes()
