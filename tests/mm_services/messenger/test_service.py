"""Messengers of real nodes over loopback: by way of others, after restarts, to everybody, and mail of the platform."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger.handling import ReceivedBundle
from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.rights_file import allow
from mm_services.messenger.service import EVERYBODY, Messenger
from mmplatform import Platform
from mmplatform.errors import InvalidKey, LocalError, NotRunning
from tests.support.waiting import until

LOOPBACK = ["tcp://127.0.0.1:0"]


class Node:
    """A node with a messenger, and what its handler of "chat" has heard."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.messenger = Messenger(**options)
        self.platform = Platform(folder, connection_info=LOOPBACK, services=[self.messenger])
        self.heard: list[tuple[Any, ReceivedBundle]] = []
        self.messenger.on("chat")(self._heard)

    async def _heard(self, topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
        self.heard.append((payload, bundle))

    @property
    def said(self) -> list[Any]:
        return [payload for payload, _ in self.heard]


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts nodes: one of the same name has the folder of the one before."""
    async with AsyncExitStack() as stack:

        async def begin(name: str, **options: Any) -> Node:
            node = Node(tmp_path / name, **options)
            await node.platform.start()
            stack.push_async_callback(node.platform.stop)
            return node

        yield begin


async def befriend(*pairs: tuple[Node, Node]) -> None:
    for one, other in pairs:
        await one.platform.add(other.platform.ticket(), circle="friends")
        await other.platform.add(one.platform.ticket(), circle="friends")


async def link(one: Node, other: Node) -> None:
    await one.platform.ping(other.platform.sign_id)


async def handed(one: Node, other: Node) -> None:
    """Wait until ``other`` has all that ``one`` wrote."""
    own = {entry.id for entry in one.messenger.bundles() if entry.own}
    await until(lambda: own <= {entry.id for entry in other.messenger.bundles()})


def know(one: Node, other: Node) -> None:
    """Have each take the other for a friend, without knowing where it is."""
    one.platform.contacts.friends.add(other.platform.sign_id)
    other.platform.contacts.friends.add(one.platform.sign_id)


async def test_a_message_goes_by_way_of_who_knows_both(start: Start) -> None:
    alice, bob, carol = [await start(name) for name in ("alice", "bob", "carol")]
    await befriend((alice, bob), (bob, carol))
    know(alice, carol)
    told: list[tuple[str, str]] = []
    alice.messenger.watch(lambda bundle, peer, state: told.append((peer, state)))
    await link(alice, bob)
    await link(bob, carol)
    sent = await alice.messenger.send("chat", carol.platform.sign_id, {"text": "hello"})
    await until(lambda: sent.state == "received")
    assert carol.said == [{"text": "hello"}]
    bundle = carol.heard[0][1]
    assert bundle.sender == alice.platform.sign_id
    assert bundle.hops == (bob.platform.sign_id, carol.platform.sign_id)
    assert bundle.id == sent.id
    assert bob.said == []
    await bundle.read()
    await until(lambda: sent.state == "read")
    steps = [(carol.platform.sign_id, state) for state in ("carried", "received", "read")]
    assert told in (steps, steps[1:])  # its receipt may be quicker than the answer of bob
    await until(lambda: bob.messenger.store.find(sent.bundle) is None)


async def test_a_mule_brings_it_to_who_was_never_linked_with_the_sender(start: Start) -> None:
    """Alice and carol are never online together: bob meets one, then the other, then the first again."""
    alice, bob, carol = [await start(name) for name in ("alice", "bob", "carol")]
    await befriend((alice, bob), (bob, carol))
    know(alice, carol)
    to_carol = carol.platform.sign_id
    await carol.platform.stop()
    sent = [await alice.messenger.send("chat", to_carol, number) for number in range(20)]
    large = await alice.messenger.send("chat", to_carol, bytes(3_000_000))
    await link(alice, bob)
    await until(lambda: large.state == "carried")
    await alice.platform.stop()
    carol = await start("carol")
    await link(bob, carol)
    await until(lambda: len(carol.heard) == 21)
    assert carol.said == [*range(20), bytes(3_000_000)]
    await until(lambda: not [entry for entry in bob.messenger.bundles() if carol.platform.sign_id in entry.recipients])
    await carol.platform.stop()
    alice = await start("alice")
    await link(alice, bob)
    await until(lambda: not [entry for entry in alice.messenger.bundles() if entry.own])
    for one in (*sent, large):
        assert alice.messenger.store.receipts(one.bundle) == {to_carol: 1}


async def test_mail_of_the_platform_goes_the_same_way(start: Start) -> None:
    alice, bob, carol = [await start(name) for name in ("alice", "bob", "carol")]
    await befriend((alice, bob), (bob, carol), (alice, carol))
    to_carol = carol.platform.sign_id
    await carol.platform.stop()
    await link(alice, bob)
    delivery = await alice.platform.messaging.send("chat", to_carol, "by mule")
    await until(lambda: delivery.state == "relayed", timeout=20)
    await handed(alice, bob)
    await alice.platform.stop()
    carol = await start("carol")
    heard: list[Any] = []
    carol.platform.messaging.on("friends.chat", lambda topic, sender, payload: heard.append(payload))
    await link(bob, carol)
    await until(lambda: heard == ["by mule"])
    await until(lambda: not [each for each in bob.messenger.bundles() if to_carol in each.recipients])
    acks = carol.platform.parts.mailer._acks
    await until(lambda: any(each.own and each.kind is Kind.MAIL for each in carol.messenger.bundles()))
    await until(lambda: not acks._owed)
    await handed(carol, bob)
    await carol.platform.stop()
    alice = await start("alice")
    await link(alice, bob)
    await until(
        lambda: not alice.platform.peers() or all(peer.waiting == 0 for peer in alice.platform.peers()), timeout=20
    )


async def test_everybody_hears_what_is_for_everybody(start: Start) -> None:
    nodes = [await start(name) for name in ("alice", "bob", "carol", "dave")]
    await befriend(*pairwise(nodes))
    for one in nodes:
        for other in nodes:
            if one is not other:
                know(one, other)
    for one, other in pairwise(nodes):
        await link(one, other)
    sent = await nodes[0].messenger.send("chat", EVERYBODY, "fire")
    await until(lambda: all(node.said == ["fire"] for node in nodes[1:]))
    await until(lambda: sent.state == "carried")
    assert nodes[0].said == []
    assert len(nodes[3].heard[0][1].hops) <= 3


async def test_strangers_carry_nothing_for_us_unless_they_may(start: Start, tmp_path: Path) -> None:
    alice, bob = [await start(name) for name in ("alice", "bob")]
    await alice.platform.add(bob.platform.ticket())
    await bob.platform.add(alice.platform.ticket())
    await link(alice, bob)
    await alice.messenger.send("chat", EVERYBODY, "anybody?")
    assert alice.messenger.neighbours() == []
    for node, name in ((alice, "alice"), (bob, "bob")):
        allow(tmp_path / name / "messenger", "everyone", 600)
        await node.messenger._rights._file.look()
    alice.messenger._hood._look_soon()
    await until(lambda: bob.said == ["anybody?"], timeout=20)


async def test_what_came_before_its_handler_is_handed_over_once_it_comes(start: Start) -> None:
    alice, bob = [await start(name) for name in ("alice", "bob")]
    await befriend((alice, bob))
    await link(alice, bob)
    sent = await alice.messenger.send("news", bob.platform.sign_id, 1)
    await until(lambda: bob.messenger.store.find(sent.bundle) is not None)
    await bob.platform.stop()
    bob = await start("bob")
    heard: list[Any] = []

    @bob.messenger.on("news")
    async def hear(topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
        heard.append(payload)

    await until(lambda: heard == [1])
    await link(alice, bob)
    await until(lambda: sent.state == "received")


async def test_what_cannot_be_sent_is_told(start: Start) -> None:
    alice = await start("alice")
    with pytest.raises(InvalidKey):
        await alice.messenger.send("chat", "nobody", 1)
    with pytest.raises(LocalError, match="is nobody"):
        await alice.messenger.send("chat", [], 1)
    await alice.platform.stop()
    with pytest.raises(NotRunning):
        await alice.messenger.send("chat", EVERYBODY, 1)


async def test_a_node_without_a_data_folder_needs_one_for_its_messenger() -> None:
    platform = Platform(connection_info=LOOPBACK, services=[Messenger()])
    with pytest.raises(LocalError, match="no data folder"):
        await platform.start()
    await platform.stop()


async def test_a_bundle_that_is_over_is_gone_from_the_disk(start: Start, tmp_path: Path) -> None:
    alice = await start("alice")
    sent = await alice.messenger.send("chat", EVERYBODY, 1, lifespan=1)
    file = tmp_path / "alice" / "messenger" / "bundles" / sent.id
    assert file.exists()
    await until(lambda: not file.exists(), timeout=10)
    assert alice.messenger.bundles() == []


async def test_a_bundle_that_was_dropped_is_not_taken_again(start: Start) -> None:
    alice, bob = [await start(name) for name in ("alice", "bob")]
    await befriend((alice, bob))
    await link(alice, bob)
    sent = await alice.messenger.send("nobody", EVERYBODY, 1)
    await until(lambda: bob.messenger.store.find(sent.bundle) is not None)
    assert bob.messenger.drop(sent.id)
    assert not bob.messenger.drop(sent.id)
    await alice.platform.stop()
    alice = await start("alice")
    await link(alice, bob)
    await until(lambda: any(each.state == "talking" for each in alice.messenger.neighbours()))
    await asyncio.gather(*(alice.messenger.send("nobody", EVERYBODY, number) for number in range(2)))
    await until(lambda: len(bob.messenger.bundles()) == 2)
    assert bob.messenger.store.find(sent.bundle) is None


async def test_who_watches_from_before_the_start_is_told_until_that_is_ended(start: Start, tmp_path: Path) -> None:
    bob, alice = await start("bob"), Node(tmp_path / "alice")
    told: list[str] = []
    end = alice.messenger.watch(lambda bundle, peer, state: told.append(state))
    async with alice.platform:
        await befriend((alice, bob))
        await link(alice, bob)
        sent = await alice.messenger.send("chat", bob.platform.sign_id, 1)
        await until(lambda: sent.state == "received")
        assert told[-1] == "received"
        told.clear()
        end()
        end()
        another = await alice.messenger.send("chat", bob.platform.sign_id, 2)
        await until(lambda: another.state == "received")
        assert told == []
