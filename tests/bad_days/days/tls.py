"""Bad days of TLS: thousands of half-open connections, certificates of every wrong kind, few descriptors."""

import asyncio
import secrets
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import psutil

from benchmarks import tls
from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION, Challenge, Welcome
from mm_transports.relay.protocol.signin import answer
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.relay.websocket import WebSocket, connect
from mmplatform.identity.keys import Identity
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Broke, Scene

MANY = 10_000
MIB = 1024 * 1024


class SigningIn:
    """One client that signs in and leaves."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        self._identity = Identity.from_seed(secrets.token_bytes(32))
        self._socket: WebSocket
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def made(self, socket: WebSocket) -> "SigningIn":
        self._socket = socket
        return self

    def message_received(self, message: bytes) -> None:
        for item in decode_items(message):
            if isinstance(item, Challenge):
                said = answer(self._identity, item, self._relay.identity.sign_key, bytes(32))
                self._socket.send(encode_items([said]))
            elif isinstance(item, Welcome) and not self.done.done():
                self.done.set_result(None)
                self._socket.close(1000, "")

    def connection_lost(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(Broke(f"an honest client was cut off: {reason}"))

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


async def sign_in(relay: RelayProcess, trusting: ssl.SSLContext) -> float:
    """Return the seconds that one sign-in takes."""
    began = time.monotonic()
    client = SigningIn(relay)
    url = f"wss://localhost:{relay.port}/"
    await connect(url, [VERSION], client.made, max_message=MAX_MESSAGE, ssl=trusting)
    await asyncio.wait_for(client.done, 10)
    return time.monotonic() - began


async def secure_relay(scene: Scene, *options: str, **settings: Any) -> tuple[RelayProcess, ssl.SSLContext]:
    """Start a relay with a certificate of an authority of its own; return whom to trust as well."""
    folder = scene.folder / "tls"
    tls.create(folder)
    files = ("--tls-certificate", str(folder / tls.CERTIFICATE), "--tls-key", str(folder / tls.KEY))
    relay = await scene.relay("-v", *files, *options, scheme="wss", **settings)
    return relay, tls.client_context(folder)


@asynccontextmanager
async def attack(relay: RelayProcess, kind: str) -> AsyncIterator[None]:
    """Hold half-open connections from three addresses, as long as the block takes."""
    words = (sys.executable, "-m", "tests.bad_days.half_open", str(relay.port), str(MANY), kind)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        if await asyncio.wait_for(process.stdout.readline(), 60) != b"open\n":
            raise RuntimeError("the attacker failed")
        yield
    finally:
        process.kill()
        await process.communicate()


async def half_open(scene: Scene, kind: str) -> None:
    """Attack a relay; whoever is honest signs in within 200 ms, from an address of the attackers."""
    relay, trusting = await secure_relay(scene)
    memory = psutil.Process(relay.pid).memory_info
    before = [await sign_in(relay, trusting) for _ in range(5)]
    resident = most = memory().rss
    took: list[float] = []
    async with attack(relay, kind):
        began = time.monotonic()
        while time.monotonic() - began < 5:
            took.append(await sign_in(relay, trusting))
            most = max(most, memory().rss)
            await scene.rest(0.1)
    scene.tell(
        f"sign-in {median(before) * 1000:.0f} ms before; with {MANY} half-open median {median(took) * 1000:.0f} ms,"
        f" slowest {max(took) * 1000:.0f} ms; RSS {(most - resident) / MIB:+.0f} MiB"
    )
    late = sum(each > 0.2 for each in took)
    scene.holds(late <= len(took) / 20, f"{late} of {len(took)} honest clients wait for more than 200 ms")
    scene.holds(most - resident < 64 * MIB, "the relay takes more than 64 MiB")


@bad_day(quick=False)
async def half_open_and_silent(scene: Scene) -> None:
    """10,000 TLS connections of three addresses say nothing: honest ones sign in within 200 ms."""
    await half_open(scene, "silent")


@bad_day(quick=False)
async def half_open_and_slow(scene: Scene) -> None:
    """10,000 TLS connections of three addresses send their ClientHello a byte a second."""
    await half_open(scene, "slow")


@bad_day(quick=False)
async def half_open_after_hello(scene: Scene) -> None:
    """10,000 TLS connections of three addresses send a ClientHello, and nothing more."""
    await half_open(scene, "hello")
