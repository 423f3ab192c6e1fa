"""A node that does nothing: what :mod:`benchmarks.local` weighs. ``python -m benchmarks.idle FOLDER``."""

import asyncio
import sys

from mmplatform import Platform


async def main(folder: str) -> None:
    async with Platform(folder):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
