"""``unix:///path``: frames between processes of one machine over Unix sockets, four bytes of length before each."""

import asyncio
import socket
from pathlib import Path
from typing import ClassVar

from mmplatform.errors import LocalError, Unreachable
from mmplatform.plugins.transport import LENGTH_LIMIT, Connection, Transport


class Unix(Transport):
    schemes: ClassVar = ("unix",)
    cost: ClassVar = 5  # below TCP: no network is in the way

    def __init__(self):
        self._servers = {}

    async def dial(self, address, peer, accept):
        loop = asyncio.get_running_loop()
        try:
            return (await loop.create_unix_connection(lambda: UnixConnection(accept), path_of(address)))[1]
        except OSError as error:
            raise Unreachable(f"{address}: {error.strerror or error}") from None

    async def listen(self, hint, accept):
        path, loop = path_of(hint), asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:  # asyncio would take the place of that listener
                raise LocalError(f"somebody listens at {hint} already")
        try:
            self._servers[path] = await loop.create_unix_server(lambda: UnixConnection(accept), path)
        except OSError as error:
            raise LocalError(f"cannot listen on {hint}: {error.strerror or error}") from None
        return [hint]

    async def close(self):
        while self._servers:
            path, server = self._servers.popitem()
            server.close()
            Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - a directory entry, in memory


class UnixConnection(asyncio.Protocol, Connection):
    max_frame, cost, address = LENGTH_LIMIT, Unix.cost, "unix://"

    def __init__(self, accept):
        self._accept, self._buffer = accept, bytearray()

    def write(self, frame):
        if not self._transport.is_closing():
            self._transport.write(len(frame).to_bytes(4) + frame)

    def close(self):
        self._transport.close()

    def abort(self):
        self._transport.abort()

    def connection_made(self, transport):
        self._transport = transport
        self._receiver = self._accept(self)
        self.pause_writing, self.resume_writing = self._receiver.pause_writing, self._receiver.resume_writing

    def data_received(self, data):
        self._buffer += data
        while len(self._buffer) >= 4 and not self._transport.is_closing():
            end = 4 + int.from_bytes(self._buffer[:4])
            if end > 4 + LENGTH_LIMIT:
                self.abort()
            elif len(self._buffer) < end:
                break
            else:
                frame = bytes(self._buffer[4:end])
                del self._buffer[:end]
                self._receiver.frame_received(memoryview(frame))

    def connection_lost(self, error):
        self._receiver.connection_lost(error)


def path_of(address):
    if not address.startswith("unix:///"):
        raise ValueError(f"{address!r} is not unix:///path")
    return address.removeprefix("unix://")
