"""One end of a cell of the NAT matrix: a node as users start it. Tells what happens as JSON lines.

With ``--send`` it greets the peer of that ticket as soon as it runs; ``again`` on stdin sends once more.
"""

import argparse
import asyncio
import sys
import time
from contextlib import suppress

from mmplatform import Platform
from tests.netns.node import tell

LOOK = 0.02  # seconds
PASSING = ("busy", "crossed")  # reasons that say nothing about the way


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--relay", required=True)
    parser.add_argument("--stun", required=True)
    parser.add_argument("--send", default="", help="a ticket")
    options = parser.parse_args()
    platform = Platform(relays=[options.relay], stun=[options.stun])
    direct: list[str] = []

    def moved(peer: str, address: str, trip: float, why: str) -> None:
        if not address.startswith("relay") and not direct:
            direct.append(address)
            tell("direct", over=address.partition(":")[0])

    platform.on("path", moved)
    platform.messaging.on("*.hello", lambda topic, sender, payload: None)
    async with platform:
        while not options.send and any(platform.relays.values()):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(LOOK)
        tell("ready", signId=platform.sign_id, listening=[], ticket=platform.ticket())
        if options.send:
            await greet(platform, options.send, direct)
        await asyncio.Event().wait()


async def greet(platform: Platform, ticket: str, direct: list[str]) -> None:
    peer = await platform.add(ticket)
    tell("sent")
    await (await platform.messaging.send("hello", peer, "hello"))
    tell("delivered")
    while not direct:
        why = next(status for status in platform.peers() if status.sign_id == peer).troubles.get("webrtc:", "")
        if why and not any(word in why for word in PASSING):
            tell("failed", reason=why)
            break
        await asyncio.sleep(LOOK)
    while await asyncio.to_thread(sys.stdin.readline):
        began = time.perf_counter()
        await (await platform.messaging.send("hello", peer, "again"))
        tell("delivered-again", after=time.perf_counter() - began)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
