"""Three nodes in a DHT: alice and bob know one seed and each other's signId, and nothing else."""

import asyncio

from mm_services.kademlia.service import Kademlia
from mmplatform import Platform


def node(*bootstrap: str) -> Platform:
    dht = Kademlia(listen=["kad://127.0.0.1:0"], bootstrap=bootstrap)
    return Platform(connection_info=["tcp://127.0.0.1:0"], services=[dht])


async def main() -> None:
    async with node() as seed:
        first = (await seed.messaging.request("directory.state"))["addresses"][0]
        async with node(first) as alice, node(first) as bob:
            bob.messaging.on("public.chat", lambda topic, sender, payload: print("bob heard:", payload))
            await (await alice.messaging.send("chat", bob.sign_id, "found you"))
            await bob.messaging.request("directory.put", payload={"key": "status", "value": "busy"})
            found = await alice.messaging.request("directory.get", payload=f"{bob.sign_id}/status")
            print("bob is", found["value"])


asyncio.run(main())
