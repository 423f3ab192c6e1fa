"""What is the memory network's own: names, cuts, delays and losses by script."""

import asyncio

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.testing import PEER, ConnectionEnd, Scene
from mmplatform.errors import Unreachable


@pytest.fixture
async def host() -> Scene:
    host = Scene(Memory(Network()), "memory://bob")
    await host.listen()
    return host


def network_of(host: Scene) -> Network:
    assert isinstance(host.transport, Memory)
    return host.transport.network


async def gone(*ends: ConnectionEnd) -> None:
    async with asyncio.timeout(5):
        for end in ends:
            await end.gone.wait()


async def test_names_are_kept_or_made(host: Scene) -> None:
    assert host.address == "memory://bob"
    made = {(await host.transport.listen(hint, host.accept))[0] for hint in ("memory://0", "memory://")}
    assert len(made) == 2


async def test_everybody_shares_one_network_unless_told_otherwise(host: Scene) -> None:
    assert Memory().network is Memory().network
    with pytest.raises(Unreachable, match="nobody"):
        await Memory().dial(host.address, PEER, host.accept)


async def test_a_network_that_is_down_lets_nobody_dial(host: Scene) -> None:
    near, far = await host.dial()
    network_of(host).up = False
    with pytest.raises(Unreachable):
        await host.dial()
    near.connection.write(b"x")
    assert await far.frames.get() == b"x"


async def test_a_cut_ends_everything_and_loses_what_is_under_way(host: Scene) -> None:
    near, far = await host.dial()
    near.connection.write(b"x")
    network_of(host).cut()
    await gone(near, far)
    assert far.frames.empty()
    assert isinstance(near.lost[0], ConnectionResetError)
    assert isinstance(far.lost[0], ConnectionResetError)
    near, far = await host.dial()
    far.connection.write(b"y")
    assert await near.frames.get() == b"y"


async def test_a_lost_frame_is_a_cut(host: Scene) -> None:
    near, far = await host.dial()
    network_of(host).drop = lambda frame: frame == b"2"
    for frame in (b"1", b"2", b"3"):
        near.connection.write(frame)
    await gone(near, far)
    assert far.frames.empty()


async def test_order_holds_when_the_delay_changes(host: Scene) -> None:
    near, far = await host.dial()
    network = network_of(host)
    for number, delay in enumerate([0.02, 0.0, 0.01, 0.0, 0.005]):
        network.delay = delay
        near.connection.write(bytes([number]))
    near.connection.close()
    await gone(near, far)
    assert [far.frames.get_nowait()[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert far.lost == [None]
