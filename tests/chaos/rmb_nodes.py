"""The twin that answers in the chaos of RMB: notes each request in a file and answers with its number.

``python -m tests.chaos.rmb_nodes TWINS RELAY RECORD`` runs until it is killed; "on" says that a relay is connected.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from mm_services.rmb.twin import Twin
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.twins.file_registry import FileRegistry
from tests.support.rmb_world import KEYS

SERVER: Final = 30
COMMAND: Final = "chaos.note"


async def serve(twins: Path, relay: str, record: Path) -> None:
    twin = Twin(KEYS[SERVER], SERVER, registry=FileRegistry(twins, lambda note: None), relays=[relay])
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @twin.on(COMMAND)
    async def note(command: str, sender: TwinAddress, number: int) -> int:
        os.write(file, b"%d\n" % number)
        return number

    async with twin:
        await twin.connected()
        print("on", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
