"""A relay of RMB that does what a test says: drops, repeats, forges, keeps silent. Real ones are in rmb_world.py."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress, parse_twin
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import (
    RmbEnvelope,
    RmbMessage,
    RmbPing,
    RmbPong,
    decode_envelope,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from tests.support.rmb_world import KEYS, NOW, PATIENCE

NONCE = bytes(12)


class Known(TwinRegistry):
    """A registry of the twins of KEYS; counts what it is asked."""

    name = "the twins of the test"

    def __init__(self) -> None:
        self.twins = {number: TwinInfo(number, keys.account, keys.pk) for number, keys in KEYS.items()}
        self.asked: list[Key] = []

    async def find(self, key: Key) -> TwinInfo | None:
        self.asked.append(key)
        return self.twins.get(key) if isinstance(key, int) else None


class ScriptedRelay:
    """A relay that one twin signs in at."""

    def __init__(self) -> None:
        self.url = ""
        self.mute = False
        """Whether pings of RMB are not answered."""
        self.tokens: list[str] = []
        self.sockets: list[ServerConnection] = []
        self.places: list[bytes] = []
        self._heard: asyncio.Queue[RmbEnvelope] = asyncio.Queue()

    async def next(self) -> RmbEnvelope:
        """Return the next envelope that is no ping."""
        return await asyncio.wait_for(self._heard.get(), PATIENCE)

    @property
    def silent(self) -> bool:
        return self._heard.empty()

    @property
    def taken(self) -> set[int]:
        """The places that the twin says are dealt with, on all its connections."""
        runs = [part.partition(b"-") for places in self.places for part in places.split()]
        return {place for first, _, last in runs for place in range(int(first), int(last or first) + 1)}

    async def say(self, *envelopes: RmbEnvelope | bytes) -> None:
        """Hand envelopes to the twin, over its newest connection."""
        for each in envelopes:
            await self.sockets[-1].send(each if isinstance(each, bytes) else encode_envelope(each))

    def drop(self) -> None:
        """Lose the connection, as a cable does."""
        self.sockets[-1].transport.abort()

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.tokens.append(socket.request.path.partition("?")[2])
        self.sockets.append(socket)
        try:
            async for message in socket:
                assert isinstance(message, bytes)
                await self._take(socket, decode_envelope(message))
        except ConnectionClosed:
            pass

    async def _take(self, socket: ServerConnection, envelope: RmbEnvelope) -> None:
        if not isinstance(envelope.message, RmbPing):
            self._heard.put_nowait(envelope)
            return
        if envelope.plain:
            self.places.append(envelope.plain)
        if not self.mute:
            pong = RmbEnvelope(uid=envelope.uid, message=RmbPong(), timestamp=1, expiration=1)
            await socket.send(encode_envelope(pong))


@asynccontextmanager
async def scripted_relay() -> AsyncIterator[ScriptedRelay]:
    """Run one."""
    relay = ScriptedRelay()
    async with serve(relay._serve, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as server:
        host, port = next(iter(server.sockets)).getsockname()
        relay.url = f"ws://{host}:{port}/"
        yield relay


def signed(
    source: str, to: str, message: RmbMessage, uid: str, payload: bytes = b"", by: int | None = None, **fields: Any
) -> RmbEnvelope:
    """Make an envelope with an encrypted payload; signed ``by`` another twin than it says, if that is given."""
    made = RmbEnvelope(
        uid=uid, message=message, timestamp=int(NOW), expiration=300, source=parse_twin(source),
        destination=parse_twin(to),
    )  # fmt: skip
    signer = KEYS[by if by is not None else made.source.twin]  # type: ignore[union-attr]
    if payload:
        made.cipher = PayloadKeys(signer, lambda size: NONCE[:size]).encrypt(payload, KEYS[parse_twin(to).twin].pk)
    for name, value in fields.items():
        setattr(made, name, value)
    sign_envelope(made, signer)
    return made


def opened(envelope: RmbEnvelope, reader: int) -> bytes:
    """Return the payload that the twin ``reader`` reads."""
    assert envelope.cipher is not None
    assert envelope.source is not None
    return PayloadKeys(KEYS[reader], lambda size: NONCE).decrypt(envelope.cipher, KEYS[envelope.source.twin].pk)


def names(received: Iterable[ReceivedEnvelope]) -> list[tuple[TwinAddress, str]]:
    """Return who sent what."""
    return [(each.source, each.uid) for each in received]
