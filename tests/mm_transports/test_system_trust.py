"""The certificates of the system, which every kind of dialler trusts."""

import threading
from collections.abc import Iterator
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import pytest

from mm_transports import system_trust as module
from mm_transports.system_trust import system_trust


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Those in which they are read."""
    found: list[int] = []

    def read() -> SSLContext:
        found.append(threading.get_ident())
        return SSLContext(PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(module, "create_default_context", read)
    module._read.cache_clear()
    yield found
    module._read.cache_clear()


async def test_they_are_read_once_and_beside_the_loop(threads: list[int]) -> None:
    """The first post to a relay with TLS, or link to one, kept everybody waiting for a tenth of a second."""
    assert await system_trust() is await system_trust()
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
