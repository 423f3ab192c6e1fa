"""Connects to host names, at those of their addresses to which whoever named them may make us go."""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import TypeVar

from mmplatform import host_names
from mmplatform.addresses import ANYWHERE, REFUSED, Reach

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def connect(
    protocol: Callable[[], P], host: str, port: int, ssl: SSLContext | None = None, reach: Reach = ANYWHERE
) -> P:
    """Connect to the first address of ``host`` that works, of those that ``reach`` admits. Raises OSError.

    What is not admitted is refused in the same words before anything is sent, whether somebody listens there or not.
    """
    left = await admitted(host, port, reach, tls=ssl is not None)
    name, loop = host if ssl is not None else None, asyncio.get_running_loop()
    while True:
        try:
            _, made = await loop.create_connection(protocol, left.pop(0), port, ssl=ssl, server_hostname=name)
        except OSError:
            if not left:
                raise
        else:
            return made


async def admitted(host: str, port: int, reach: Reach, tls: bool) -> list[str]:
    """Return the addresses of ``host`` that ``reach`` admits, at least one. Raises OSError."""
    if not reach.names(host):
        raise PermissionError(REFUSED)
    named = await host_names.look_up(host, port, stranger=not reach.anywhere)
    found = [address for address in named if reach.admits(address, port, tls)]
    if not found:
        raise PermissionError(REFUSED)
    return found
