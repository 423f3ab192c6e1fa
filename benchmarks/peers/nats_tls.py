"""nats-server with TLS and nats-py: core NATS, at most once, without acknowledgements."""

import asyncio

import nats
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from benchmarks import tls
from benchmarks.contract import Client, Info, Job, Peer, Sink
from benchmarks.registry import find_program

SUBJECT = "bench"
UNLIMITED = 1 << 30
BREATH = 200
"""nats-py reads nothing while publish() never suspends: let the loop turn every so often."""


class NatsTls(Peer):
    def broker(self) -> list[str]:
        return command(self.job)

    async def serve(self, sink: Sink) -> Info:
        connection = await dial(self.job)

        async def count(message: Msg) -> None:
            sink(message.data)

        async def echo(message: Msg) -> None:
            await connection.publish(message.reply, message.data)

        handler = count if self.job.workload.to_receiver else echo
        await connection.subscribe(SUBJECT, cb=handler, pending_msgs_limit=UNLIMITED, pending_bytes_limit=UNLIMITED)
        await connection.flush()
        return {}

    async def connect(self, info: Info) -> Client:
        return NatsClient(await dial(self.job))


def command(job: Job, store: str = "") -> list[str]:
    """The broker's command line; ``store`` is a block of its configuration."""
    configuration = job.folder / "nats.conf"
    configuration.write_text(f"""
listen: "127.0.0.1:{job.port}"
max_pending: 1GB
tls {{ cert_file: "{job.tls / tls.CERTIFICATE}", key_file: "{job.tls / tls.KEY}" }}
{store}
""")
    return [find_program("nats-server"), "-c", str(configuration)]


async def dial(job: Job) -> Connection:
    return await nats.connect(
        f"tls://localhost:{job.port}", tls=tls.client_context(job.tls), pending_size=UNLIMITED, allow_reconnect=False
    )


class NatsClient(Client):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def push(self, count: int, payload: bytes) -> None:
        publish = self._connection.publish
        for number in range(count):
            await publish(SUBJECT, payload)
            if number % BREATH == 0:
                await asyncio.sleep(0)
        await self._connection.flush(60)

    async def request(self, payload: bytes) -> bytes:
        return (await self._connection.request(SUBJECT, payload, timeout=10)).data

    async def close(self) -> None:
        await self._connection.close()
