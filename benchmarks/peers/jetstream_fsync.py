"""NATS JetStream over TLS, a file store synced at every message, 1024 publishers, every message acknowledged."""

import asyncio

from nats.aio.client import Client as Connection
from nats.errors import TimeoutError as NothingYet
from nats.js import JetStreamContext

from benchmarks.contract import Client, Info, Peer, Sink, pipelined
from benchmarks.peers.nats_tls import SUBJECT, command, dial

STREAM, CONSUMER = "BENCH", "bench"
PUBLISHERS = 1024
FETCH = 500


class JetStreamFsync(Peer):
    def broker(self) -> list[str]:
        return command(self.job, f'jetstream {{ store_dir: "{self.job.folder / "store"}", sync_interval: always }}')

    async def serve(self, sink: Sink) -> Info:
        stream = (await dial(self.job)).jetstream()
        await stream.add_stream(name=STREAM, subjects=[SUBJECT], storage="file")
        subscription = await stream.pull_subscribe(SUBJECT, durable=CONSUMER, stream=STREAM)
        if self.job.workload.to_receiver:
            self._work = asyncio.create_task(consume(subscription, sink))
        return {}

    async def connect(self, info: Info) -> Client:
        return JetStreamClient(await dial(self.job))


async def consume(subscription: JetStreamContext.PullSubscription, sink: Sink) -> None:
    while True:
        try:
            messages = await subscription.fetch(FETCH, timeout=1)
        except NothingYet:
            continue
        for message in messages:
            await message.ack()
            sink(message.data)


class JetStreamClient(Client):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stream = connection.jetstream()

    async def deliver_all(self, count: int, payload: bytes) -> None:
        await pipelined(lambda: self._stream.publish(SUBJECT, payload), count, PUBLISHERS)

    async def close(self) -> None:
        await self._connection.close()
