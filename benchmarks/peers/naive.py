"""What one would write first: asyncio streams, MessagePack, one PyNaCl Box a message, a drain a message.

The session is one exchange of fresh X25519 keys, which authenticates nobody.
"""

import asyncio
import itertools
from asyncio import StreamReader, StreamWriter

import msgpack  # type: ignore[import-untyped]
from nacl.public import Box, PrivateKey, PublicKey

from benchmarks.contract import Client, Info, Peer, Sink

BUFFER = 1 << 20


class Naive(Peer):
    async def serve(self, sink: Sink) -> Info:
        async def accept(reader: StreamReader, writer: StreamWriter) -> None:
            try:
                wire = await Wire.open(reader, writer)
                while True:
                    number, payload = await wire.read()
                    if self.job.workload.to_receiver:
                        sink(payload)
                    else:
                        await wire.write(number, payload)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        self._server = await asyncio.start_server(accept, "127.0.0.1", self.job.port, limit=BUFFER)
        return {}

    async def connect(self, info: Info) -> Client:
        return NaiveClient(
            await Wire.open(*await asyncio.open_connection("127.0.0.1", self.job.port, limit=BUFFER)),
        )


class Wire:
    """Length, then a box of [number, payload]."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, box: Box) -> None:
        self._reader, self._writer, self._box = reader, writer, box

    @classmethod
    async def open(cls, reader: StreamReader, writer: StreamWriter) -> "Wire":
        secret = PrivateKey.generate()
        writer.write(bytes(secret.public_key))
        return cls(reader, writer, Box(secret, PublicKey(await reader.readexactly(PublicKey.SIZE))))

    async def write(self, number: int, payload: bytes) -> None:
        frame = self._box.encrypt(msgpack.packb((number, payload)))
        self._writer.write(len(frame).to_bytes(4, "big") + frame)
        await self._writer.drain()

    async def read(self) -> tuple[int, bytes]:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        number, payload = msgpack.unpackb(self._box.decrypt(await self._reader.readexactly(size)))
        return number, payload

    def close(self) -> None:
        self._writer.close()


class NaiveClient(Client):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._replies: asyncio.Task[None] | None = None

    async def push(self, count: int, payload: bytes) -> None:
        for number in range(count):
            await self._wire.write(number, payload)

    async def request(self, payload: bytes) -> bytes:
        if self._replies is None:
            self._replies = asyncio.create_task(self._read_replies())
        number = next(self._numbers)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        await self._wire.write(number, payload)
        return await reply

    async def _read_replies(self) -> None:
        while True:
            number, payload = await self._wire.read()
            self._waiting.pop(number).set_result(payload)

    async def close(self) -> None:
        if self._replies is not None:
            self._replies.cancel()
        self._wire.close()
