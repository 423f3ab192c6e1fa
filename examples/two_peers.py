"""Two peers: friends by ticket, a message with its outcome, a request with its reply."""

import asyncio
from tempfile import mkdtemp

from mmplatform import Platform


async def main() -> None:
    alice, bob = Platform(mkdtemp()), Platform(mkdtemp())

    @bob.messaging.on("friends.chat")
    async def heard(topic: str, sender: str, payload: dict[str, str]) -> None:
        print(f"{topic}: {payload}")

    @bob.messaging.on("friends.add")
    def add(topic: str, sender: str, payload: list[int]) -> int:
        return sum(payload)

    async with alice, bob:
        await bob.add(alice.ticket(), name="alice", circle="friends")
        peer = await alice.add(bob.ticket(), name="bob", circle="friends")
        delivery = await alice.messaging.send("chat", peer, {"text": "hi"})  # kept safe here
        print(await delivery)  # handled there
        print(await alice.messaging.request("add", peer, [1, 2], timeout=5))


asyncio.run(main())
