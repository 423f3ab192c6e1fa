"""Answers ``GET /metrics`` over HTTP/1.1, one question a connection: all that Prometheus needs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from mmplatform.errors import LocalError
from mmplatform.prometheus import CONTENT_TYPE

LOOPBACK: Final = "127.0.0.1"
PATIENCE: Final = 5.0  # seconds in which a request must come and its answer be taken
LONGEST: Final = 8 * 1024  # bytes of a request
PLAIN: Final = "text/plain; charset=utf-8"


async def serve(where: str, render: Callable[[], bytes]) -> asyncio.Server:
    """Listen at ``where``, HOST:PORT, or a port on loopback; ``render`` makes a page. Raises LocalError, ValueError."""
    host, port = parse(where)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                question = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answered(question, render))
                await writer.drain()
        writer.close()

    try:
        return await asyncio.start_server(answer, host, port, limit=LONGEST)
    except OSError as error:
        raise LocalError(f"metrics cannot be served at {where}: {error.strerror or error}") from error


def parse(where: str) -> tuple[str, int]:
    """Parse HOST:PORT, or a port on loopback, into (host, port). Raises ValueError."""
    parts = urlsplit(f"//{where if ':' in where else f'{LOOPBACK}:{where}'}")
    if parts.port is None or parts.path or parts.query or "@" in where:
        raise ValueError(f"{where!r} is neither HOST:PORT nor a port")
    return parts.hostname or LOOPBACK, parts.port


def _answered(question: bytes, render: Callable[[], bytes]) -> bytes:
    method, _, rest = question.partition(b"\r\n")[0].partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", PLAIN, b"GET only\n")
    if path != b"/metrics":
        return _response("404 Not Found", PLAIN, b"see /metrics\n")
    body = render()
    return _response("200 OK", CONTENT_TYPE, body if method == b"GET" else b"", len(body))


def _response(status: str, kind: str, body: bytes, size: int = -1) -> bytes:
    length = len(body) if size < 0 else size
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
