"""Your own tests without sockets: cut the network when you like. Run it with pytest."""

import asyncio

from mm_transports.memory import Memory, Network
from mmplatform import Delivery, Platform


async def exchange() -> list[int]:
    network, sent, heard = Network(), list[Delivery](), list[int]()

    def node() -> Platform:
        return Platform(transports=[Memory(network)], connection_info=["memory://0"])

    async with node() as alice, node() as bob:
        bob.messaging.on("public.n", lambda topic, sender, payload: heard.append(payload))
        peer = await alice.add(bob.ticket())
        for number in range(10):
            sent.append(await alice.messaging.send("n", peer, number))
            network.cut()
        await sent[-1]
    return heard


def test_nothing_is_lost_when_the_network_is_cut() -> None:
    assert asyncio.run(exchange()) == list(range(10))
