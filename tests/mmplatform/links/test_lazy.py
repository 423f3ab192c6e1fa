"""A transport is loaded when it is needed, not sooner, and behaves as itself then."""

import asyncio
import threading

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.testing import PEER, Scene
from mmplatform.errors import PluginError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links.lazy import Deferred
from mmplatform.plugins.transport import Accept, Transport


async def test_it_is_loaded_with_the_first_address() -> None:
    loaded: list[Transport] = []

    class Known(Memory):
        attached: object = None

        def attach(self, node: object) -> None:
            self.attached = node

        def troubles(self) -> dict[str, str]:
            return {"memory://bob": ""}

    def load() -> Transport:
        loaded.append(Known(Network()))
        return loaded[0]

    deferred = Deferred(("memory",), load, 0)
    deferred.attach("node")  # type: ignore[arg-type]
    assert (deferred.schemes, deferred.reachable(), deferred.troubles(), loaded) == (("memory",), None, {}, [])
    host = Scene(deferred, "memory://bob")
    await host.listen()
    near, far = await host.dial()
    near.connection.write(b"x")
    assert await far.frames.get() == b"x"
    assert len(loaded) == 1
    assert loaded[0].attached == "node"  # type: ignore[attr-defined]
    deferred.signalled(PEER, b"which memory does not listen to")
    assert deferred.reachable() is None
    assert deferred.troubles() == {"memory://bob": ""}
    with pytest.raises(Unreachable, match="nobody keeps mail"):
        await deferred.deposit("memory://bob", PEER, bytes(16), 0, b"")
    await deferred.close()
    near.connection.abort()
    await far.gone.wait()


async def test_what_cannot_be_loaded_is_a_reason() -> None:
    def load() -> Transport:
        raise PluginError("it is not installed; pip install it")

    deferred = Deferred(("relay+ws",), load, 40)
    with pytest.raises(Unreachable, match="pip install"):
        await deferred.dial("relay+ws://x/k", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]
    await deferred.close()
    with pytest.raises(Unreachable, match="stopping"):
        await deferred.deposit("relay+ws://x/k", PEER, bytes(16), 0, b"")


async def test_one_that_listens_for_signals_is_loaded_by_the_first() -> None:
    heard: list[bytes] = []
    came = asyncio.Event()

    class Listening(Memory):
        async def listen(self, hint: str, accept: Accept) -> list[str]:
            heard.append(hint.encode())
            return [hint]

        def signalled(self, peer: SignId, data: bytes) -> None:
            heard.append(data)
            came.set()

    deferred = Deferred(("memory",), lambda: Listening(Network()), 20, over_link=True)
    assert (deferred.cost, deferred.over_link) == (20, True)
    deferred.signalled(PEER, b"before we listen")
    assert await deferred.listen("memory:", lambda connection: None) == ["memory:"]  # type: ignore[arg-type,return-value]
    assert heard == []
    deferred.signalled(PEER, b"first")
    deferred.signalled(PEER, b"second")
    await came.wait()
    deferred.signalled(PEER, b"third")
    assert heard == [b"memory:", b"first", b"second", b"third"]
    assert await deferred.checks() == []
    assert deferred.near("memory:") is False
    await deferred.close()


async def test_one_that_is_soon_needed_is_loaded_meanwhile() -> None:
    loaded = asyncio.Event()
    loop = asyncio.get_running_loop()

    def load() -> Transport:
        loop.call_soon_threadsafe(loaded.set)
        return Memory(Network())

    deferred = Deferred(("memory",), load, 20, over_link=True)
    for _ in range(2):
        deferred.prepare()
    await loaded.wait()
    await deferred.close()
    deferred.prepare()
    assert not deferred.near("memory://bob")


async def test_one_that_cannot_be_loaded_says_so_once() -> None:
    failures: list[Exception] = []
    failed = asyncio.Event()

    class Node:
        def failed(self, error: Exception, topic: str = "") -> None:
            failures.append(error)
            failed.set()

    def load() -> Transport:
        raise PluginError("it is damaged")

    deferred = Deferred(("memory",), load, 20, over_link=True)
    deferred.attach(Node())  # type: ignore[arg-type]
    await deferred.listen("memory:", lambda connection: None)  # type: ignore[arg-type,return-value]
    deferred.signalled(PEER, b"first")
    await failed.wait()
    deferred.signalled(PEER, b"second")
    await deferred.close()
    assert [str(error) for error in failures] == ["memory:: it is damaged"]


async def test_what_is_loaded_while_the_node_stops_is_not_used() -> None:
    closing: list[asyncio.Task[None]] = []
    begun, stopped = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load() -> Transport:
        loop.call_soon_threadsafe(begun.set)
        stopped.wait(10)
        return Memory(Network())

    deferred = Deferred(("memory",), load, 20, over_link=True)
    await deferred.listen("memory:", lambda connection: None)  # type: ignore[arg-type,return-value]
    deferred.signalled(PEER, b"first")
    await begun.wait()
    closing.append(asyncio.create_task(deferred.close()))
    await asyncio.sleep(0)
    stopped.set()
    await closing[0]
    with pytest.raises(Unreachable, match="stopping"):
        await deferred.dial("memory:", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]
