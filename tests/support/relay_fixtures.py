"""Real redis-servers: one for all tests that do not hurt it, and one of its own for a test that does. Small and whole
relays, and what makes their clients come back at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from mm_relay.doors import connections
from mmplatform.links import backoff
from tests.support.redis_server import RedisServer
from tests.support.tiny_relay import Tiny
from tests.support.world import identity


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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of a small relay dial again at once."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.01)


@pytest.fixture
async def relay() -> AsyncIterator[Tiny]:
    """A small one."""
    tiny = await Tiny(identity(200)).start()
    async with asyncio.timeout(20):
        yield tiny
    await tiny.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes come back to a whole relay soon, also after it was drained."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(connections, "DRAIN_RETRY", 0.1)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Of whole relays and nodes."""
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        yield stack
