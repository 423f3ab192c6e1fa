"""A relay with a door for RMB, twins that it knows, and plain clients of it: sockets that send and hear envelopes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mm_relay.server import RelayServer
from mm_transports.rmb.protocol.address import TwinAddress, parse_twin
from mm_transports.rmb.protocol.chain_storage import PALLET
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.envelope import (
    RmbEnvelope,
    RmbMessage,
    RmbPing,
    RmbRequest,
    decode_envelope,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.tokens import make_token
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.toml_edit import put_twin

PATIENCE = 10.0
NOW = 1_800_000_000.0

KEYS = {number: TwinKeys(bytes([number]) * 32, "ed25519" if number % 20 else "sr25519") for number in (10, 20, 30, 40)}


class Clock:
    """Unix seconds that a test sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RmbGuest:
    """A client of the door: what it says is what a test wants."""

    def __init__(self, socket: ClientConnection, at: TwinAddress, clock: Clock) -> None:
        self.socket, self.at, self._clock = socket, at, clock

    def envelope(self, to: str | None, message: RmbMessage, uid: str, **fields: Any) -> RmbEnvelope:
        """Make a signed envelope of this client."""
        made = RmbEnvelope(
            uid=uid, message=message, timestamp=int(self._clock()), expiration=300, source=self.at,
            destination=parse_twin(to) if to is not None else None,
        )  # fmt: skip
        for name, value in fields.items():
            setattr(made, name, value)
        if made.signature is None:
            sign_envelope(made, KEYS[self.at.twin])
        return made

    async def ask(self, to: str, uid: str, command: str = "calc.add", **fields: Any) -> bytes:
        """Send a request; return its bytes."""
        raw = encode_envelope(self.envelope(to, RmbRequest(command), uid, **fields))
        await self.socket.send(raw)
        return raw

    async def ping(self, uid: str = "ping", places: bytes | None = None) -> None:
        await self.socket.send(encode_envelope(self.envelope(None, RmbPing(), uid, plain=places)))

    async def raw(self) -> bytes:
        said = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        assert isinstance(said, bytes)
        return said

    async def hears(self) -> RmbEnvelope:
        return decode_envelope(await self.raw())

    async def hears_nothing(self) -> None:
        """Make sure that nothing came before the answer of a ping of its own."""
        await self.ping("nothing")
        assert (await self.hears()).uid == "nothing"

    async def ended(self) -> str:
        """Return the reason that the relay ended the connection for."""
        try:
            while True:
                await self.raw()
        except ConnectionClosed as closed:
            return closed.rcvd.reason if closed.rcvd is not None else ""

    async def leave(self) -> None:
        await self.socket.close()


class RmbRelay:
    """A relay that runs."""

    def __init__(self, server: RelayServer, facts: dict[str, Any], clock: Clock, notes: list[str]) -> None:
        self.server, self.facts, self.clock, self.notes = server, facts, clock, notes
        self.host = facts["listening"]

    @property
    def twins(self) -> Path:
        """The file of twins that the relay looks at."""
        assert self.server.config.twins is not None
        return self.server.config.twins

    async def look(self) -> None:
        """Have the relay read its file of twins now, and forget what it knew."""
        world = self.world
        await world._registry._registries[0].look()
        world._routes._known.clear()

    @property
    def world(self) -> Any:
        return self.server._rmb.world  # type: ignore[union-attr]

    async def guest(
        self, at: str, *, token: str | None = None, sock: socket.socket | None = None, **claims: Any
    ) -> RmbGuest:
        address = parse_twin(at)
        if token is None:
            token = make_token(KEYS[address.twin], address.twin, address.session, int(self.clock()), **claims)
        url = f"ws://{self.host}/?{token}"
        made = await connect(url, open_timeout=PATIENCE, max_size=None, ping_interval=None, sock=sock)
        return RmbGuest(made, address, self.clock)


def narrow(host: str) -> socket.socket:
    """Return a connection of which the system takes little that nobody reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    name, _, port = host.rpartition(":")
    made.connect((name, int(port)))
    return made


def storage_key(item: bytes, inner: bytes) -> str:
    """Return the key of an entry of one of the maps."""
    return f"0x{(PALLET + item + blake2b(inner, digest_size=16).digest() + inner).hex()}"


def write_twins(path: Path, *twins: TwinInfo) -> None:
    """Write twins to a file; the numbers of KEYS, here, when none are given."""
    for twin in twins or [TwinInfo(number, keys.account, keys.pk) for number, keys in KEYS.items()]:
        put_twin(path, twin, replace=True)


@pytest.fixture
async def rmb(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[RmbRelay]]]:
    """Starts relays: ``await rmb(name, setting=...)``; one of the same name has the folder of the one before."""
    running: list[RelayServer] = []

    async def start(name: str = "relay", clock: Clock | None = None, **settings: Any) -> RmbRelay:
        folder, notes, clock = tmp_path / name, list[str](), clock or Clock()
        folder.mkdir(mode=0o700, exist_ok=True)
        twins = folder / "twins.toml"
        if not twins.exists():
            write_twins(twins)
        flags = {"listen": "127.0.0.1:0", "data": folder, "drain": 2, "rmb": True, "twins": twins} | settings
        server = RelayServer(
            _config({key.replace("_", "-"): value for key, value in flags.items()}), note=notes.append, now=clock
        )
        facts = await server.start()
        running.append(server)
        return RmbRelay(server, facts, clock, notes)

    yield start
    for server in running:
        if not server._ending:
            await server.stop()


def _config(flags: dict[str, Any]) -> Any:
    from mm_relay.config import settings

    return settings.load(flags)
