"""Two friends, each with an HTTP door."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from mmplatform.cli.http.door import HttpDoor
from mmplatform.cli.http.token import token_in
from mmplatform.cli.node.host import Host
from tests.support.cli import LOOPBACK
from tests.support.http_calls import Caller


class Doored(NamedTuple):
    """A node, its door, and a program that may use it."""

    host: Host
    door: HttpDoor
    caller: Caller


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Doored, Doored]]:
    """Alice and bob."""
    monkeypatch.setenv("MM_SERVICES", "none")
    async with AsyncExitStack() as stack:
        made = []
        for name in ("alice", "bob"):
            folder = tmp_path / name
            host = await stack.enter_async_context(Host(folder, listen=LOOPBACK, purpose="run"))
            door = await stack.enter_async_context(HttpDoor(host, folder, "127.0.0.1:0"))
            made.append(Doored(host, door, Caller(door.url, token_in(folder))))
        alice, bob = made
        await alice.host.call("add", ticket=bob.host.platform.ticket(), name="bob", circle="friends")
        await bob.host.call("add", ticket=alice.host.platform.ticket(), name="alice", circle="friends")
        yield alice, bob
