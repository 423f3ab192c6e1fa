"""The peer is away: what it is sent waits on disk here, over restarts, until it comes back."""

import asyncio
from tempfile import mkdtemp

from mmplatform import Platform


async def main() -> None:
    alices, bobs = mkdtemp(), mkdtemp()
    async with Platform(bobs) as bob:
        ticket = bob.ticket()
    async with Platform(alices) as alice:
        peer = await alice.add(ticket, name="bob", circle="friends")
        for number in range(3):
            delivery = await alice.messaging.send("news", peer, number)
        print(delivery.state)
    bob = Platform(bobs, friends=[alice.sign_id])
    bob.messaging.on("friends.news", lambda topic, sender, payload: print("news", payload))
    async with bob, Platform(alices) as alice:
        await alice.flush(peer, timeout=30)
        print(await alice.delivery(delivery.id))


asyncio.run(main())
