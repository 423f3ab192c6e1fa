"""Strangers in a network of this host are dialled where they were heard of, and nowhere else in it."""

import asyncio
import time
from typing import Any

import pytest

from mm_transports.tcp import TCP, TCPConnection
from mmplatform import Platform, interfaces
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins import topics
from tests.support.hosts import here
from tests.support.waiting import until

ADDRESSES = (
    "tcp://10.1.0.7:4000", "tcp://10.1.0.8:4000", "tcp://10.2.0.7:4000", "tcp://10.1.0.7:80", "tcp://10.1.0.2:4000",
    "tcp://127.0.0.1:4000", "tcp://10.3.0.7:4000",
)  # fmt: skip


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "here", lambda: here("127.0.0.1/8", "10.1.0.2/24", "10.2.0.2/24"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where connections were tried; none comes up."""
    found: list[Any] = []

    async def connect(self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        found.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect)
    return found


def node(**options: Any) -> Platform:
    return Platform(**({"connection_info": ["tcp://127.0.0.1:0"], "transports": [TCP()]} | options))


async def dial(platform: Platform, peer: str) -> None:
    with pytest.raises(Unreachable):
        await platform.connect(peer, timeout=0.3)


@pytest.mark.parametrize(
    ("heard_on", "expected"),
    [
        (["10.1.0.0/24"], {("10.1.0.7", 4000), ("10.1.0.8", 4000), ("10.1.0.2", 4000)}),
        (["10.2.0.0/24"], {("10.2.0.7", 4000)}),
        (["10.3.0.0/24"], set()),  # this host is not there any more
        (["127.0.0.0/8"], {("127.0.0.1", 4000)}),
        ([], set()),
    ],
)
async def test_a_key_that_a_service_heard_of_on_a_network_is_dialled_there(
    heard_on: list[str], expected: set[Any], tried: list[Any]
) -> None:
    info = NodeInfo.create(Identity.generate(), ADDRESSES, 1, int(time.time()) + 3600)
    async with asyncio.timeout(20), node() as platform:
        said = info.payload() | {"foundBy": "somebody", "heardOn": heard_on}
        platform.messaging.bus.emit("self", topics.NODE_INFO, platform.sign_id, said)
        await dial(platform, info.sign_id)
    assert set(tried) == expected


async def test_addresses_without_a_record_are_dialled_where_they_were_heard(tried: list[Any]) -> None:
    peer = Identity.generate().sign_id
    async with asyncio.timeout(20), node() as platform:
        said = {"signId": peer, "connectionInfo": [*ADDRESSES[:3]], "foundBy": "x", "heardOn": ["10.1.0.0/24"]}
        platform.messaging.bus.emit("self", topics.ADDRESSES, platform.sign_id, said)
        await dial(platform, peer)
    assert set(tried) == {("10.1.0.7", 4000), ("10.1.0.8", 4000)}


async def test_a_link_from_a_network_opens_the_way_to_that_host(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    address = property(lambda self: "tcp://10.1.0.7:50000", lambda self, to: None)
    monkeypatch.setattr(TCPConnection, "address", address, raising=False)
    async with asyncio.timeout(20), node() as bot, node(connection_info=[]) as stranger:
        await stranger.advertise("me", ADDRESSES)
        await stranger.add(bot.ticket())
        await stranger.connect(bot.sign_id)
        await until(lambda: bot.directory.known(stranger.sign_id) is not None)
        await stranger.stop()
        tried = request.getfixturevalue("tried")
        await dial(bot, stranger.sign_id)
    assert set(tried) == {("10.1.0.7", 4000)}
