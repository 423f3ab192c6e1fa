"""This platform through its own relay (``mm relay``) over TLS: two friends that listen nowhere.

Stored mail (R5): the receiver has told its relay where it is at home and left; a message counts once the relay has it
on its disk.
"""

import asyncio
from pathlib import Path

from benchmarks import tls
from benchmarks.contract import Client, Info, Job, Sink
from benchmarks.peers.mm import MM, SENDER, MMClient
from benchmarks.registry import find_program
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.identity.keys import Identity

LOOK_AGAIN = 0.002  # seconds


class MMRelay(MM):
    def broker(self) -> list[str]:
        relay_key(self.job)  # the relay takes up the key that its clients are told to expect
        return [
            find_program("mm"), "relay", "--data", str(folder(self.job)), "--listen", f"127.0.0.1:{self.job.port}",
            "--tls-certificate", str(self.job.tls / tls.CERTIFICATE), "--tls-key", str(self.job.tls / tls.KEY),
        ]  # fmt: skip

    async def serve(self, sink: Sink) -> Info:
        info = await super().serve(sink)
        if self._stored:
            assert self._platform is not None
            await self._platform.stop()
        return info

    async def connect(self, info: Info) -> Client:
        if not self._stored:
            return await super().connect(info)
        self._platform = await self._start("sender", "", SENDER)
        return StoredClient(self._platform, await self._platform.add(info["ticket"]))

    @property
    def _stored(self) -> bool:
        return self.job.workload.name == "R5"

    async def _start(self, role: str, address: str, identity: Identity | None = None) -> Platform:
        relay = format_relay(f"wss://localhost:{self.job.port}/", relay_key(self.job).sign_id)
        transport = Relay(ssl_context=tls.client_context(self.job.tls))
        platform = Platform(
            str(self.job.folder / role), identity=identity, connection_info=(), relays=[relay], transports=[transport]
        )
        await platform.start()
        return platform


class StoredClient(MMClient):
    async def deliver_all(self, count: int, payload: bytes) -> None:
        for delivery in await self.accepted(count, payload):
            while delivery.state != "relayed":  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(LOOK_AGAIN)

    async def close(self) -> None:
        """Nobody is connected."""


def folder(job: Job) -> Path:
    """Of the relay."""
    return job.folder / "relay"


def relay_key(job: Job) -> Identity:
    folder(job).mkdir(mode=0o700, exist_ok=True)
    return Identity.load_or_create(folder(job) / "identity")
