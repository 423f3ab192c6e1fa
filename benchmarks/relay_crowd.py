"""Clients of a relay that sign in and say nothing: ``python -m benchmarks.relay_crowd DOOR ADDRESS FIRST COUNT TRUST``.

DOOR is ``native`` (:mod:`mm_transports.relay.client`, an identity each) or ``rmb`` (the twins from number FIRST on, as
genuine clients of RMB connect). TRUST is the folder of the relay's certificate, "" without TLS. It prints ``signed in
N`` with the attempts that failed before, and, asked by a line, ``lost N``.
"""

import asyncio
import random
import resource
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import tls
from mm_transports.relay import websocket
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Item, Limits
from mm_transports.rmb.protocol.envelope import MAX_ENVELOPE
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.tokens import make_token
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity

AT_ONCE: Final = 64  # that are signing in
PATIENCE: Final = 300.0  # seconds
SPARE: Final = 200  # files a process needs beside its connections


class Idler:
    """The owner of a client that has nothing to say."""

    downs = 0

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None: ...

    def relay_down(self, client: Client, reason: str) -> None:
        Idler.downs += 1

    def relay_writable(self, client: Client) -> None: ...


class IdleTwin:
    """The owner of the connection of a twin that has nothing to say."""

    def message_received(self, message: bytes) -> None: ...

    def connection_lost(self, reason: str) -> None:
        Idler.downs += 1

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


def keys_of(number: int) -> TwinKeys:
    """Return the keys of a twin: anybody can make them."""
    return TwinKeys(number.to_bytes(32), "ed25519")


def write_twins(file: Path, count: int) -> Path:
    """Write the twins from number 1 on into a new file for a relay."""
    made = ((number, keys_of(number)) for number in range(1, count + 1))
    file.write_text("".join(
        f'[twin.{number}]\naccount = "{keys.account.hex()}"\npk = "{keys.pk.hex()}"\n' for number, keys in made
    ))  # fmt: skip
    return file


async def main(door: str, address: str, first: int, count: int, trust: str) -> None:
    """Sign in ``count`` times, say so, and wait to be asked how many were lost."""
    allow_files(count + SPARE)
    context = tls.client_context(Path(trust)) if trust else None
    sign_in, turn = (twins if door == "rmb" else peers)(address, context), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> object:
        async with turn:
            return await sign_in(number)

    clients = await asyncio.gather(*(one(number) for number in range(first, first + count)))
    print(f"signed in {Idler.downs}", flush=True)
    Idler.downs = 0
    await asyncio.to_thread(sys.stdin.readline)
    print(f"lost {Idler.downs + sum(isinstance(one, Client) and not one.up for one in clients)}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def peers(address: str, context: ssl.SSLContext | None) -> Callable[[int], Awaitable[object]]:
    """Return what signs one in at the native door."""
    relay = parse_relay(address)

    async def sign_in(number: int) -> Client:
        client = Client(
            relay, Identity.generate(), Idler(), random=random.random, now=time.time, ssl_context=context, keep=True
        )
        client.start()
        await client.connected(PATIENCE)
        return client

    return sign_in


def twins(address: str, context: ssl.SSLContext | None) -> Callable[[int], Awaitable[object]]:
    """Return what signs one in at the door for RMB."""
    url = parse_relay(address).url

    async def sign_in(number: int) -> websocket.WebSocket:
        ends = time.monotonic() + PATIENCE
        while True:
            token = make_token(keys_of(number), number, None, int(time.time()))
            try:
                return await websocket.connect(
                    f"{url}?{token}", (), lambda _: IdleTwin(), max_message=MAX_ENVELOPE, ssl=context
                )
            except Unreachable:
                if time.monotonic() > ends:
                    raise
                Idler.downs += 1

    return sign_in


def allow_files(count: int) -> None:
    """As many open files as that, for this process and those it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        raise SystemExit(f"{count} open files are needed and {most} allowed: ulimit -n {count}, or --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(given[0], given[1], int(given[2]), int(given[3]), given[4]))
