"""The two processes of the chaos run: ``python -m tests.chaos.nodes sender|receiver FOLDER ADDRESS [TICKET]``.

ADDRESS is that of the proxy in front of the receiver, or of the relay (or several, with commas between them) through
which alone both can be reached.

The sender numbers its messages; the next number is saved in the same transaction as the message, so a killed sender
goes on exactly where ``send`` accepted. The receiver's handler appends number and time to a log and is done.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from mm_transports.tcp import TCP
from mmplatform import Platform
from mmplatform.plugins.transport import Accept

NEXT = b"chaos/next"
BURST = 20  # messages accepted side by side
PAUSE = 0.004  # seconds between bursts: load, not a flood
LARGE_EVERY = 997
LARGE = b"\0" * 300_000  # travels in pieces


class BehindProxy(TCP):
    """Listens on loopback, and says that it is to be dialled at the proxy."""

    def __init__(self, proxy: str, port_file: Path) -> None:
        super().__init__()
        self._proxy, self._port_file = proxy, port_file

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        found = await super().listen(hint, accept)
        self._port_file.write_text(found[0].rpartition(":")[2])
        return [self._proxy]


async def send(folder: Path, address: str, ticket: str) -> None:
    async with node(folder, address, TCP()) as platform:
        peer = await platform.add(ticket)
        saved = await platform.storage.get(NEXT)
        number = int(saved or b"1")
        print("ready", flush=True)
        stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        while not stop.done():
            sends = []
            for _ in range(BURST):
                payload = [number, LARGE if number % LARGE_EVERY == 0 else b"x" * 100]
                number += 1
                platform.parts.outbox.attach([(NEXT, b"%d" % number)])
                sends.append(asyncio.create_task(platform.messaging.send("chaos", peer, payload)))
            await asyncio.gather(*sends)
            await asyncio.sleep(PAUSE)
        await platform.flush(timeout=60)
        print(f"sent {number - 1}", flush=True)


async def receive(folder: Path, address: str) -> None:
    log = os.open(folder.parent / "received.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with node(folder, address, BehindProxy(address, folder.parent / "port")) as platform:
        os.write(log, b"start\n")
        platform.messaging.on(
            "public.chaos",
            lambda topic, sender, payload: os.write(log, b"%d %d\n" % (payload[0], time.monotonic_ns())) and None,
        )
        print(f"ready {platform.ticket()}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def node(folder: Path, address: str, transport: TCP) -> Platform:
    asyncio.get_running_loop().set_exception_handler(_escaped)
    if address.startswith("relay+"):
        return Platform(folder, connection_info=(), relays=address.split(","))
    return Platform(folder, connection_info=["tcp://127.0.0.1:0"], transports=[transport])


def _escaped(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody took ends the run: its log may be whole all the same."""
    loop.default_exception_handler(context)
    os._exit(70)


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    asyncio.run(send(Path(where), *rest) if role == "sender" else receive(Path(where), *rest))
