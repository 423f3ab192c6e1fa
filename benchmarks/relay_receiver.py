"""A node that takes what comes: ``python -m benchmarks.relay_receiver FOLDER RELAY [RELAY ...]`` prints its ticket."""

import asyncio
import sys

from mmplatform import Platform

TOPIC = "bench"


async def main(folder: str, *relays: str) -> None:
    async with Platform(folder, connection_info=(), relays=relays) as platform:
        platform.messaging.on(f"public.{TOPIC}", lambda topic, sender, payload: None)
        print(platform.ticket(), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
