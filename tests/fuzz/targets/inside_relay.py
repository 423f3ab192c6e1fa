"""A relay behind its door, with two peers and another relay signed in; the WebSocket under it."""

import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mm_relay import core as relay_core
from mm_relay.access import Access
from mm_relay.config.settings import Config
from mm_relay.doors.arrivals import Arrivals
from mm_relay.doors.connections import Connections
from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.native import NativeDoor
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.doors.websocket_server import LIMITS, _Entrance, _Served
from mm_relay.metrics import Metrics
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import PEER, RELAY, Challenge, Item
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform import codec
from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import Identity
from tests.fuzz.target import Run, hexes, target, vectors
from tests.fuzz.world import Loop

RELAY_ID, ALICE, BOB, OTHER = (Identity.from_seed(bytes([n]) * 32) for n in (11, 12, 13, 14))
ADDRESS = format_relay("ws://relay.example/", RELAY_ID.sign_id)
RENEW_AFTER = 1000  # inputs
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mm-relay.1\r\n\r\n"
)


class _Nowhere:
    """A connection to another relay that never comes up."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.full = False

    def start(self) -> None: ...

    async def connected(self, timeout: float) -> None:
        raise Unreachable("nowhere")

    def tell(self, item: Item) -> bool:
        return False

    async def close(self) -> None: ...


class _Socket:
    """The WebSocket of a door."""

    ip = remote = "192.0.2.9"

    def __init__(self) -> None:
        self.sent: list[Item] = []
        self.over = False

    def send(self, message: bytes) -> None:
        self.sent += decode_items(message)

    def send_all(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.send(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.over = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Relay:
    """The whole relay but its listener."""

    def __init__(self) -> None:
        self.turning = Loop()
        vars(relay_core)["dialler"] = lambda *_, **__: _Nowhere  # nobody is dialled
        self.turning.run(self._start())

    async def _start(self) -> None:
        config, metrics = Config(store="memory"), Metrics()
        self.core = relay_core.RelayCore(
            config, RELAY_ID, ADDRESS, Path("/nonexistent"), metrics, time.time, lambda text: None
        )
        await self.core.__aenter__()
        self.host = Connections(
            RELAY_ID, "relay", config.limits(), self.core, kinds=[NativeDoor], access=Access(),
            connection_limits=ConnectionLimits(), metrics=metrics, now=time.time, random=secrets.token_bytes,
        )  # fmt: skip

    async def enter(self, who: Identity, role: int = PEER, address: str = "") -> NativeDoor:
        """Sign in."""
        socket = _Socket()
        door = NativeDoor(socket, self.host, UpgradeRequest("/", "", {}, ("mm-relay.1",), socket.ip))  # type: ignore[arg-type]
        [challenge] = socket.sent
        assert isinstance(challenge, Challenge)
        answer = signin.answer(who, challenge, RELAY_ID.sign_key, secrets.token_bytes(32), role, address)
        door.message_received(encode_items([answer]))
        return door

    async def close(self) -> None:
        await self.core.__aexit__(None, None, None)


def sayings() -> list[bytes]:
    """Each message of the vectors, said by each of the three."""
    said = []
    for case in vectors("relay", "messages"):
        with suppress(MMError):
            said.append(codec.decode(bytes.fromhex(case["hex"])))
    keys = [who.sign_key for who in (ALICE, BOB, OTHER)]
    forwarded = [18, bytes(range(32)), keys[0], [4, keys[0], 1, b"z", ""]]
    live = [[[4, keys[1], 7, b"x", ""]], [[5, keys[0], 7, b"y"]], [forwarded]]
    letters = [[[10, keys[1], bytes(16), 2**45, b"e" * 50, ""]], [[17, [1, 2], False]], [[15, 1]]]
    return [codec.encode([[who, message]]) for who in (0, 1, 2) for message in said[:40]] + [
        codec.encode([[0, live[0]], [1, live[1]], [2, live[2]], [0, letters[0]], [1, letters[1]], [0, letters[2]]])
    ]


@target(sayings)
def relay_behind_its_door() -> Run:
    """Messages of two peers and of another relay, all signed in."""
    relay = _Relay()
    left = RENEW_AFTER

    def run(data: bytes) -> None:
        nonlocal relay, left
        left -= 1
        if not left:
            relay.turning.run(relay.close())
            relay, left = _Relay(), RENEW_AFTER
        try:
            said = codec.decode(data)
        except MMError:
            return
        relay.turning.run(_said(relay, said if isinstance(said, list) else []))
        relay.turning.turn()

    return run


async def _said(relay: _Relay, said: list[Any]) -> None:
    theirs = format_relay("wss://other.example/", OTHER.sign_id)
    doors = [await relay.enter(ALICE), await relay.enter(BOB), await relay.enter(OTHER, RELAY, theirs)]
    for one in said:
        if isinstance(one, list) and len(one) == 2 and isinstance(one[0], int):
            doors[one[0] % 3].message_received(codec.encode(one[1]))
    for door in doors:
        door.connection_lost("over")


@target(hexes("relay", "hex", "messages", "invalidMessages"))
def sign_in() -> Run:
    """The first message at a relay."""
    relay = _Relay()

    def run(data: bytes) -> None:
        socket = _Socket()

        async def come() -> None:
            door = NativeDoor(socket, relay.host, UpgradeRequest("/", "", {}, (), socket.ip))  # type: ignore[arg-type]
            door.message_received(data)
            door.connection_lost("over")

        relay.turning.run(come())
        relay.turning.turn()

    return run


class _Transport:
    """What is under a WebSocket."""

    def __init__(self) -> None:
        self.closing = False

    def write(self, data: bytes) -> None: ...
    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.9", 4000) if name == "peername" else None

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    close = abort


class _Turns(LoopTurns):
    """Turns that have no time now and then."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._calls = calls

    def has_time(self) -> bool:
        self._calls += 1
        return super().has_time() and self._calls % 4 > 0


FRAMES = (b"\x82\x81\0\0\0\0\x90", b"\x89\x80\0\0\0\0\x02\x80\0\0\0\0\x80\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8")


@target(lambda: [UPGRADE, *FRAMES, *(UPGRADE + frame for frame in FRAMES)])
def websocket_bytes() -> Run:
    """Bytes at the listener of a relay: requests, and frames behind a good one."""
    relay = _Relay()

    def run(data: bytes) -> None:
        async def come() -> None:
            entrance = _Entrance(
                relay.host.answer, lambda path: None, (), 100_000, 12.0, 10.0, Arrivals(LIMITS.upgrading),
                HalfSent(LIMITS.half_sent, LIMITS.half_sent_address), _Turns(len(data)),
            )  # fmt: skip
            served, transport = _Served(entrance), _Transport()
            served.connection_made(transport)  # type: ignore[arg-type]  # as much of a transport as is used
            cut = len(data) // 2
            for part in (data,) if data.startswith(b"GET") else (UPGRADE, data[:cut], data[cut:]):
                if part and not transport.closing:
                    served.data_received(part)
            if len(data) % 3 == 0 and not transport.closing:
                served.eof_received()
            relay.turning.loop.call_soon(relay.turning.loop.call_soon, served.connection_lost, None)

        relay.turning.run(come())
        relay.turning.turn()

    return run
