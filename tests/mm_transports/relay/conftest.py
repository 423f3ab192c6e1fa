"""Real redis-servers: one for all tests that do not hurt it, and one of its own for a test that does."""

from collections.abc import Iterator

import pytest

from tests.mm_transports.relay.redis_server import RedisServer


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server.start()
    server.remove()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that a test may kill."""
    server = RedisServer()
    yield server.start()
    server.remove()
