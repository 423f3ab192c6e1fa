"""A program in another language, as far as the HTTP door can tell: raw HTTP over a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Told(NamedTuple):
    """The answer: its status and its JSON."""

    status: int
    value: dict[str, Any]


class Caller:
    """Asks at ``url`` with a token; "" shows none."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self.place = parts.hostname, parts.port
        self.token = token

    def head(self, method: str, target: str, *headers: str) -> bytes:
        """Return the head of a request."""
        shown = [f"Authorization: Bearer {self.token}"] if self.token else []
        return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *shown, *headers, "", ""]).encode()

    async def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back until the connection ends."""
        reader, writer = await asyncio.open_connection(*self.place)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def ask(self, method: str, target: str, body: Any = None, *headers: str) -> Told:
        """Ask once, over a connection of its own; ``body`` is bytes, or what JSON is made of."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        length = f"Content-Length: {len(data)}"
        said = await self.raw(self.head(method, target, length, "Connection: close", *headers) + data)
        top, _, rest = said.partition(b"\r\n\r\n")
        return Told(int(top.split()[1]), json.loads(rest))

    @asynccontextmanager
    async def events(self, query: str) -> AsyncIterator["Events"]:
        """Listen; the first event says so."""
        reader, writer = await asyncio.open_connection(*self.place)
        try:
            writer.write(self.head("GET", f"/on?{query}"))
            await reader.readuntil(b"\r\n\r\n")
            events = Events(reader, writer)
            first = await events.next()
            assert first["event"] == "subscribed"
            yield events
        finally:
            writer.close()


class Events:
    """Server-sent events, as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def next(self) -> dict[str, Any]:
        """Return the next event: its name, its id, and its data. Raises EOFError when there is none any more."""
        found: dict[str, Any] = {}
        while True:
            size = int((await self.reader.readuntil(b"\r\n")), 16)
            chunk = (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                raise EOFError
            if chunk.startswith(b":"):
                continue
            for line in chunk.decode().strip().split("\n"):
                name, _, value = line.partition(": ")
                found[name] = json.loads(value) if name == "data" else value
            return found
