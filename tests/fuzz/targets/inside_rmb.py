"""The door for clients of RMB with two twins signed in, what other relays post, and the face of a chain."""

import json
import secrets
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from mm_relay import core as relay_core
from mm_relay.access import Access
from mm_relay.config.settings import Config
from mm_relay.doors.connections import Connections
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.metrics import Metrics
from mm_relay.rmb.chain.face import ChainFace
from mm_relay.rmb.door import RmbDoor
from mm_relay.rmb.post_door import PostDoor
from mm_relay.rmb.under_way import Acknowledged
from mm_relay.rmb.world import RmbWorld
from mm_transports.rmb.protocol.tokens import RelayToken
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform import codec
from mmplatform.http1 import Broken, HttpServer, TooLong, told
from tests.fuzz.parsers import text, typed
from tests.fuzz.target import Run, hexes, target
from tests.fuzz.targets.inside_relay import ADDRESS, RELAY_ID, RENEW_AFTER
from tests.fuzz.world import Loop
from tests.support.rmb_world import KEYS

TWINS = {number: TwinInfo(number, keys.account, keys.pk) for number, keys in KEYS.items()}
NOW = 1_795_224_500  # when the envelopes of the vectors are good


class _Registry(TwinRegistry):
    name = "a registry"

    async def find(self, key: Key) -> TwinInfo | None:
        return TWINS.get(key) if isinstance(key, int) else None


class _Socket:
    """A WebSocket that takes everything."""

    ip = remote = "192.0.2.9"

    def __init__(self) -> None:
        self.over = False

    def send_all(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            assert isinstance(message, bytes)

    def ping(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def close(self, code: int = 1000, reason: str = "", *, hears: bool = False) -> None:
        self.over = True


class _Relay:
    """The whole relay but its listener, and nowhere to post to."""

    def __init__(self) -> None:
        self.turning = Loop()
        self.turning.run(self._start())

    async def _start(self) -> None:
        config, metrics = Config(store="memory"), Metrics()
        self.core = relay_core.RelayCore(
            config, RELAY_ID, ADDRESS, Path("/nonexistent"), metrics, self.now, lambda note: None
        )
        await self.core.__aenter__()
        self.world = RmbWorld(
            _Registry(), metrics=metrics, now=self.now, monotonic=time.monotonic, place=lambda ip: bytes(16)
        )
        await self.world.open(["relay.example"])
        self.host = Connections(
            RELAY_ID, "relay", config.limits(), self.core, kinds=[], access=Access(),
            connection_limits=ConnectionLimits(), metrics=metrics, now=self.now, random=secrets.token_bytes,
        )  # fmt: skip
        self.posts = PostDoor(self.world, self.core, self.host)

    @staticmethod
    def now() -> float:
        return NOW

    async def hear(self, said: list[Any]) -> list[RmbDoor]:
        """Sign two twins in and hear what they say."""
        doors = [self.enter(10, acknowledges=False), self.enter(30, acknowledges=True)]
        for each in said[:20]:
            if isinstance(each, list) and len(each) == 2 and each[0] in (0, 1) and isinstance(each[1], bytes):
                doors[each[0]].message_received(each[1])
        return doors

    async def leave(self, doors: list[RmbDoor]) -> None:
        for door in doors:
            door.connection_lost("over")

    def enter(self, number: int, *, acknowledges: bool) -> RmbDoor:
        token = RelayToken(number, "js-a" if number == 10 else None, NOW, NOW + 60, b"", b"", "", acknowledges)
        request = UpgradeRequest("/", "", {}, (), _Socket.ip)
        return RmbDoor(_Socket(), self.host, request, world=self.world, token=token, twin=TWINS[number])  # type: ignore[arg-type]

    async def close(self) -> None:
        await self.world.close()
        await self.core.__aexit__(None, None, None)


def sayings() -> list[bytes]:
    """The envelopes of the vectors, each said by one of two twins."""
    said = hexes("rmb", "hex", "envelopes", "invalidEnvelopes")()
    return [codec.encode([[who, one]]) for who in (0, 1) for one in said]


@target(sayings)
def rmb_behind_its_door() -> Run:
    """Messages of two twins, one of which acknowledges by itself."""
    relay, left = _Relay(), RENEW_AFTER

    def run(data: bytes) -> None:
        nonlocal relay, left
        try:
            said: Any = codec.decode(data)
        except Exception:  # the mutator's own
            return
        if not isinstance(said, list):
            return
        left -= 1
        if not left:
            relay.turning.run(relay.close())
            relay, left = _Relay(), RENEW_AFTER
        doors = relay.turning.run(relay.hear(said))
        relay.turning.turn()
        relay.turning.run(relay.leave(doors))
        relay.turning.turn()

    return run


@target(hexes("rmb", "hex", "envelopes", "invalidEnvelopes"))
def rmb_posted() -> Run:
    """The bodies that others post: each has an answer."""
    relay = _Relay()

    def run(data: bytes) -> None:
        answer = relay.turning.run(relay.posts.take(data, _Socket.ip))
        assert 200 <= answer.status < 600

    return run


@target(lambda: [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n"])
def http1() -> Run:
    """HTTP of others, in one piece."""

    def parse(data: bytes) -> None:
        server = HttpServer(1000)
        server.feed(data)
        while server.head() is not None and server.body() is not None:
            server.answered(told(200))

    return typed(parse, Broken, TooLong)


@target(lambda: [b"1", b"1-57 59", b"7-3", b"1-99999"])
def rmb_places() -> Run:
    """Places that a client says it has dealt with."""

    def parse(data: bytes) -> None:
        mail = Acknowledged()
        for number in range(100):
            mail.tell(number)
        assert len(mail.take(data)) <= 100

    return typed(parse)


@target(
    lambda: [
        json.dumps({"id": 1, "method": method, "params": [["0x00"]]}).encode()
        for method in ("state_getStorage", "state_queryStorageAt", "state_subscribeStorage", "rpc_methods")
    ]
)
def rmb_chain() -> Run:
    """Calls of the face of a chain: each has an answer, which is JSON."""
    loop = Loop()
    find = partial(_find, _Registry())

    def run(data: bytes) -> None:
        said = loop.run(ChainFace(find).answer(text(data)))
        assert all(json.loads(one)["jsonrpc"] == "2.0" for one in said)

    return run


async def _find(registry: TwinRegistry, key: Key) -> TwinInfo | None:
    return await registry.find(key)
