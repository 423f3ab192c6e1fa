"""The promises of every transport (mmplatform/plugins/transport.py), as tests that a transport inherits.

::

    from mm_transports.testing import Scene
    from mm_transports.testing.contract import TransportContract

    class TestPigeon(TransportContract):
        @pytest.fixture
        def scene(self):
            return Scene(Pigeon(), "pigeon://0")
"""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar, Final
from zlib import crc32

import pytest
import pytest_asyncio

from mm_transports.testing.scene import PEER, ConnectionEnd, Scene
from mmplatform.errors import LocalError, Unreachable
from mmplatform.plugins.check import Check, Diagnosable

DEADLINE: Final = 20.0  # seconds for one test


class TransportContract:
    """The tests. Derive a class named ``Test...`` with one fixture ``scene``, which says what listens where."""

    pytestmark: ClassVar = [pytest.mark.asyncio, pytest.mark.timeout(DEADLINE)]

    @pytest.fixture
    def scene(self) -> Scene:
        """Say what listens where, and who dials; to be overridden. Nothing listens yet."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture scene that returns a Scene")

    @pytest_asyncio.fixture
    async def host(self, scene: Scene) -> AsyncIterator[Scene]:
        """Give the scene, listening."""
        await scene.listen()
        yield scene
        await scene.transport.close()

    async def test_the_address_names_the_scheme(self, host: Scene) -> None:
        assert host.address.partition(":")[0] in host.transport.schemes
        assert not host.address.endswith(":0")

    async def test_frames_of_every_size_come_whole_and_in_order_both_ways(self, host: Scene) -> None:
        near, far = await host.dial()
        limit = near.connection.max_frame
        sizes = [0, 1, 3, 4, 5, 1000, 65_536, limit - 1, limit, 7, limit, 0, 2]
        frames = [bytes([n]) * size for n, size in enumerate(sizes)]
        for frame in frames:
            near.connection.write(frame)
            far.connection.write(frame[::-1])
        assert [await _digest(far) for _ in frames] == [(len(frame), crc32(frame)) for frame in frames]
        assert [await _digest(near) for _ in frames] == [(len(frame), crc32(frame)) for frame in frames]
        await closed(near, far)

    async def test_reading_pauses_and_goes_on_where_it_was(self, host: Scene) -> None:
        """A connection that cannot pause hands over everything at once, in order."""
        near, far = await host.dial()
        near.connection.write(b"\0")
        await far.frames.get()
        far.connection.pause_reading()
        for number in range(1, 100):
            near.connection.write(bytes([number]))
        far.connection.write(b"the other way")
        await near.frames.get()
        near.connection.close()
        far.connection.resume_reading()
        far.connection.pause_reading()
        far.connection.resume_reading()
        await asyncio.gather(near.gone.wait(), far.gone.wait())
        assert [far.frames.get_nowait()[0] for _ in range(1, 100)] == list(range(1, 100))
        assert far.lost == [None]

    async def test_close_sends_what_is_queued_and_is_told_once_without_an_error(self, host: Scene) -> None:
        near, far = await host.dial()
        for number in range(100):
            near.connection.write(bytes([number]) * 5000)
        near.connection.close()
        near.connection.close()
        near.connection.write(b"too late")
        await asyncio.gather(near.gone.wait(), far.gone.wait())
        assert [far.frames.get_nowait()[0] for _ in range(100)] == list(range(100))
        assert far.frames.empty()
        assert (near.lost, far.lost) == ([None], [None])

    async def test_nothing_comes_after_close(self, host: Scene) -> None:
        near, far = await host.dial()
        near.connection.close()
        far.connection.write(b"x")
        await asyncio.gather(near.gone.wait(), far.gone.wait())
        assert near.frames.empty()

    async def test_abort_ends_both_and_is_told_once(self, host: Scene) -> None:
        near, far = await host.dial()
        near.connection.abort()
        near.connection.abort()
        near.connection.close()
        assert near.lost == []  # never from within
        await asyncio.gather(near.gone.wait(), far.gone.wait())
        near.connection.write(b"x")
        near.connection.abort()
        near.connection.close()
        await asyncio.sleep(0)
        assert (len(near.lost), len(far.lost)) == (1, 1)

    async def test_an_address_of_another_scheme_is_a_value_error(self, host: Scene) -> None:
        with pytest.raises(ValueError, match="other://x"):
            await host.transport.dial("other://x", PEER, host.accept)
        with pytest.raises(ValueError, match="other://x"):
            await host.transport.listen("other://x", host.accept)

    async def test_close_of_the_transport_ends_listening_and_nothing_else(self, host: Scene) -> None:
        near, far = await host.dial()
        await host.transport.close()
        await host.transport.close()
        with pytest.raises(Unreachable, match=host.where):
            await host.dial()
        near.connection.write(b"still here")
        assert await far.frames.get() == b"still here"
        await closed(near, far)

    async def test_an_address_is_one_listener_s(self, host: Scene) -> None:
        with pytest.raises(LocalError, match=host.where):
            await host.transport.listen(host.address, host.accept)

    async def test_what_connections_say_of_themselves(self, host: Scene) -> None:
        near, far = await host.dial()
        assert host.address.startswith(near.connection.address)
        assert far.connection.address.startswith(host.transport.schemes)
        assert near.connection.max_frame == far.connection.max_frame >= 64 * 1024
        assert near.connection.cost == far.connection.cost
        assert near.connection.relayed == far.connection.relayed == host.transport.relayed
        await closed(near, far)

    async def test_what_it_says_when_it_is_asked(self, host: Scene) -> None:
        transport = host.transport
        reachable = transport.reachable()
        assert reachable is None or host.address in reachable
        assert set(transport.troubles()) <= {host.address}
        assert isinstance(transport.near(host.address), bool)
        if isinstance(transport, Diagnosable):
            assert all(isinstance(check, Check) for check in await transport.checks())


async def closed(*ends: ConnectionEnd) -> None:
    """Abort these connections and wait until each receiver was told of the end."""
    for end in ends:
        end.connection.abort()
    for end in ends:
        await end.gone.wait()


async def _digest(end: ConnectionEnd) -> tuple[int, int]:
    """Return the length and the CRC of the next frame: pytest takes minutes to show how frames of megabytes differ."""
    frame = await end.frames.get()
    return len(frame), crc32(frame)
