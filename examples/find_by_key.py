"""Nothing but the key: mDNS finds the peer on the same network (pip install 'mm-platform[mdns]')."""

import asyncio

from mm_services.mdns import MulticastDNS
from mmplatform import Platform


async def main() -> None:  # by name: services=["mdns"]
    async with Platform(services=[MulticastDNS()]) as alice, Platform(services=[MulticastDNS()]) as bob:

        @bob.messaging.on("public.chat")
        def heard(topic: str, sender: str, payload: str) -> None:
            print(f"bob heard: {payload}")

        delivery = await alice.messaging.send("chat", bob.sign_id, "hello, whoever has this key")
        print((await delivery).state)
        [status] = [peer for peer in alice.peers() if peer.sign_id == bob.sign_id]
        print("found by", status.found_by)


asyncio.run(main())
