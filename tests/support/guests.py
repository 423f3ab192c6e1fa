"""Clients of a whole relay that speak item by item, and a way to it that can be closed without a word."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from mm_transports.relay.protocol import items
from mm_transports.relay.protocol.items import (
    Deposit,
)  # fmt: skip
from mm_transports.relay.websocket import connect
from mmplatform.identity.keys import Identity
from tests.support.native_door import Guest
from tests.support.running_relays import Running
from tests.support.world import identity

CAROL, MALLORY = identity(3), identity(4)


WEEK = 7 * 86_400_000


_ids = iter(range(1, 10**9))


# Helpers.


def letter(to: Identity, *, lasts: int = WEEK, via: str = "", size: int = 100, envelope: bytes = b"") -> Deposit:
    """Mail for a raw client: the relay looks into no envelope."""
    number = next(_ids)
    content = envelope or b"%d." % number + bytes(size)
    return Deposit(to.sign_key, number.to_bytes(16), int(time.time() * 1000) + lasts, content, via)


async def knock(at: Running, port: int = 0) -> Guest:
    guests: list[Guest] = []

    def owner_of(socket: Any) -> Guest:
        guests.append(Guest(socket))
        return guests[0]

    await connect(f"ws://127.0.0.1:{port or at.port}/", [items.VERSION], owner_of, max_message=items.MAX_MESSAGE)
    return guests[0]


async def left(*guests: Guest) -> None:
    for one in guests:
        one.socket.close()
        await one.lost()


class Hole:
    """A way to a port that can be closed without a word: what is sent into it is taken, and goes nowhere. ``seen`` is
    what passed."""

    def __init__(self, target: int) -> None:
        self._target, self.port = target, 0
        self.swallows = False
        self.seen = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "Hole":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        for ends in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(*ends))
            self._tasks.add(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self.seen += data
                if not self.swallows:
                    writer.write(data)
        if not self.swallows:
            writer.transport.abort()
