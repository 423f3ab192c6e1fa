"""Ask a peer; the three ways it can fail have three types."""

import asyncio

from mmplatform import NoResponders, Platform, RequestFailed, RequestTimeout


async def main() -> None:
    async with Platform() as alice, Platform() as bob:
        bob.on("error", lambda error, topic: print(f"bob's {topic} failed: {error}"))
        bob.messaging.on("public.divide", lambda topic, sender, pair: pair[0] / pair[1])

        @bob.messaging.on("public.sleep")
        async def sleep(topic, sender, seconds):
            await asyncio.sleep(seconds)

        peer = await alice.add(bob.ticket())
        print(await alice.messaging.request("divide", peer, [1, 4]))
        for topic, payload in (("divide", [1, 0]), ("sleep", 60), ("multiply", [6, 7])):
            try:
                await alice.messaging.request(topic, peer, payload, timeout=0.2)
            except (RequestFailed, RequestTimeout, NoResponders) as error:
                print(f"{type(error).__name__}: {error}")


asyncio.run(main())
