"""A relay, a Python node and one of the other implementation at it, who know each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.identity.keys import SignId
from tests.clients.javascript import Counterpart, built
from tests.support.running_relays import serving


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[str]:
    """Its address."""
    async with serving(tmp_path / "relay") as address:
        yield address


@pytest.fixture
async def python(relay: str) -> AsyncIterator[Platform]:
    async with Platform(connection_info=[], transports=[Relay()], relays=[relay]) as platform:
        yield platform


@pytest.fixture(scope="session")
def compiled() -> None:
    built("compile")


@pytest.fixture
async def other(compiled: None) -> AsyncIterator[Counterpart]:
    async with Counterpart() as other, asyncio.timeout(60):
        yield other


@pytest.fixture
async def peer(python: Platform, relay: str, other: Counterpart) -> SignId:
    """They are friends, linked, and set up; the signId of the other."""
    started = await other.do("start", relays=[relay])
    peer = await python.add(started["ticket"], circle="friends")
    await other.do("add", ticket=python.ticket(), circle="friends")
    await other.do("connect", peer=python.sign_id)
    await other.do("setUp")
    python.set_up()
    return peer
