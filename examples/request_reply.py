"""Ask a peer; the three ways it can fail have three types."""

import asyncio

from mmplatform import NoResponders, Platform, RequestFailed, RequestTimeout


async def main() -> None:
    alice, bob = Platform(), Platform()
    bob.on("error", lambda error, topic: print(f"bob's {topic} failed: {error}"))
    bob.messaging.on("friends.divide", lambda topic, sender, pair: pair[0] / pair[1])

    @bob.messaging.on("friends.sleep")
    async def sleep(topic: str, sender: str, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with alice, bob:
        bob.set_up()  # no more handlers come: what nobody answers need not wait for one
        await bob.add(alice.ticket(), circle="friends")  # friends are told what failed, strangers that it did
        peer = await alice.add(bob.ticket(), circle="friends")
        print(await alice.messaging.request("divide", peer, [1, 4]))
        for topic, payload in (("divide", [1, 0]), ("sleep", 0.5), ("multiply", [6, 7])):
            try:
                await alice.messaging.request(topic, peer, payload, timeout=0.2)
            except (RequestFailed, RequestTimeout, NoResponders) as error:
                print(f"{type(error).__name__}: {error}")


asyncio.run(main())
