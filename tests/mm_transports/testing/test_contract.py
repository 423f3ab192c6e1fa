"""The contract bites: a transport that breaks one promise fails the test of that promise."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from mm_transports import memory
from mm_transports.memory import Memory, MemoryConnection, Network
from mm_transports.testing import Scene
from mm_transports.testing.contract import TransportContract
from mmplatform.errors import Unreachable
from mmplatform.plugins.transport import Accept, Connection


class Sabotaged(Memory):
    """A memory transport whose connections are of ``kind``."""

    kind: ClassVar[type[MemoryConnection]]

    async def dial(self, address: str, peer: Any, accept: Accept) -> Connection:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "MemoryConnection", self.kind)
            return await super().dial(address, peer, accept)


def sabotaged(name: str, method: Callable[..., Any]) -> type[Memory]:
    kind = type("Broken", (MemoryConnection,), {name: method})
    return type("Broken", (Sabotaged,), {"kind": kind})


def shortens(self: Any, frame: bytes) -> None:
    MemoryConnection.write(self, frame[:1000])


def forgets_what_is_queued(self: Any) -> None:
    self.abort()


def tells_from_within(self: Any) -> None:
    if self._other is not None:
        self._receiver.connection_lost(None)
    MemoryConnection.abort(self)


def says_it_twice(self: Any, error: Exception | None) -> None:
    self._receiver.connection_lost(error)
    self._receiver.connection_lost(error)


def hears_after_close(self: Any) -> None:
    frame = self._coming.popleft()
    if frame is None:
        self._lose()
    else:
        self._receiver.frame_received(memoryview(frame))


def forgets_what_came_meanwhile(self: Any) -> None:
    self._coming.popleft()
    self._due -= 1
    MemoryConnection.resume_reading(self)


def differs(self: Any, *arguments: Any) -> None:
    self.cost = id(self)
    MemoryConnection._join(self, *arguments)


class Misnames(Memory):
    async def listen(self, hint: str, accept: Accept) -> list[str]:
        await super().listen(hint, accept)
        return ["elsewhere://bob"]


class TakesEverything(Memory):
    async def dial(self, address: str, peer: Any, accept: Accept) -> Connection:
        return await super().dial(address.replace("other", "memory"), peer, accept)


class KeepsListening(Memory):
    async def close(self) -> None:
        """Nothing is ended."""


class Shares(Memory):
    async def listen(self, hint: str, accept: Accept) -> list[str]:
        self.network._listening.pop(hint, None)
        return await super().listen(hint, accept)


class LosesItsAddress(Memory):
    def reachable(self) -> list[str] | None:
        return ["memory://elsewhere"]


WHOLE = "test_frames_of_every_size_come_whole_and_in_order_both_ways"
CLOSE = "test_close_sends_what_is_queued_and_is_told_once_without_an_error"
BREACHES = [
    ("test_the_address_names_the_scheme", Misnames),
    (WHOLE, sabotaged("write", shortens)),
    ("test_reading_pauses_and_goes_on_where_it_was", sabotaged("resume_reading", forgets_what_came_meanwhile)),
    (CLOSE, sabotaged("close", forgets_what_is_queued)),
    (CLOSE, sabotaged("_lost", says_it_twice)),
    ("test_nothing_comes_after_close", sabotaged("_deliver", hears_after_close)),
    ("test_abort_ends_both_and_is_told_once", sabotaged("abort", tells_from_within)),
    ("test_abort_ends_both_and_is_told_once", sabotaged("_lost", says_it_twice)),
    ("test_an_address_of_another_scheme_is_a_value_error", TakesEverything),
    ("test_close_of_the_transport_ends_listening_and_nothing_else", KeepsListening),
    ("test_an_address_is_one_listener_s", Shares),
    ("test_what_connections_say_of_themselves", sabotaged("_join", differs)),
    ("test_what_it_says_when_it_is_asked", LosesItsAddress),
]


async def hold(name: str, transport: Memory) -> None:
    """Hold ``transport`` to one promise."""
    scene = Scene(transport, "memory://bob")
    await scene.listen()
    async with asyncio.timeout(10):
        await getattr(TransportContract(), name)(scene)


@pytest.mark.parametrize(("name", "kind"), BREACHES)
async def test_a_broken_promise_is_seen(name: str, kind: type[Memory], escaped: list[dict[str, Any]]) -> None:
    await hold(name, Memory(Network()))
    with pytest.raises((AssertionError, asyncio.QueueEmpty, Unreachable, pytest.fail.Exception)):
        await hold(name, kind(Network()))
    escaped.clear()


def test_every_promise_is_broken_once() -> None:
    assert {name for name in vars(TransportContract) if name.startswith("test_")} == {name for name, _ in BREACHES}


@pytest.mark.slow
def test_a_class_without_a_scene_says_what_it_needs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "from mm_transports.testing.contract import TransportContract\nclass TestPigeon(TransportContract): pass"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["*TestPigeon needs a fixture scene*"])
    assert done.parseoutcomes().keys() == {"errors"}
