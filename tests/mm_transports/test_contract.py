"""What every transport promises (mmplatform/plugins/transport.py), held by each of them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.tcp import TCP
from mmplatform.errors import LocalError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import Connection, Transport

PEER = SignId("p" * 43 + "=")  # of no use to transports that lead to a host


@dataclass
class End:
    """A receiver that keeps what it is told."""

    connection: Connection
    frames: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    lost: list[Exception | None] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)

    def frame_received(self, frame: memoryview) -> None:
        assert not self.lost
        self.frames.put_nowait(bytes(frame))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)
        self.gone.set()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


@dataclass
class Host:
    """Somebody who listens and keeps who came. Where transports meet at a relay, ``dialler`` is that of the other."""

    transport: Transport
    hint: str
    address: str = ""
    dialler: Transport | None = None
    peer: SignId = PEER
    came: asyncio.Queue[End] = field(default_factory=asyncio.Queue)

    @property
    def where(self) -> str:
        """How errors name it: without the key of a relay; as a pattern."""
        return re.escape(self.address.rpartition("/")[0] or self.address if self.dialler else self.address)

    def accept(self, connection: Connection) -> End:
        self.came.put_nowait(End(connection))
        return self.came._queue[-1]

    async def dial(self) -> tuple[End, End]:
        """Our end and theirs, which comes with the first frame that we write."""
        ends: list[End] = []

        def accept(connection: Connection) -> End:
            ends.append(End(connection))
            return ends[0]

        connection = await (self.dialler or self.transport).dial(self.address, self.peer, accept)
        assert ends[0].connection is connection
        connection.write(b"hello")
        far, lost = asyncio.ensure_future(self.came.get()), asyncio.ensure_future(ends[0].gone.wait())
        await asyncio.wait([far, lost], return_when=asyncio.FIRST_COMPLETED)
        if lost.done() and not far.done():
            far.cancel()
            assert isinstance(ends[0].lost[0], Unreachable)
            raise ends[0].lost[0]
        lost.cancel()
        assert await far.result().frames.get() == b"hello"
        return ends[0], far.result()


@pytest.fixture(params=["tcp", "memory", "relay", "webrtc"])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        if request.param == "relay":
            host = await meeting(stack)
        elif request.param == "webrtc":
            host = signalling(stack)
        else:
            host = Host(TCP(), "tcp://127.0.0.1:0") if request.param == "tcp" else Host(Memory(Network()), "memory://0")
        [host.address] = await host.transport.listen(host.hint, host.accept)
        stack.push_async_callback(host.transport.close)
        async with asyncio.timeout(20):
            yield host


async def meeting(stack: AsyncExitStack) -> Host:
    """Two nodes and a relay between them."""
    from tests.mm_transports.relay.test_transport import Node
    from tests.support.tiny_relay import Tiny
    from tests.support.world import identity

    relay = await Tiny(identity(200)).start()
    stack.push_async_callback(relay.stop)
    near, far = Node(identity(1)), Node(identity(2))
    stack.push_async_callback(near.relay.close)
    return Host(far.relay, relay.address, dialler=near.relay, peer=identity(2).sign_id)


def signalling(stack: AsyncExitStack) -> Host:
    """Two nodes that hear each other's signals."""
    pytest.importorskip("aiortc")
    from tests.support.webrtc import Node, addresses, joined
    from tests.support.world import identity

    if not addresses():
        pytest.skip("WebRTC offers no loopback addresses, and this machine has no others")
    near, far = joined(Node(identity(1)), Node(identity(2)))
    stack.push_async_callback(near.webrtc.close)
    return Host(far.webrtc, "webrtc:", dialler=near.webrtc, peer=identity(2).sign_id)


async def closed(*ends: End) -> None:
    for end in ends:
        end.connection.abort()
    for end in ends:
        await end.gone.wait()


async def test_the_address_names_the_scheme(host: Host) -> None:
    assert host.address.partition(":")[0] in host.transport.schemes
    assert not host.address.endswith(":0")


async def test_frames_of_every_size_come_whole_and_in_order_both_ways(host: Host) -> None:
    near, far = await host.dial()
    limit = near.connection.max_frame
    sizes = [0, 1, 3, 4, 5, 1000, 65_536, limit - 1, limit, 7, limit, 0, 2]
    frames = [bytes([n]) * size for n, size in enumerate(sizes)]
    for frame in frames:
        near.connection.write(frame)
        far.connection.write(frame[::-1])
    assert [await far.frames.get() for _ in frames] == frames
    assert [await near.frames.get() for _ in frames] == frames
    await closed(near, far)


async def test_close_sends_what_is_queued_and_is_told_once_without_an_error(host: Host) -> None:
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


async def test_nothing_comes_after_close(host: Host) -> None:
    near, far = await host.dial()
    near.connection.close()
    far.connection.write(b"x")
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    assert near.frames.empty()


async def test_abort_ends_both_and_is_told_once(host: Host) -> None:
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


async def test_an_address_of_another_scheme_is_a_value_error(host: Host) -> None:
    with pytest.raises(ValueError, match="other://x"):
        await host.transport.dial("other://x", PEER, host.accept)
    with pytest.raises(ValueError, match="other://x"):
        await host.transport.listen("other://x", host.accept)


async def test_close_of_the_transport_ends_listening_and_nothing_else(host: Host) -> None:
    near, far = await host.dial()
    await host.transport.close()
    await host.transport.close()
    with pytest.raises(Unreachable, match=host.where):
        await host.dial()
    near.connection.write(b"still here")
    assert await far.frames.get() == b"still here"
    await closed(near, far)


async def test_an_address_is_one_listener_s(host: Host) -> None:
    with pytest.raises(LocalError, match=host.where):
        await host.transport.listen(host.address, host.accept)


async def test_what_connections_say_of_themselves(host: Host) -> None:
    near, far = await host.dial()
    assert host.address.startswith(near.connection.address)
    assert far.connection.address.startswith(host.transport.schemes)
    assert near.connection.max_frame == far.connection.max_frame >= 64 * 1024
    assert near.connection.cost == far.connection.cost
    await closed(near, far)
