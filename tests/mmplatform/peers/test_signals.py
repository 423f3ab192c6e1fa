"""Signals of transports: over any link, to the transport of the same scheme, and nowhere else."""

import asyncio
from typing import ClassVar

import pytest

from mmplatform.errors import ProtocolError, Refused, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.peers.signals import PROTOCOL
from mmplatform.plugins.signalling import SIGNAL_LIMIT, SignallingTransport
from mmplatform.plugins.transport import Accept, Connection, TransportHost
from tests.support.world import World


class Signaller(SignallingTransport):
    """Hears."""

    schemes: ClassVar[tuple[str, ...]] = ("signaller",)

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[SignId, bytes]] = asyncio.Queue()

    def attach(self, host: TransportHost) -> None:
        self.host = host

    def signalled(self, peer: SignId, data: bytes) -> None:
        self.heard.put_nowait((peer, data))
        if data == b"nonsense":
            raise ProtocolError("bad-signal")

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        raise Unreachable(address)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return [hint]

    async def close(self) -> None: ...


@pytest.fixture
def world() -> World:
    return World()


async def test_a_signal_reaches_the_same_transport_of_the_peer_and_no_other(world: World) -> None:
    near, far, silent = Signaller(), Signaller(), Signaller()
    silent.schemes = ("other",)
    alice = world.node(1, transports=[*world.node(1).parts.plugins.transports, near])
    bob = world.node(2, transports=[*world.node(2).parts.plugins.transports, far, silent])
    seen: list[object] = []
    bob.on("message", seen.append)
    async with alice, bob, asyncio.timeout(20):
        assert not near.host.linked(bob.sign_id)
        assert not near.host.signal(bob.sign_id, "signaller", b"too early")
        await alice.add(bob.ticket())
        await alice.connect(bob.sign_id)
        assert near.host.linked(bob.sign_id)
        for data in (b"", b"there", bytes(SIGNAL_LIMIT)):
            assert near.host.signal(bob.sign_id, "signaller", data)
            assert await far.heard.get() == (alice.sign_id, data)
        assert not near.host.signal(bob.sign_id, "signaller", bytes(SIGNAL_LIMIT + 1))
        assert near.host.signal(bob.sign_id, "unheard of", b"x")
        assert far.host.signal(alice.sign_id, "signaller", b"back")
        assert await near.heard.get() == (bob.sign_id, b"back")
    assert silent.heard.empty()
    assert not seen  # they are the platform's own affair
    assert not near.host.linked(bob.sign_id)


async def test_what_peers_send_otherwise_under_its_name_is_no_signal(world: World) -> None:
    far = Signaller()
    alice, bob = world.node(1), world.node(2, transports=[*world.node(2).parts.plugins.transports, far])
    async with alice, bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        await alice.connect(bob.sign_id)
        sent = await alice.send(destination=bob.sign_id, topic="signaller", payload=b"x", protocol=PROTOCOL)
        with pytest.raises(Refused, match="unhandled"):
            await sent
        large = bytes(SIGNAL_LIMIT + 1)
        await alice.send(destination=bob.sign_id, topic="signaller", payload=large, protocol=PROTOCOL, realtime=True)
        await alice.send(destination=bob.sign_id, topic="signaller", payload=b"y", protocol=PROTOCOL, realtime=True)
        assert await far.heard.get() == (alice.sign_id, b"y")


async def test_what_a_transport_does_not_like_is_reported_and_ends_nothing(world: World) -> None:
    far = Signaller()
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    alice, bob = world.node(1), world.node(2, transports=[*world.node(2).parts.plugins.transports, far])
    bob.on("error", lambda error, topic: errors.put_nowait(error))
    async with alice, bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        await alice.connect(bob.sign_id)
        for data in (b"nonsense", b"sense"):
            assert alice.parts._transport_host.signal(bob.sign_id, "signaller", data)
            assert (await far.heard.get())[1] == data
        assert isinstance(await errors.get(), ProtocolError)
        assert alice.parts.peers.linked(bob.sign_id)
