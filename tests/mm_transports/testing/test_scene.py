"""A scene: who came is kept; a dial that fails raises, at once or by the loss of its connection."""

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.testing import Scene
from mmplatform.errors import Unreachable
from mmplatform.plugins.transport import Accept, Connection


async def test_both_ends_keep_what_they_are_told() -> None:
    scene = Scene(Memory(Network()), "memory://bob")
    await scene.listen()
    near, far = await scene.dial()
    far.connection.write(b"x")
    assert await near.frames.get() == b"x"
    assert (near.calls, scene.came.empty()) == ([], True)
    near.pause_writing()
    near.resume_writing()
    assert near.calls == ["pause", "resume"]


async def test_nobody_is_there() -> None:
    with pytest.raises(Unreachable):
        await Scene(Memory(Network()), "memory://bob", address="memory://bob").dial()


async def test_nobody_is_at_the_meeting_point_which_is_known_later() -> None:
    class Meeting(Memory):
        async def dial(self, address: str, peer: object, accept: Accept) -> Connection:
            connection = await super().dial(address, peer, accept)  # type: ignore[arg-type]
            connection._lost(Unreachable("not here"))  # type: ignore[attr-defined]
            return connection

    scene = Scene(Memory(Network()), "memory://bob", dialler=Meeting(Network()))
    await scene.dialler.listen("memory://bob", lambda connection: scene.accept(connection))  # type: ignore[union-attr]
    scene.address = "memory://bob"
    scene.came.get = never  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="not here"):
        await scene.dial()


async def never() -> object:
    import asyncio

    return await asyncio.Event().wait()


def test_an_error_names_a_meeting_point_without_its_key() -> None:
    transport = Memory(Network())
    assert Scene(transport, "", address="tcp://127.0.0.1:1").where == r"tcp://127\.0\.0\.1:1"
    assert Scene(transport, "", dialler=transport, address="relay+ws://host/KEY").where == r"relay\+ws://host"
