"""A Redis of our own, gateways on it, and a relay between them."""

from collections.abc import AsyncIterator

import pytest

from tests.support.redis_server import RedisServer
from tests.support.rmb_world import rmb

__all__ = ["redis", "rmb"]


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer().start()
    await server.started()
    yield server
    server.remove()
