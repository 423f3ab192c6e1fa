"""A bot on ThreeFold's Reliable Message Bus: whoever has a twin asks it to add numbers, from wherever he is.

python rmb_bot.py SECRET_FILE TWINS_FILE NUMBER RELAY         for a relay: mm relay --rmb --twins TWINS_FILE
"""

import asyncio
import sys
from pathlib import Path

from mm_services.rmb.twin import Twin
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.twins.file_registry import FileRegistry


def main(secret: str, twins: str, number: str, relay: str) -> None:
    keys = TwinKeys.from_secret(Path(secret).read_text())
    bot = Twin(keys, int(number), registry=FileRegistry(Path(twins), print), relays=[relay])

    @bot.on("calc.add")
    async def add(command: str, sender: TwinAddress, numbers: list[float]) -> float:
        return sum(numbers)

    asyncio.run(serve(bot))


async def serve(bot: Twin) -> None:
    async with bot:
        await bot.connected()
        print(f"twin {bot.at} adds", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
