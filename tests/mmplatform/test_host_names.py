"""Looking up names while the servers of others are dead."""

import asyncio
import socket
import threading

import pytest

from mmplatform import host_names
from mmplatform.host_names import look_up
from tests.support.resolver import Resolver

PORT = 443
Dead = list[asyncio.Task[list[str]]]


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
    monkeypatch.setattr(host_names, "MOST", 3)
    await look_up("localhost", PORT)
    dead = await ask(3)
    with pytest.raises(OSError, match="other names are"):
        await look_up("dead-too.example", PORT)
    assert "127.0.0.1" in await look_up("localhost", PORT)
    resolver.gave_up.set()
    await asyncio.gather(*dead, return_exceptions=True)


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
    monkeypatch.setattr(host_names, "REMEMBERED", 2)
    for port in (1, 2, 1, 3):
        await look_up("localhost", port)
    assert list(host_names._answered) == [("localhost", 1), ("localhost", 3)]
