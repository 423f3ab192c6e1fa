"""pyzmq with CURVE and its asyncio sockets: PUSH/PULL one way, DEALER/ROUTER with numbered requests."""

import asyncio
import itertools

import zmq
import zmq.asyncio

from benchmarks.contract import Client, Info, Job, Peer, Sink
from benchmarks.peers import curve


class ZmqCurveAsyncio(Peer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._context = zmq.asyncio.Context()
        self._keys = zmq.curve_keypair()

    async def serve(self, sink: Sink) -> Info:
        one_way = self.job.workload.to_receiver
        socket = self._context.socket(zmq.PULL if one_way else zmq.ROUTER)
        info = curve.serve(socket, self.job.port)
        self._work = asyncio.create_task(pull(socket, sink) if one_way else echo(socket))
        return info

    async def connect(self, info: Info) -> Client:
        socket = self._context.socket(zmq.PUSH if self.job.workload.to_receiver else zmq.DEALER)
        curve.connect(socket, self.job.port, info, self._keys)
        return ZmqAsyncioClient(socket)


async def pull(socket: zmq.asyncio.Socket, sink: Sink) -> None:
    while True:
        sink(await socket.recv())


async def echo(socket: zmq.asyncio.Socket) -> None:
    while True:
        await socket.send_multipart(await socket.recv_multipart())


class ZmqAsyncioClient(Client):
    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._replies: asyncio.Task[None] | None = None

    async def push(self, count: int, payload: bytes) -> None:
        for _ in range(count):
            await self._socket.send(payload)

    async def request(self, payload: bytes) -> bytes:
        if self._replies is None:
            self._replies = asyncio.create_task(self._read_replies())
        number = next(self._numbers).to_bytes(4, "big")
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        await self._socket.send_multipart([number, payload])
        return await reply

    async def _read_replies(self) -> None:
        while True:
            number, payload = await self._socket.recv_multipart()
            self._waiting.pop(number).set_result(payload)

    async def close(self) -> None:
        if self._replies is not None:
            self._replies.cancel()
        self._socket.close()
