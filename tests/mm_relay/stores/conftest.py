"""A store of each kind."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_relay.stores.contract import MailStore
from tests.support.disks import disk
from tests.support.redis_server import RedisServer
from tests.support.stores import Home, memory_home, redis_home, sqlite_home

__all__ = ["disk", "home", "store"]

prefixes = itertools.count(1)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "memory":
        return memory_home()
    if request.param == "sqlite":
        return sqlite_home(tmp_path)
    server: RedisServer = request.getfixturevalue("shared_redis")
    await server.started()
    return redis_home(server.url, f"test-{next(prefixes)}")


@pytest.fixture
async def store(home: Home) -> AsyncIterator[MailStore]:
    async with home.store() as opened:
        yield opened
    assert home.failures == []
