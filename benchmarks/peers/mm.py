"""This platform, through its public API alone: two friends on loopback.

One way is ``realtime``; durable is the default send: stored here, delivered, handled and acknowledged there.
"""

from benchmarks.contract import Client, Info, Job, Peer, Sink, pipelined
from mmplatform import Delivery, Platform
from mmplatform.identity.keys import Identity

TOPIC, ECHO = "bench", "echo"
SENDER = Identity.from_seed(b"the sender of every measurement.")  # whom the receiver knows before it comes
SENDERS = 1024


class MM(Peer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._platform: Platform | None = None

    async def serve(self, sink: Sink) -> Info:
        platform = self._platform = await self._start("receiver", f"tcp://127.0.0.1:{self.job.port}")
        count = sink if self.job.workload.to_receiver else _ignore
        await platform.add(SENDER.sign_id, circle="friends")
        platform.messaging.on(f"friends.{TOPIC}", lambda topic, sender, payload: count(payload))
        platform.messaging.on(f"friends.{ECHO}", lambda topic, sender, payload: payload)
        return {"ticket": platform.ticket()}

    async def connect(self, info: Info) -> Client:
        if self._platform is None:
            self._platform = await self._start("sender", "tcp://127.0.0.1:0", SENDER)
            self._peer = await self._platform.add(info["ticket"])
        await self._platform.connect(self._peer)
        return MMClient(self._platform, self._peer)

    async def _start(self, role: str, address: str, identity: Identity | None = None) -> Platform:
        platform = Platform(str(self.job.folder / role), identity=identity, connection_info=(address,))
        await platform.start()
        return platform


class MMClient(Client):
    def __init__(self, platform: Platform, peer: str) -> None:
        self._platform, self._peer = platform, peer

    async def push(self, count: int, payload: bytes) -> None:
        send, peer = self._platform.messaging.send, self._peer
        for _ in range(count):
            await send(TOPIC, peer, payload, realtime=True)

    async def request(self, payload: bytes) -> bytes:
        reply = await self._platform.messaging.request(ECHO, self._peer, payload)
        assert isinstance(reply, bytes)
        return reply

    async def deliver(self, payload: bytes) -> None:
        await (await self._platform.messaging.send(TOPIC, self._peer, payload))

    async def deliver_all(self, count: int, payload: bytes) -> None:
        for delivery in await self.accepted(count, payload):
            await delivery

    async def accepted(self, count: int, payload: bytes) -> list[Delivery]:
        """As many senders as JetStream has; each goes on as soon as its message is durably accepted."""
        deliveries: list[Delivery] = []

        async def send() -> None:
            deliveries.append(await self._platform.messaging.send(TOPIC, self._peer, payload))

        await pipelined(send, count, SENDERS)
        return deliveries

    async def close(self) -> None:
        await self._platform.disconnect(self._peer)


def _ignore(payload: object) -> None:
    pass
