"""What every transport promises (mm_transports/testing/contract.py), held by each of ours."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from mm_transports.memory import Memory, Network
from mm_transports.tcp import TCP
from mm_transports.testing import Scene
from mm_transports.testing.contract import TransportContract


class TestOurs(TransportContract):
    @pytest.fixture(params=["tcp", "memory", "relay", "webrtc"])
    async def scene(self, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
        async with AsyncExitStack() as stack:
            if request.param == "relay":
                yield await meeting(stack)
            elif request.param == "webrtc":
                yield signalling(stack)
            elif request.param == "tcp":
                yield Scene(TCP(), "tcp://127.0.0.1:0")
            else:
                yield Scene(Memory(Network()), "memory://0")


async def meeting(stack: AsyncExitStack) -> Scene:
    """Two nodes and a relay between them."""
    from tests.support.relay_nodes import Node
    from tests.support.tiny_relay import Tiny
    from tests.support.world import identity

    relay = await Tiny(identity(200)).start()
    stack.push_async_callback(relay.stop)
    near, far = Node(identity(1)), Node(identity(2))
    stack.push_async_callback(near.relay.close)
    return Scene(far.relay, relay.address, dialler=near.relay, peer=identity(2).sign_id)


def signalling(stack: AsyncExitStack) -> Scene:
    """Two nodes that hear each other's signals."""
    pytest.importorskip("aiortc")
    from tests.support.webrtc import Node, addresses, joined
    from tests.support.world import identity

    if not addresses():
        pytest.skip("WebRTC offers no loopback addresses, and this machine has no others")
    near, far = joined(Node(identity(1)), Node(identity(2)))
    stack.push_async_callback(near.webrtc.close)
    return Scene(far.webrtc, "webrtc:", dialler=near.webrtc, peer=identity(2).sign_id)
