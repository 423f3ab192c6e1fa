"""A device that talks without an end, in a process of its own: ``python -m tests.support.talking_device TICKET``.

It sends realtime and durable messages, large ones and requests, over whatever link it has, until it is killed.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Any, Final

from mm_transports.tcp import TCP
from mmplatform import MMError, Platform
from mmplatform.identity.keys import Identity

DEVICE: Final = Identity.from_seed(b"a stolen laptop".ljust(32))
LARGE: Final = bytes(8 * 1024 * 1024)


async def talk(platform: Platform, peer: str, say: Any) -> None:
    while True:
        with suppress(MMError):
            await say(platform, peer)
        await asyncio.sleep(0)


async def realtime(platform: Platform, peer: str) -> None:
    for number in range(64):
        await platform.messaging.send("word", peer, number, realtime=True)


async def durable(platform: Platform, peer: str) -> None:
    await asyncio.gather(*(platform.messaging.send("line", peer, number) for number in range(16)))


async def large(platform: Platform, peer: str) -> None:
    await (await platform.messaging.send("file", peer, LARGE))


async def ask(platform: Platform, peer: str) -> None:
    await platform.messaging.request("question", peer, "?", timeout=1.0)


async def main(ticket: str) -> None:
    async with Platform(identity=DEVICE, transports=[TCP()], connection_info=["tcp://127.0.0.1:0"]) as platform:
        peer = await platform.add(ticket, circle="devices")
        await asyncio.gather(*(talk(platform, peer, say) for say in (realtime, durable, large, ask)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
