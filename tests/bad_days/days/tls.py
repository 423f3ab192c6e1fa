"""Bad days of TLS: thousands of half-open connections, certificates of every wrong kind, few descriptors."""

import asyncio
import os
import secrets
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import tls
from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION, Challenge, Welcome
from mm_transports.relay.protocol.signin import answer
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.relay.transport import Relay
from mm_transports.relay.websocket import WebSocket, connect
from mmplatform import Platform
from mmplatform.diagnosis import examine
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity
from mmplatform.plugins.check import Check
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Broke, Scene

MANY = 10_000
MIB = 1024 * 1024


class SigningIn:
    """One client that signs in and leaves."""

    def __init__(self, relay: RelayProcess, *, stays: bool = False) -> None:
        self._relay, self._stays = relay, stays
        self._identity = Identity.from_seed(secrets.token_bytes(32))
        self._socket: WebSocket
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, trusting: ssl.SSLContext) -> None:
        """Return when it is signed in. Raises Unreachable."""
        url = f"wss://localhost:{self._relay.port}/"
        await connect(url, [VERSION], self.made, max_message=MAX_MESSAGE, ssl=trusting)
        await asyncio.wait_for(self.done, 10)

    def leave(self) -> None:
        self._socket.close(1000, "")

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
                if not self._stays:
                    self.leave()

    def connection_lost(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(Broke(f"an honest client was cut off: {reason}"))

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


async def sign_in(relay: RelayProcess, trusting: ssl.SSLContext) -> float:
    """Return the seconds that one sign-in takes."""
    began = time.monotonic()
    await SigningIn(relay).run(trusting)
    return time.monotonic() - began


async def secure_relay(
    scene: Scene, made: Mapping[str, Any] | None = None, **settings: Any
) -> tuple[RelayProcess, ssl.SSLContext]:
    """Start a relay with a certificate of an authority of its own; return whom to trust as well."""
    folder = scene.folder / "tls"
    tls.create(folder, **(made or {}))
    relay = await scene.relay("-v", *files(folder), scheme="wss", **settings)
    return relay, tls.client_context(folder)


def files(folder: Path) -> tuple[str, ...]:
    """Return the options with the certificate in a folder."""
    return ("--tls-certificate", str(folder / tls.CERTIFICATE), "--tls-key", str(folder / tls.KEY))


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


def memory(relay: RelayProcess) -> int:
    """Return the bytes of memory that a relay takes."""
    return int(Path(f"/proc/{relay.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(relay: RelayProcess) -> int:
    """Return how many files and connections a relay has open."""
    return len(list(Path(f"/proc/{relay.pid}/fd").iterdir()))


async def half_open(scene: Scene, kind: str) -> None:
    """Attack a relay; whoever is honest signs in within 200 ms, from an address of the attackers."""
    relay, trusting = await secure_relay(scene)
    before = [await sign_in(relay, trusting) for _ in range(5)]
    resident = most = memory(relay)
    took: list[float] = []
    async with attack(relay, kind):
        began = time.monotonic()
        while time.monotonic() - began < 5:
            took.append(await sign_in(relay, trusting))
            most = max(most, memory(relay))
            await scene.rest(0.1)
    scene.tell(
        f"sign-in {median(before) * 1000:.0f} ms before; with {MANY} half-open median {median(took) * 1000:.0f} ms,"
        f" slowest {max(took) * 1000:.0f} ms; RSS {(most - resident) / MIB:+.0f} MiB"
    )
    late = sum(each > 0.2 for each in took)
    scene.holds(not late, f"{late} of {len(took)} honest clients wait for more than 200 ms")
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


async def told_of(scene: Scene, relay: RelayProcess, trusting: ssl.SSLContext | None, says: str) -> None:
    """A node that is at home at a relay is told what is wrong with the certificate, and so is who asks the doctor."""
    node = await scene.node("alice", relay, transports=["tcp", Relay(ssl_context=trusting)])
    await scene.within(10, lambda: any(says in error for error in scene.errors), "the node is not told")
    faults = [check for check in await examined(node) if check.word == "relay-tls"]
    scene.holds(any(says in check.text and check.remedy for check in faults), "the doctor does not say it")
    scene.tell(f"doctor: {faults[0].text.rpartition('; the relay')[2]}; do: {faults[0].remedy}")


async def examined(node: Platform) -> list[Check]:
    """Return what ``mm doctor`` says of relays."""
    return [check for check in await examine(node) if check.subject.startswith("relay ")]


def noted(relay: RelayProcess, words: str) -> str:
    """Return the first line of the relay's log with these words, without its time, or ""."""
    assert relay.log is not None
    lines = [line for line in relay.log.read_text().splitlines() if words in line]
    return lines[0].partition("mm_relay.server ")[2] if lines else ""


@bad_day()
async def certificate_has_expired(scene: Scene) -> None:
    """The relay's certificate has expired: its operator is told at the start, nodes and their doctor why they fail."""
    relay, trusting = await secure_relay(scene, {"begins": -30, "ends": -1})
    await scene.within(2, lambda: bool(noted(relay, "has expired on")), "the operator is not told")
    scene.tell(f"operator: {noted(relay, 'has expired on').rpartition('/')[2]}")
    await told_of(scene, relay, trusting, "has expired")


@bad_day()
async def certificate_of_tomorrow(scene: Scene) -> None:
    """The certificate is not valid yet, or a clock is behind: both sides are told."""
    relay, trusting = await secure_relay(scene, {"begins": 1, "ends": 30})
    await scene.within(2, lambda: bool(noted(relay, "is not valid before")), "the operator is not told")
    await told_of(scene, relay, trusting, "is not valid yet")


@bad_day()
async def certificate_of_another_name(scene: Scene) -> None:
    """The certificate is for another host: the operator is told what clients dial, nodes which name is wrong."""
    relay, trusting = await secure_relay(scene, {"host": "other.example"})
    await scene.within(2, lambda: bool(noted(relay, "which clients dial")), "the operator is not told")
    await told_of(scene, relay, trusting, "is for another name than localhost")


@bad_day()
async def certificate_of_a_private_authority(scene: Scene) -> None:
    """Nobody here trusts who signed the certificate: the node is told of SSL_CERT_FILE, and that works."""
    relay, trusting = await secure_relay(scene)
    await told_of(scene, relay, None, "nobody this host trusts has signed it")
    scene.tell(f"with its authority signed in after {await sign_in(relay, trusting) * 1000:.0f} ms")


@bad_day()
async def certificate_is_renewed_too_late(scene: Scene) -> None:
    """The certificate expires soon, is renewed under clients, then by a file that is none: nobody is disconnected."""
    relay, _ = await secure_relay(scene, {"ends": 0.2})
    await scene.within(2, lambda: bool(noted(relay, "expires in 0 days")), "the operator is not told")
    tls.create(scene.folder / "tls")
    os.kill(relay.pid, signal.SIGHUP)
    await scene.within(5, lambda: bool(noted(relay, "were read again")), "the certificate is not read again")
    await sign_in(relay, tls.client_context(scene.folder / "tls"))
    (scene.folder / "tls" / tls.KEY).write_text("half a key")
    os.kill(relay.pid, signal.SIGHUP)
    await scene.within(5, lambda: bool(noted(relay, "nothing has changed")), "nobody says that it is no key")
    scene.tell(f"operator: {noted(relay, 'nothing has changed').rpartition('/')[2]}")
    await sign_in(relay, tls.client_context(scene.folder / "tls"))


@bad_day()
async def key_of_another_certificate(scene: Scene) -> None:
    """The key is not that of the certificate: the relay names the two files, and does not run."""
    folder, other = scene.folder / "tls", scene.folder / "other"
    tls.create(folder)
    tls.create(other)
    (folder / tls.KEY).write_bytes((other / tls.KEY).read_bytes())
    log = scene.folder / "refused.log"
    relay = RelayProcess(scene.folder / "refused", *files(folder), log=log, scheme="wss")
    try:
        await relay.start()
    except RuntimeError:
        scene.holds("is not the key of" in log.read_text(), "it does not say what is wrong")
        scene.tell(f"operator: {log.read_text().strip()}")
    else:
        await relay.kill()
        raise Broke("it runs")


@bad_day()
async def few_descriptors(scene: Scene) -> None:
    """A relay may open 300 files: its operator is told, and 400 clients leave room for its store and for pages."""
    relay, trusting = await secure_relay(scene, descriptors=300)
    await scene.within(2, lambda: bool(noted(relay, "this process may open 300 files")), "the operator is not told")
    async with AsyncExitStack() as stack:
        refused = 0
        for _ in range(400):
            try:
                await stack.enter_async_context(stay(relay, trusting))
            except Unreachable as error:
                refused += 1
                scene.holds("full" in str(error), f"a client is told: {error}")
        scene.tell(
            f"operator: {noted(relay, 'this process may open')}; {400 - refused} clients signed in, {refused} told"
        )
        scene.holds(refused > 200, "it lets in more than it has room for")
        scene.holds(open_files(relay) < 290, "no file is left for the store")
    await sign_in(relay, trusting)


@asynccontextmanager
async def stay(relay: RelayProcess, trusting: ssl.SSLContext) -> AsyncIterator[None]:
    """Stay signed in, as long as the block takes."""
    client = SigningIn(relay, stays=True)
    await client.run(trusting)
    try:
        yield
    finally:
        client.leave()
