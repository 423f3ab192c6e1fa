"""Looking up names while the servers of others are dead."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_transports import resolving
from mm_transports.resolving import look_up

PORT = 443
Dead = list[asyncio.Task[list[str]]]


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
    monkeypatch.setattr(resolving, "_answered", {})
    async with asyncio.timeout(20):
        yield resolver
        resolver.gave_up.set()
        for thread in threading.enumerate():
            if thread.name.startswith("mm name"):
                thread.join()


async def ask(count: int) -> Dead:
    """So many dead names are being looked up."""
    dead = [asyncio.create_task(look_up(f"dead-{number}.example", PORT)) for number in range(count)]
    await asyncio.sleep(0)
    return dead


async def test_an_address_is_no_name(resolver: Resolver) -> None:
    assert await look_up("127.0.0.1", PORT) == ["127.0.0.1"]
    assert await look_up("::1", PORT) == ["::1"]
    assert resolver.asked == []


async def test_dead_names_hold_up_no_other(resolver: Resolver) -> None:
    """More of them than threads that the loop would give all look-ups together."""
    dead = await ask(40)
    assert "127.0.0.1" in await look_up("localhost", PORT)
    assert not any(task.done() for task in dead)
    resolver.gave_up.set()
    assert {type(error) for error in await asyncio.gather(*dead, return_exceptions=True)} == {socket.gaierror}


async def test_what_was_known_is_looked_up_beside_any_number_of_dead_names(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "MOST", 3)
    await look_up("localhost", PORT)
    await ask(3)
    with pytest.raises(OSError, match="other names are"):
        await look_up("dead-too.example", PORT)
    assert "127.0.0.1" in await look_up("localhost", PORT)


async def test_who_asks_again_waits_for_the_same_answer(resolver: Resolver) -> None:
    """Attempts that give up after ten seconds do not pile up behind a resolver that takes thirty."""
    for _ in range(3):
        [task] = await ask(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    [task] = await ask(1)
    assert resolver.asked == ["dead-0.example"]
    resolver.gave_up.set()
    with pytest.raises(socket.gaierror):
        await task


async def test_no_thread_is_left(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="start new thread"):
            await look_up("localhost", PORT)
    assert "127.0.0.1" in await look_up("localhost", PORT)


async def test_no_name_at_all() -> None:
    with pytest.raises(OSError, match="label"):
        await look_up("a" * 64 + ".example", PORT)


async def test_what_is_remembered_is_bounded(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "REMEMBERED", 2)
    for port in (1, 2, 1, 3):
        await look_up("localhost", port)
    assert list(resolving._answered) == [("localhost", 1), ("localhost", 3)]
