"""Somebody else at a relay: ``python -m benchmarks.relay_stranger RELAY PACE SIZE [VIA ...]``.

Signs in there, prints "ready" and obeys its standard input: "go", answered with "going" when the relay has answered the
first deposit, and "stop"; "tell" prints what it has done so far. While it goes it deposits envelopes of SIZE bytes for
peers that never come and opens links to others that are not there, in turn to peers of the relays VIA, or of RELAY
itself: PACE of both a second, with 0 as fast as its connection takes them. Whatever it is answered, it goes on.
"""

import asyncio
import itertools
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Declined, Deposit, Item, Limits, Open, Stored
from mmplatform.identity.keys import Identity

FRAME = bytes(1000)
HOUR = 3_600_000  # milliseconds
DEADLINE = 30.0  # seconds for an answer


class Stranger:
    """The owner of the client."""

    def __init__(self) -> None:
        self.on = False
        self.counts = {"deposited": 0, "stored": 0, "declined": 0}
        self._wake = asyncio.Event()
        self._told_to_go = False

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None:
        self.counts["stored"] += isinstance(item, Stored)
        self.counts["declined"] += isinstance(item, Declined)
        if self._told_to_go and isinstance(item, Stored | Declined):
            self._told_to_go = False
            print("going", flush=True)

    def relay_down(self, client: Client, reason: str) -> None:
        if self.on:
            print(f"the stranger is out: {reason}", file=sys.stderr)

    def relay_writable(self, client: Client) -> None:
        self._wake.set()

    async def run(self, address: str, pace: float, size: int, vias: list[str]) -> None:
        os.nice(10)  # it is another machine's work
        client = Client(parse_relay(address), Identity.generate(), self, random=random.random, now=time.time)
        client.start()
        await client.connected(DEADLINE)
        print("ready", flush=True)
        told = asyncio.create_task(self._listen())
        absent = itertools.cycle([(Identity.generate().sign_key, via) for via in vias or [""]])
        while not told.done():
            if not self.on or client.full:
                self._wake.clear()
                await self._wake.wait()
                continue
            peer, via = next(absent)
            expires = int(time.time() * 1000) + HOUR
            client.tell(Deposit(peer, secrets.token_bytes(16), expires, bytes(size), via))
            client.tell(Open(secrets.token_bytes(32), 1, FRAME, via))
            self.counts["deposited"] += 1
            await asyncio.sleep(1 / pace if pace else 0)

    async def _listen(self) -> None:
        while (line := await asyncio.to_thread(sys.stdin.readline)).strip() not in ("", "end"):
            if line.strip() == "tell":
                print(json.dumps(self.counts), flush=True)
            else:
                self.on = self._told_to_go = line.strip() == "go"
                self._wake.set()
        self.on = False
        self._wake.set()


class Handle:
    """The same from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), DEADLINE)).decode()

    async def begin(self) -> None:
        self.tell("go")
        await self.line()

    async def counts(self) -> dict[str, int]:
        self.tell("tell")
        found: dict[str, int] = json.loads(await self.line())
        return found


@asynccontextmanager
async def stranger(relay: str, *vias: str, pace: float = 0, size: int = 10_000) -> AsyncIterator[Handle]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.relay_stranger", relay, str(pace), str(size), *vias,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    handle = Handle(process)
    try:
        await handle.line()
        yield handle
    finally:
        await process.communicate(b"end\n")


if __name__ == "__main__":
    asyncio.run(Stranger().run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
