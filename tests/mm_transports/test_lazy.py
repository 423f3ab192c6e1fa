"""A signalling transport is loaded when it is needed, not sooner, and behaves as itself then."""

import asyncio
import threading
from collections.abc import Callable
from typing import ClassVar

import pytest

from mm_transports.lazy import LazyTransport
from mm_transports.memory import Memory, Network
from mm_transports.testing import PEER, Scene
from mmplatform.errors import PluginError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import PUNCHED, Accept


class Heavy(Memory, SignallingTransport):
    """What takes long to load."""

    address: ClassVar[str] = "memory:"
    heard: list[bytes]

    def __init__(self) -> None:
        super().__init__(Network())
        self.heard = []
        self.came = asyncio.Event()

    def signalled(self, peer: SignId, data: bytes) -> None:
        self.heard.append(data)
        self.came.set()


class Lazy(LazyTransport):
    """Loads what a test gives it."""

    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    address: ClassVar[str] = "memory:"
    cost: ClassVar[int] = PUNCHED

    def __init__(self, make: Callable[[], SignallingTransport]) -> None:
        super().__init__()
        self._make = make

    def load(self) -> SignallingTransport:
        return self._make()


async def test_it_is_loaded_with_the_first_address() -> None:
    loaded: list[Heavy] = []

    class Known(Heavy):
        attached: object = None

        def attach(self, host: object) -> None:
            self.attached = host

        def troubles(self) -> dict[str, str]:
            return {"memory://bob": ""}

    def make() -> SignallingTransport:
        loaded.append(Known())
        return loaded[0]

    lazy = Lazy(make)
    lazy.attach("host")  # type: ignore[arg-type]
    assert (lazy.schemes, lazy.reachable(), lazy.troubles(), loaded) == (("memory",), None, {}, [])
    host = Scene(lazy, "memory://bob")
    [host.address] = await lazy.listen(host.hint, host.accept)
    near, far = await host.dial()
    near.connection.write(b"x")
    assert await far.frames.get() == b"x"
    assert len(loaded) == 1
    assert loaded[0].attached == "host"  # type: ignore[attr-defined]
    lazy.signalled(PEER, b"at once now")
    assert loaded[0].heard == [b"at once now"]
    assert lazy.reachable() is None
    assert lazy.troubles() == {"memory://bob": ""}
    assert await lazy.listen("memory://carol", host.accept) == ["memory://carol"]
    await lazy.close()
    near.connection.abort()
    await far.gone.wait()


async def test_what_cannot_be_loaded_is_a_reason() -> None:
    def make() -> SignallingTransport:
        raise PluginError("it is not installed; pip install it")

    lazy = Lazy(make)
    with pytest.raises(Unreachable, match="pip install"):
        await lazy.dial("memory://x", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]
    await lazy.close()
    with pytest.raises(Unreachable, match="stopping"):
        await lazy.dial("memory://x", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]


async def test_one_that_listens_for_signals_is_loaded_by_the_first() -> None:
    heavy = Heavy()

    class Listening(Heavy):
        async def listen(self, hint: str, accept: Accept) -> list[str]:
            self.heard.append(hint.encode())
            return [hint]

    heavy = Listening()
    lazy = Lazy(lambda: heavy)
    assert lazy.cost == PUNCHED
    lazy.signalled(PEER, b"before we listen")
    assert await lazy.listen("memory:", lambda connection: None) == ["memory:"]  # type: ignore[arg-type,return-value]
    assert heavy.heard == []
    lazy.signalled(PEER, b"first")
    lazy.signalled(PEER, b"second")
    await heavy.came.wait()
    lazy.signalled(PEER, b"third")
    assert heavy.heard == [b"memory:", b"first", b"second", b"third"]
    assert await lazy.checks() == []
    assert lazy.clocks() == {}
    assert lazy.near("memory:") is False
    await lazy.close()


async def test_one_that_is_soon_needed_is_loaded_meanwhile() -> None:
    loaded = asyncio.Event()
    loop, heavy = asyncio.get_running_loop(), Heavy()

    def make() -> SignallingTransport:
        loop.call_soon_threadsafe(loaded.set)
        return heavy

    lazy = Lazy(make)
    for _ in range(2):
        lazy.prepare()
    await loaded.wait()
    await lazy.close()
    lazy.prepare()
    assert not lazy.near("memory://bob")


async def test_one_that_cannot_be_loaded_says_so_once() -> None:
    failures: list[Exception] = []
    failed = asyncio.Event()

    class Told:
        def failed(self, error: Exception, topic: str = "") -> None:
            failures.append(error)
            failed.set()

    def make() -> SignallingTransport:
        raise PluginError("it is damaged")

    lazy = Lazy(make)
    lazy.attach(Told())  # type: ignore[arg-type]
    await lazy.listen("memory:", lambda connection: None)  # type: ignore[arg-type,return-value]
    lazy.signalled(PEER, b"first")
    await failed.wait()
    lazy.signalled(PEER, b"second")
    await lazy.close()
    assert [str(error) for error in failures] == ["memory:: it is damaged"]


async def test_what_is_loaded_while_the_node_stops_is_not_used() -> None:
    closing: list[asyncio.Task[None]] = []
    begun, stopped = asyncio.Event(), threading.Event()
    loop, heavy = asyncio.get_running_loop(), Heavy()

    def make() -> SignallingTransport:
        loop.call_soon_threadsafe(begun.set)
        stopped.wait(10)
        return heavy

    lazy = Lazy(make)
    await lazy.listen("memory:", lambda connection: None)  # type: ignore[arg-type,return-value]
    lazy.signalled(PEER, b"first")
    await begun.wait()
    closing.append(asyncio.create_task(lazy.close()))
    await asyncio.sleep(0)
    stopped.set()
    await closing[0]
    with pytest.raises(Unreachable, match="stopping"):
        await lazy.dial("memory:", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]
