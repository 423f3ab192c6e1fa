"""A gateway of RMB on a Redis, and what programs in any language do with its queues."""

import base64
import json
from functools import partial
from typing import Any

from redis.asyncio import Redis

from mm_services.rmb.gateway.gateway import RmbGateway
from mm_services.rmb.gateway.redis_queues import RedisQueues
from mm_transports.rmb.client.endpoint import TwinEndpoint
from mm_transports.rmb.twins.file_registry import FileRegistry
from tests.support.redis_server import RedisServer
from tests.support.rmb_world import KEYS, RmbRelay

PATIENCE = 20


class Programs:
    """The gateway of one twin, and what programs do with its Redis."""

    def __init__(self, relay: RmbRelay, redis: RedisServer, number: int, database: int) -> None:
        self.relay, self.number, self.notes = relay, number, list[str]()
        self.url = f"{redis.url}?db={database}"
        self.redis: Any = Redis.from_url(self.url, socket_timeout=None)
        self.registry = FileRegistry(relay.twins, self.notes.append)
        self.gateway: RmbGateway | None = None

    async def start(self) -> None:
        made = partial(
            TwinEndpoint, KEYS[self.number], self.number, registry=self.registry, relays=[f"ws://{self.relay.host}/"],
            now=self.relay.clock,
        )  # fmt: skip
        await self.registry.open()
        self.gateway = RmbGateway(
            RedisQueues(self.url, self.number), lambda receive, told: made(receive=receive, told=told), "1.2.3",
            self.notes.append,
        )  # fmt: skip
        await self.gateway.open()

    async def stop(self) -> None:
        if self.gateway is not None:
            await self.gateway.close()
            await self.registry.close()
        self.gateway = None

    async def ask(self, command: str, payload: bytes, *twins: int, **fields: Any) -> None:
        made = {
            "ver": 1, "cmd": command, "exp": 300, "dat": base64.b64encode(payload).decode(), "dst": list(twins),
            "ret": "replies", "now": int(self.relay.clock()),
        }  # fmt: skip
        await self.redis.lpush("msgbus.system.local", json.dumps(made | fields))

    async def reply(self, queue: str = "replies") -> dict[str, Any]:
        found = await self.redis.brpop(queue, PATIENCE)
        assert found is not None
        said: dict[str, Any] = json.loads(found[1])
        return said

    async def serve(self, command: str, count: int) -> None:
        """Answer so many requests by what they have, doubled."""
        for _ in range(count):
            asked = await self.reply(f"msgbus.{command}")
            answer = {"ref": asked["ref"], "dst": asked["src"], "dat": asked["dat"], "shm": "x", "now": 0}
            await self.redis.lpush(asked["ret"], json.dumps(answer))
