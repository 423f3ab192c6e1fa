"""Redis streams synced at every write: XADD in pipelines of 100, XREADGROUP and XACK. Nothing is encrypted here."""

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis

from benchmarks.contract import Client, Info, Peer, Sink
from benchmarks.registry import find_program

STREAM, GROUP, CONSUMER, FIELD = "stream", "group", "consumer", b"payload"
PIPELINE = 100
READ = 500


class RedisFsync(Peer):
    def broker(self) -> list[str]:
        where = ["--port", str(self.job.port), "--bind", "127.0.0.1", "--dir", str(self.job.folder)]
        return [find_program("redis-server"), *where, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]

    async def serve(self, sink: Sink) -> Info:
        server = Redis(port=self.job.port)
        await server.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        if self.job.workload.to_receiver:
            self._work = asyncio.create_task(consume(server, sink))
        return {}

    async def connect(self, info: Info) -> Client:
        return RedisClient(Redis(port=self.job.port))


async def consume(server: Redis, sink: Sink) -> None:
    while True:
        for _, entries in await _read(server):
            await server.xack(STREAM, GROUP, *(identifier for identifier, _ in entries))
            for _, fields in entries:
                sink(fields[FIELD])


def _read(server: Redis) -> Awaitable[Any]:
    return cast(Awaitable[Any], server.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=READ, block=1000))


class RedisClient(Client):
    def __init__(self, server: Redis) -> None:
        self._server = server

    async def deliver_all(self, count: int, payload: bytes) -> None:
        for start in range(0, count, PIPELINE):
            pipeline = self._server.pipeline(transaction=False)
            for _ in range(min(PIPELINE, count - start)):
                pipeline.xadd(STREAM, {FIELD: payload})
            await pipeline.execute()

    async def close(self) -> None:
        await self._server.aclose()
