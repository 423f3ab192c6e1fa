"""A resolver of names some of which are dead."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mmplatform import host_names


class Resolver:
    """The system's, but that names which begin with "dead" have servers that say nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gave_up = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **options: Any) -> Any:
        self.asked.append(host)
        if host.startswith("dead"):
            self.gave_up.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real(host, *args, **options)


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    monkeypatch.setattr(host_names, "_answered", {})
    async with asyncio.timeout(20):
        yield resolver
        resolver.gave_up.set()
        for thread in threading.enumerate():
            if thread.name.startswith("mm name"):
                thread.join()
