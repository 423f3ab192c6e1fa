"""Who answers at an address, without a link being made; links that are up notice nothing."""

import asyncio
import time

from mm_transports.tcp import TCP
from mm_transports.webrtc.lazy import LazyWebRTC
from mmplatform.diagnosis import sources
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId
from mmplatform.links.probe import Answer, probe
from mmplatform.plugins.transport import Accept, Connection
from tests.support.world import World, identity


async def test_the_peer_itself_and_another_one() -> None:
    async with World("tcp").nodes(3) as (alice, bob, carol):
        await alice.connect(bob.sign_id)
        links = alice.parts.peers.links()
        assert bob.directory.own_record is not None
        assert carol.directory.own_record is not None
        (there,), (elsewhere,) = bob.directory.own_record.connection_info, carol.directory.own_record.connection_info
        assert (await sources.probe(alice, bob.sign_id, there)).answer is Answer.PROVEN
        assert (await sources.probe(alice, bob.sign_id, elsewhere)).answer is Answer.OTHER
        assert alice.parts.peers.links() == links
        assert len(bob.parts.peers.links()) == 1
        await alice.ping(bob.sign_id)


async def test_addresses_that_lead_nowhere() -> None:
    tcp = {"tcp": TCP()}
    peer = identity(2).sign_id
    for address, answer in (
        ("pigeon:loft", Answer.UNUSABLE), ("tcp://127.0.0.1:1", Answer.UNREACHABLE), ("tcp:x", Answer.UNREACHABLE),
    ):  # fmt: skip
        assert (await probe(tcp, identity(1), peer, address, time.time)).answer is answer
    webrtc = {"webrtc": LazyWebRTC()}
    assert (await probe(webrtc, identity(1), peer, "webrtc:", time.time)).answer is Answer.UNUSABLE


async def test_a_transport_that_cannot() -> None:
    class Stopped(TCP):
        async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
            raise LocalError("it is stopping")

    found = await probe({"tcp": Stopped()}, identity(1), identity(2).sign_id, "tcp://127.0.0.1:1", time.time)
    assert (found.answer, found.text) == (Answer.UNUSABLE, "it is stopping")


async def test_somebody_who_answers_with_noise() -> None:
    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write((5).to_bytes(4) + b"noise")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(noise, "127.0.0.1", 0) as server:
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await probe({"tcp": TCP()}, identity(1), identity(2).sign_id, address, time.time)
    assert found.answer is Answer.OTHER
    assert "not sealed by the peer's key" in found.text
