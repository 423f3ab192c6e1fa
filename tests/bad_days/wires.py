"""A way over TCP on loopback that a day can cut, stop or slow down, and turn to another end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

QUEUED = 1024  # reads that wait for their time


class Way:
    """Leads to the port that ``to`` names at the moment of each connection; 0 refuses.

    ``cut`` refuses connections and resets those that there are; ``stalled`` keeps them and passes nothing on.
    """

    def __init__(self, to: Callable[[], int]) -> None:
        self._to = to
        self._going = asyncio.Event()
        self._going.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self.is_cut = False
        self.delay = 0.0  # seconds that everything takes each way
        self.port = 0

    async def open(self) -> "Way":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        self.is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def stall(self) -> None:
        self._going.clear()

    def heal(self) -> None:
        self.is_cut = False
        self._going.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = 0 if self.is_cut else self._to()
        try:
            if not port:
                raise OSError("cut")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, coming = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]](QUEUED)
        passing = asyncio.create_task(self._pass_on(coming, writer))
        try:
            while data := await reader.read(65536):
                await coming.put((loop.time() + self.delay, data))
            await coming.put((loop.time() + self.delay, b""))
            await passing
        except OSError:
            writer.transport.abort()
        finally:
            passing.cancel()

    async def _pass_on(self, coming: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                at, data = await coming.get()
                await asyncio.sleep(at - asyncio.get_running_loop().time())
                await self._going.wait()
                if not data:  # the end: what was said before it still arrives
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()
