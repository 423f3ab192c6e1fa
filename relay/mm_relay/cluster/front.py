"""Asks the public URL of a relay whether a process of it serves clients: what they would meet who are sent away."""

import asyncio
import ssl
from contextlib import suppress
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from mmplatform import host_names

ASK_WITHIN: Final = 1.0  # seconds
MOST: Final = 4096  # bytes of an answer that are read
READY: Final = b'"ready"'  # what a process that serves says; nothing behind it is waited for
PORTS: Final = {"ws": 80, "wss": 443}


class Front(Enum):
    """Who answers at the public URL, while this process itself says there that it cannot serve."""

    SERVES = "another process is ready"
    REFUSES = "nobody there is ready"
    SILENT = "nothing is heard from there"


async def ask_front(url: str) -> Front:
    """Ask ``url`` for ``healthz``. A balancer that has nobody left refuses, or hangs up."""
    try:
        async with asyncio.timeout(ASK_WITHIN):
            head, _, body = (await _page(url)).partition(b"\r\n\r\n")
    except ConnectionError:
        return Front.REFUSES
    except (OSError, TimeoutError):
        return Front.SILENT
    status = head.split(maxsplit=2)[1:2]
    return Front.SERVES if status == [b"200"] and READY in body else Front.REFUSES


async def _page(url: str) -> bytes:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    [address, *_] = await host_names.look_up(host, port)
    name = host if parts.scheme == "wss" else None
    reader, writer = await asyncio.open_connection(
        address, port, ssl=_anybody() if name else None, server_hostname=name
    )
    try:
        request = f"GET {parts.path}healthz HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = b""
        while len(answer) < MOST and READY not in answer and (more := await reader.read(MOST)):
            answer += more
        return answer
    finally:
        with suppress(OSError):
            writer.transport.abort()


def _anybody() -> ssl.SSLContext:
    """Trust whoever answers: a lie only has clients dial again where they dial anyhow; they know the relay's key."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
