"""A handler that is an async generator has many replies; whoever asked has each as soon as it is yielded."""

import asyncio
from collections.abc import AsyncIterator

from mmplatform import Platform


async def main() -> None:
    alice, bob = Platform(), Platform()

    @bob.messaging.on("friends.countdown")
    async def countdown(topic: str, sender: str, payload: int) -> AsyncIterator[int | str]:
        for number in range(payload, 0, -1):
            yield number
            await asyncio.sleep(0.1)
        yield "lift-off"

    async with alice, bob:
        await bob.add(alice.ticket(), name="alice", circle="friends")
        await alice.add(bob.ticket(), name="bob", circle="friends")
        async for reply in alice.messaging.request_many("countdown", "bob", 3):
            print(reply)


asyncio.run(main())
