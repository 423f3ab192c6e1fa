"""Your own tests without sockets: cut the network when you like. Run it with pytest."""

import asyncio

from mm_transports.memory import Memory, Network
from mmplatform import Platform


async def exchange():
    network, heard = Network(), []

    def node():
        return Platform(transports=[Memory(network)], connection_info=["memory://0"])

    async with node() as alice, node() as bob:
        bob.messaging.on("public.n", lambda topic, sender, payload: heard.append(payload))
        peer = await alice.add(bob.ticket())
        for number in range(10):
            delivery = await alice.messaging.send("n", peer, number)
            network.cut()
        await delivery
    return heard


def test_nothing_is_lost_when_the_network_is_cut():
    assert asyncio.run(exchange()) == list(range(10))
