"""mosquitto over TLS, QoS 1: every message acknowledged by the broker, and by the receiver to it."""

import asyncio

import aiomqtt

from benchmarks import tls
from benchmarks.contract import Client, Info, Job, Peer, Sink, pipelined
from benchmarks.registry import find_program

TOPIC = "bench"
PUBLISHERS = 1024
QOS = 1


class MosquittoTls(Peer):
    def broker(self) -> list[str]:
        configuration = self.job.folder / "mosquitto.conf"
        configuration.write_text(f"""
listener {self.job.port} 127.0.0.1
certfile {self.job.tls / tls.CERTIFICATE}
keyfile {self.job.tls / tls.KEY}
allow_anonymous true
user root
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
""")
        return [find_program("mosquitto"), "-c", str(configuration)]

    async def serve(self, sink: Sink) -> Info:
        self._connection = connection(self.job)
        await self._connection.__aenter__()
        await self._connection.subscribe(TOPIC, qos=QOS)
        self._work = asyncio.create_task(self._count(sink))
        return {}

    async def connect(self, info: Info) -> Client:
        client = connection(self.job)
        await client.__aenter__()
        return MosquittoClient(client)

    async def _count(self, sink: Sink) -> None:
        async for message in self._connection.messages:
            sink(message.payload)


def connection(job: Job) -> aiomqtt.Client:
    return aiomqtt.Client(
        "localhost", job.port, tls_context=tls.client_context(job.tls), max_inflight_messages=PUBLISHERS,
        max_concurrent_outgoing_calls=PUBLISHERS,
    )  # fmt: skip


class MosquittoClient(Client):
    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def push(self, count: int, payload: bytes) -> None:
        await pipelined(lambda: self._client.publish(TOPIC, payload, qos=QOS), count, PUBLISHERS)

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)
