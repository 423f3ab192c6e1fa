"""Platforms that move from the link they have to a direct one, and back; real channels."""

import asyncio
from typing import Any

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.errors import Unreachable
from tests.support.waiting import until
from tests.support.webrtc import needs_addresses
from tests.support.world import identity

pytestmark = needs_addresses


def node(number: int, network: Network, **options: Any) -> Platform:
    listen = ("memory://0", "webrtc:")
    return Platform(
        identity=identity(number), transports=[Memory(network), WebRTC()], connection_info=listen, **options
    )


@pytest.mark.slow
async def test_a_direct_link_is_made_over_another_one_and_outlives_it() -> None:
    network = Network()
    alice, bob = node(1, network), node(2, network)
    heard: list[int] = []
    bob.messaging.on("*.count", lambda topic, sender, payload: heard.append(payload))
    async with alice, bob, asyncio.timeout(40):
        assert "webrtc:" in bob.directory.own_record.connection_info
        await alice.add(bob.ticket())
        await bob.add(alice.ticket())  # of strangers no candidates on this host are tried
        with pytest.raises(Unreachable, match="no-link"):
            await alice.parts.dialer.dial(bob.sign_id, ("webrtc:",))
        await alice.connect(bob.sign_id)
        await alice.parts.dialer.dial(bob.sign_id, ("webrtc:",))
        network.up = False
        network.cut()
        for number in range(3000):
            await alice.messaging.send("count", bob.sign_id, number)
        await alice.flush()
        assert heard == list(range(3000))
        [status] = [status for status in alice.peers() if status.sign_id == bob.sign_id]
        assert status.address == "webrtc:"
        assert 0 < await alice.ping(bob.sign_id) < 5


async def test_messages_flow_on_while_links_change() -> None:
    network = Network()
    alice, bob = node(1, network), node(2, network)
    heard: list[int] = []
    bob.messaging.on("*.count", lambda topic, sender, payload: heard.append(payload))
    async with alice, bob, asyncio.timeout(40):
        await alice.add(bob.ticket())
        await bob.add(alice.ticket())  # of strangers no candidates on this host are tried
        await alice.connect(bob.sign_id)
        for number in range(2000):
            if number == 500:
                upgrade = asyncio.create_task(alice.parts.dialer.dial(bob.sign_id, ("webrtc:",)))
            await alice.messaging.send("count", bob.sign_id, number)
            if number == 1500:
                assert (await upgrade).connection.address == "webrtc:"
        await alice.flush()
        assert heard == list(range(2000))


async def test_the_direct_link_is_lost_and_nothing_with_it() -> None:
    network = Network()
    alice, bob = node(1, network), node(2, network)
    heard: list[int] = []
    bob.messaging.on("*.count", lambda topic, sender, payload: heard.append(payload))
    async with alice, bob, asyncio.timeout(40):
        await alice.add(bob.ticket())
        await bob.add(alice.ticket())  # of strangers no candidates on this host are tried
        for number in range(600):
            if number % 200 == 100:
                await alice.connect(bob.sign_id)
                link = await alice.parts.dialer.dial(bob.sign_id, ("webrtc:",))
            await alice.messaging.send("count", bob.sign_id, number)
            if number % 200 == 150:
                link.connection.abort()
        await alice.flush()
        assert heard == list(range(600))


async def test_platforms_that_stop_leave_nothing() -> None:
    before = asyncio.all_tasks()
    network = Network()
    async with node(1, network) as alice, node(2, network) as bob, asyncio.timeout(40):
        await alice.add(bob.ticket())
        await bob.add(alice.ticket())  # of strangers no candidates on this host are tried
        await alice.connect(bob.sign_id)
        await alice.parts.dialer.dial(bob.sign_id, ("webrtc:",))
        await until(lambda: bob.parts.peers.linked(alice.sign_id))
    assert asyncio.all_tasks() == before
