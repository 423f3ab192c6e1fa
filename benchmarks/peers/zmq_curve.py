"""pyzmq with CURVE and plain blocking sockets: PUSH/PULL one way, DEALER/ROUTER for requests. No acknowledgements."""

import itertools
import threading

import zmq

from benchmarks.contract import Client, Info, Job, Peer, Sink
from benchmarks.peers import curve


class ZmqCurve(Peer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._context = zmq.Context()
        self._keys = zmq.curve_keypair()

    async def serve(self, sink: Sink) -> Info:
        one_way = self.job.workload.to_receiver
        socket = self._context.socket(zmq.PULL if one_way else zmq.ROUTER)
        info = curve.serve(socket, self.job.port)
        work = (lambda: pull(socket, sink)) if one_way else (lambda: echo(socket))
        threading.Thread(target=work, daemon=True).start()
        return info

    async def connect(self, info: Info) -> Client:
        socket = self._context.socket(zmq.PUSH if self.job.workload.to_receiver else zmq.DEALER)
        curve.connect(socket, self.job.port, info, self._keys)
        return ZmqClient(socket)


def pull(socket: "zmq.Socket[bytes]", sink: Sink) -> None:
    while True:
        sink(socket.recv())


def echo(socket: "zmq.Socket[bytes]") -> None:
    while True:
        socket.send_multipart(socket.recv_multipart())


class ZmqClient(Client):
    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket
        self._numbers = itertools.count()

    async def push(self, count: int, payload: bytes) -> None:
        send = self._socket.send
        for _ in range(count):
            send(payload)

    async def request(self, payload: bytes) -> bytes:
        self._send(payload)
        return self._receive()

    async def requests(self, count: int, payload: bytes, outstanding: int) -> None:
        send, receive = self._send, self._receive
        ahead = min(outstanding, count)
        for _ in range(ahead):
            send(payload)
        for _ in range(count - ahead):
            receive()
            send(payload)
        for _ in range(ahead):
            receive()

    def _send(self, payload: bytes) -> None:
        self._socket.send_multipart([next(self._numbers).to_bytes(4, "big"), payload])

    def _receive(self) -> bytes:
        _, payload = self._socket.recv_multipart()
        return payload

    async def close(self) -> None:
        self._socket.close()
