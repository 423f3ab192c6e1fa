"""Relay processes behind one address, to be SIGKILLed: one on a file, or three on one Redis."""

import random
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity
from tests.chaos.proxy import Proxy
from tests.support.redis_server import RedisServer

FLEET = 3


class Relays:
    """``address`` is where clients are told to go: a proxy that leads to one of those that are alive."""

    def __init__(self, folder: Path, store: str, chance: random.Random) -> None:
        self.kills = 0
        self._folder, self._random = folder / "relay", chance
        self._folder.mkdir(mode=0o700)
        self._key = self._folder / "identity"  # which they share
        self._identity = Identity.load_or_create(self._key)
        self._redis = RedisServer(appendfsync="everysec") if store == "redis" else None
        self._processes: list[RelayProcess] = []
        self.proxy = Proxy(self._any_port)

    @property
    def address(self) -> str:
        return format_relay(self._url, self._identity.sign_id)

    async def start(self) -> None:
        if self._redis is not None:
            await self._redis.start().started()
        await self.proxy.start()
        options = ["--identity", str(self._key), "--public-url", self._url]
        if self._redis is not None:
            options += ["--store", self._redis.url]
        for number in range(1 if self._redis is None else FLEET):
            self._processes.append(RelayProcess(self._folder / str(number), *options))
            await self._processes[-1].start()

    async def kill(self) -> None:
        """One of them, and start it again."""
        relay = self._random.choice(self._processes)
        await relay.kill()
        self.kills += 1
        await relay.start()

    async def close(self) -> None:
        await self.proxy.close()
        for relay in self._processes:
            await relay.kill()
        if self._redis is not None:
            self._redis.remove()

    @property
    def _url(self) -> str:
        return f"ws://127.0.0.1:{self.proxy.address.rpartition(':')[2]}/"

    def _any_port(self) -> int:
        return self._random.choice([relay for relay in self._processes if relay.running] or self._processes).port
