"""Small proxies that really pass bytes on: HTTP CONNECT, and SOCKS5 with or without a password."""

import asyncio
import base64
import ipaddress
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Self


class _Passing:
    """Listens on loopback. ``asked``: the hosts and ports that were asked for; ``names``: what it resolves itself."""

    scheme = ""

    def __init__(
        self,
        user: str = "",
        password: str = "",
        names: dict[str, str] | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        self.user, self.password, self.names, self._ssl = user, password, names or {}, ssl
        self.asked: list[tuple[str, int]] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        login = f"{self.user}:{self.password}@" if self.user else ""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio reports a callback that is cancelled
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, granted: bytes
    ) -> None:
        self.asked.append((host, port))
        beyond = await asyncio.open_connection(self.names.get(host, host), port)
        writer.write(granted)
        try:
            await asyncio.gather(_pump(reader, beyond[1]), _pump(beyond[0], writer))
        finally:
            beyond[1].transport.abort()


class HTTPProxy(_Passing):
    """Answers CONNECT; ``said`` has its requests."""

    scheme = "http"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.said: list[str] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.said.append(head)
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and f"Proxy-Authorization: Basic {wanted}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Log in\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
            return
        host, _, port = head.split()[1].rpartition(":")
        granted = b"HTTP/1.1 200 Connection established\r\n\r\n"
        await self._pass(reader, writer, host.strip("[]"), int(port), granted)


class SOCKSProxy(_Passing):
    """SOCKS5, RFC 1928 and 1929."""

    scheme = "socks5"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        wanted = 2 if self.user else 0
        writer.write(bytes([5, wanted if wanted in offered else 255]))
        if wanted not in offered:
            await reader.read()
            return
        if wanted:
            user = (await reader.readexactly((await reader.readexactly(2))[1])).decode()
            password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            good = (user, password) == (self.user, self.password)
            writer.write(bytes([1, not good]))
            if not good:
                await reader.read()
                return
        kind = (await reader.readexactly(4))[3]
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(size)
        host = raw.decode() if kind == 3 else str(ipaddress.ip_address(raw))
        port = int.from_bytes(await reader.readexactly(2))
        await self._pass(reader, writer, host, port, bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))


class LyingProxy(_Passing):
    """Says what it is told to, at once and then no more; it reads nothing and passes nothing on."""

    scheme = "http"

    def __init__(self, words: bytes | Callable[[], bytes], stays: bool = True) -> None:
        super().__init__()
        self._words, self._stays = words, stays

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if callable(self._words):
            while True:
                writer.write(self._words())
                await writer.drain()
        writer.write(self._words)
        if self._stays:
            while await reader.read(65536):
                pass


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
