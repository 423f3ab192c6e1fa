"""Four lanes: control before high before normal before low; order is kept within each."""

import asyncio

from mm_transports.memory import Memory, Network
from mmplatform import Platform


async def main() -> None:
    network = Network()

    def node() -> Platform:
        return Platform(transports=[Memory(network)], connection_info=["memory://0"])

    async with node() as alice, node() as bob:
        bob.messaging.on("public.work", lambda topic, sender, payload: print(payload))
        peer = await alice.add(bob.ticket())
        network.up = False  # let them pile up first
        for number in (1, 2):
            for priority in ("low", "normal", "high", "control"):
                await alice.messaging.send("work", peer, f"{priority} {number}", priority=priority)
        network.up = True
        await alice.flush(peer, timeout=30)


asyncio.run(main())
