"""LinkFactory without a peer yet: who is let in, who gives way, and what becomes of a dialled one."""

import asyncio
import logging
from typing import Any

import pytest

from mm_transports.memory import Memory, Network
from mmplatform.delivery.wire import Resumption, encode_packet
from mmplatform.errors import ProtocolError, RemoteError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import factory as module
from mmplatform.links.factory import LinkFactory
from mmplatform.links.link import Link
from mmplatform.plugins.transport import Connection
from tests.support.sessions import NOW, draws, record_of
from tests.support.waiting import until
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)


class FakePeer:
    def __init__(self, known: bool = True) -> None:
        self.known = known
        self.links: list[Link] = []
        self.lost: list[Link] = []
        self.refuse = ""

    def link_ready(self, link: Link, resume: bytes) -> None:
        if self.refuse:
            raise ProtocolError(self.refuse)
        self.links.append(link)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        self.lost.append(link)

    def link_writable(self, link: Link) -> None: ...

    def frame_received(self, link: Link, frame: Any) -> None: ...

    def send_again(self, lane: int, epoch: int) -> None: ...


def resume(peer: str) -> bytes:
    return encode_packet(Resumption(1, 0, []))


class Node:
    def __init__(self, network: Network, who: Any) -> None:
        self.transport = Memory(network)
        self.peer = FakePeer()
        self.links = LinkFactory(
            who, lambda: record_of(who), lambda info, link: self.peer, resume, lambda: NOW, draws(who.sign_id)
        )
        self.links.started = True
        self.address = ""

    async def listen(self) -> None:
        [self.address] = await self.transport.listen("memory://0", self.links.accept)

    async def dial(self, other: "Node", key: str) -> Link:
        opened: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        await self.transport.dial(
            other.address,
            SignId(key),
            lambda connection: self.links.dialled(connection, key, opened),  # type: ignore[arg-type]
        )
        return await asyncio.wait_for(opened, 5)


@pytest.fixture
async def nodes(monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Node]:
    monkeypatch.setattr(module, "CLOSING", 0.01)  # nobody here closes the links first
    network = Network()
    alice, bob = Node(network, ALICE), Node(network, BOB)
    await bob.listen()
    return alice, bob


class Idle:
    """Who is connected and says nothing."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.lost = connection, False

    def frame_received(self, frame: memoryview) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


async def test_a_dialled_link_comes_to_both_peers(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    link = await alice.dial(bob, BOB.sign_id)
    assert alice.peer.links == [link]
    assert len(bob.peer.links) == 1
    assert not alice.links._dialled
    assert not bob.links._unproven
    await alice.links.close()
    await until(lambda: bob.peer.lost)
    assert alice.peer.lost == [link]
    assert not alice.links._open


async def test_the_wrong_key_our_own_key_and_a_node_that_starts_are_refused(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    with pytest.raises(RemoteError):
        await alice.dial(bob, identity(3).sign_id)
    with pytest.raises(RemoteError):
        await bob.dial(bob, BOB.sign_id)
    bob.links.started = False
    with pytest.raises(RemoteError, match="closed by the peer"):
        await alice.dial(bob, BOB.sign_id)
    bob.links.started = True
    await alice.dial(bob, BOB.sign_id)
    await alice.links.close()


async def test_a_peer_that_refuses_at_ready_fails_the_dialling(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    alice.peer.refuse = "bad-packet"
    with pytest.raises(ProtocolError, match="bad-packet"):
        await alice.dial(bob, BOB.sign_id)
    assert not alice.links._dialled


async def test_a_cut_during_the_handshake_fails_the_dialling(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    alice.transport.network.delay = 0.01
    dialling = asyncio.create_task(alice.dial(bob, BOB.sign_id))
    await asyncio.sleep(0)
    alice.transport.network.cut()
    with pytest.raises(Unreachable, match="cut"):
        await dialling


async def test_those_who_prove_nothing_give_way_oldest_first(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNPROVEN", 4)
    alice, bob = nodes
    idle: list[Idle] = []
    for _ in range(10):
        await bob.transport.dial(bob.address, BOB.sign_id, lambda connection: idle.append(Idle(connection)) or idle[-1])  # type: ignore[func-returns-value]
    await until(lambda: sum(one.lost for one in idle) == 6)
    assert [one.lost for one in idle] == [True] * 6 + [False] * 4
    assert bob.links.refused == 6
    await alice.dial(bob, BOB.sign_id)
    assert len(bob.links._unproven) == 3
    await bob.links.close()
    await until(lambda: all(one.lost for one in idle))


async def test_only_those_known_share_the_large_budget(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    bob.peer.known = False
    await alice.dial(bob, BOB.sign_id)
    assert alice.peer.links[0].assembler._budget is alice.links._known_budget
    assert bob.peer.links[0].assembler._budget is bob.links._budget
    await alice.links.close()


async def test_close_does_not_wait_for_ever(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    await alice.dial(bob, BOB.sign_id)  # nobody closes it: both ends stay open
    await alice.links.close()
    assert len(alice.peer.lost) == 1
    await until(lambda: bob.peer.lost)


async def test_a_link_has_one_peer(nodes: tuple[Node, Node]) -> None:
    alice, bob = nodes
    link = await alice.dial(bob, BOB.sign_id)
    info = NodeInfo.decode(record_of(BOB), NOW)
    with pytest.raises(ProtocolError, match="identified already"):
        link.owner.link_identified(link, info, b"")
    with pytest.raises(ProtocolError, match="ready already"):
        link.owner.link_ready(link, info, b"")
    alice.links.link_writable(link)
    alice.links.frame_received(link, None)  # type: ignore[arg-type]
    await alice.links.close()


async def test_a_refused_handshake_is_a_line_for_who_looks_closely_and_a_count(
    nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    alice, bob = nodes
    for _ in range(3):
        with pytest.raises(RemoteError):
            await alice.dial(bob, identity(3).sign_id)
    await until(lambda: len([r for r in caplog.records if " refused: " in r.getMessage()]) == 3)
    for record in caplog.records:
        assert record.levelno == logging.DEBUG
        if " refused: " in record.getMessage():
            assert record.getMessage().startswith(f"link {record.link} from memory://")  # type: ignore[attr-defined]
    accepted = [record for record in caplog.records if " accepted from memory://" in record.getMessage()]
    assert len(accepted) == 3
    caplog.clear()
    await bob.links.close()
    [record] = [record for record in caplog.records if record.levelno == logging.INFO]
    assert record.getMessage().startswith("within a minute, not said one by one: 3 handshakes refused")
