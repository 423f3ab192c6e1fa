"""A node that asks twins of ThreeFold's Reliable Message Bus, and is asked by them: see docs/rmb.rst.

python rmb_bridge.py DATA_FOLDER bridge.toml TWIN             TWIN is a number, or a name in the file
"""

import asyncio
import sys

from mm_services.rmb.bridge import RmbBridge
from mmplatform import Platform


async def main(folder: str, rules: str, twin: str) -> None:
    platform = Platform(folder, services=[RmbBridge(rules)])

    @platform.messaging.on("public.calc.add")
    def add(topic: str, sender: str, numbers: list[float]) -> float:
        print(f"{sender} adds {numbers}", flush=True)
        return sum(numbers)

    async with platform:
        print("asks and adds", flush=True)
        print(await platform.messaging.request("calc.add", f"rmb:{twin}", [1, 2], timeout=30), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
