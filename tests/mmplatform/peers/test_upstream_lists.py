"""A message to a list or a circle: all members are sent it or none, and one awaitable tells all ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from mmplatform import (
    GroupDelivery,
    InvalidKey,
    InvalidPayload,
    InvalidTopic,
    LocalError,
    NotAllDelivered,
    NotRunning,
    Platform,
    QueueFull,
    StorageFull,
)
from mmplatform.durable import admission
from mmplatform.durable.shared import PAYLOADS
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import World, collect, identity

Three = tuple[Platform, Platform, Platform]
LARGE = "dinner at eight " * 10_000


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    """Alice, whose family are bob and carol."""
    async with World().nodes(3) as (alice, bob, carol):
        await alice.contacts.lists.make("@family", bob.sign_id, carol.sign_id)
        yield alice, bob, carol


async def sent_to(alice: Platform, group: str, payload: object, **options: object) -> GroupDelivery:
    delivery = await alice.messaging.send("chat", group, payload, **options)  # type: ignore[arg-type]
    assert isinstance(delivery, GroupDelivery)
    return delivery


async def kept(node: Platform) -> int:
    await until(lambda: not node.parts.outbox._unsynced.pending)
    return len(await node.storage.scan(PAYLOADS))


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_all_members_get_it_in_order_and_it_leaves_the_disk(kind: str) -> None:
    async with World(kind).nodes(3) as (alice, bob, carol):
        heard = [collect(node) for node in (bob, carol)]
        await alice.contacts.lists.make("@family", bob.sign_id, carol.sign_id)
        deliveries = [await sent_to(alice, "@family", [number, LARGE]) for number in range(5)]
        alone = await alice.messaging.send("chat", bob.sign_id, "alone")
        for delivery in deliveries:
            assert (await delivery).state == "delivered"
            assert list(delivery.deliveries) == [bob.sign_id, carol.sign_id]
        await alone
        assert heard == [[*([n, LARGE] for n in range(5)), "alone"], [[n, LARGE] for n in range(5)]]
        assert await kept(alice) == 0


async def test_it_is_on_disk_once_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    world = World()
    async with world.node(1, storage=tmp_path) as alice:
        for number in (2, 3, 4):
            await alice.add(identity(number).sign_id, circle="friends")
        delivery = await sent_to(alice, "@friends", LARGE)
        assert await kept(alice) == 1
        ids = {peer: each.id for peer, each in delivery.deliveries.items()}
    async with world.node(1, storage=tmp_path) as alice, world.node(2, friends=[alice.sign_id]) as bob:
        heard = collect(bob)
        await alice.add(bob.ticket())
        await until(lambda: heard == [LARGE])
        await until(lambda: _state_is(alice, ids[bob.sign_id], "delivered"))
        assert await kept(alice) == 1
        for number in (3, 4):
            await alice.contacts.remove(identity(number).sign_id, drop=True)
        await until(lambda: not alice.parts.outbox.peers())
        assert await kept(alice) == 0


async def _state_is(node: Platform, delivery_id: str, state: str) -> bool:
    return await node.delivery(delivery_id) == state


async def test_circles_are_destinations(three: Three) -> None:
    alice, bob, carol = three
    await carol.contacts.move(alice.sign_id, "devices")
    await alice.contacts.move(carol.sign_id, "devices")
    heard, own = collect(bob), collect(carol, "self.chat")
    assert await (await alice.messaging.send("chat", "@friends", 1))
    assert await (await alice.messaging.send("chat", "@devices", 2))
    assert await (await alice.send(destination="@devices", topic="chat", payload=b"\x03"))
    assert (heard, own) == ([1], [2, 3])


async def test_who_failed_is_told_beside_who_has_it(three: Three) -> None:
    alice, bob, carol = three
    collect(bob)

    def broken(topic: str, sender: str, payload: object) -> None:
        raise KeyError(payload)

    carol.messaging.on("friends.chat", broken, retries=0)
    with pytest.raises(NotAllDelivered) as caught:
        await (await sent_to(alice, "@family", "x"))
    assert (list(caught.value.failed), caught.value.delivered) == ([carol.sign_id], [bob.sign_id])


async def test_what_waits_is_received_cancelled_or_expires(three: Three) -> None:
    alice, bob, carol = three
    await (await sent_to(alice, "@family", "kept there")).received()
    await carol.stop()
    await until(lambda: not alice.parts.peers.linked(carol.sign_id))
    collect(bob)
    delivery = await sent_to(alice, "@family", "for bob alone", priority="high")
    assert {each.lane for each in delivery.deliveries.values()} == {1}
    await delivery.deliveries[bob.sign_id]
    assert await delivery.cancel() == [carol.sign_id]
    assert delivery.state == "cancelled"
    short = await sent_to(alice, "@family", "short", expire_after=0.2)
    with pytest.raises(NotAllDelivered, match="not confirmed in time"):
        await short


async def test_realtime_goes_to_those_who_are_linked(three: Three) -> None:
    alice, bob, _ = three
    heard = collect(bob)
    await alice.connect(bob.sign_id)
    await alice.contacts.lists.make("@all", bob.sign_id, *(await _named(alice, 7, 8)))
    delivery = await sent_to(alice, "@all", 1, realtime=True)
    assert [each.state for each in delivery.deliveries.values()] == ["sent", "dropped", "dropped"]
    assert alice.upstream.realtime_dropped == 2
    assert (await delivery).state == "dropped"
    await until(lambda: heard == [1])


async def _named(alice: Platform, *numbers: int) -> list[str]:
    for number in numbers:
        await alice.contacts.rename(identity(number).sign_id, f"number {number}")
    return [f"number {number}" for number in numbers]


async def test_what_cannot_be_sent_is_refused_before_anything_is_kept(three: Three) -> None:
    alice, _, _ = three
    await alice.contacts.lists.make("@nobody")
    before = len(await alice.storage.scan(b""))
    send = alice.messaging.send
    for given_up, error, why in (
        (lambda: send("chat", "@nobody", 1), LocalError, "nobody is in '@nobody'"),
        (lambda: send("chat", "@famly", 1), InvalidKey, r"\(@family, @nobody\)"),
        (lambda: send("chat", "@public", 1), InvalidKey, "everybody else"),
        (lambda: send("friends.chat", "@family", 1), InvalidTopic, "the receiver puts the scope"),
        (lambda: send("chat", "@family", object()), InvalidPayload, "cannot encode"),
        (lambda: send("chat", "@family", 1, expire_after=0), ValueError, "seconds, more than none"),
        (lambda: send("chat", "@family", 1, priority="top"), ValueError, "priority 'top'"),  # type: ignore[arg-type]
        (lambda: alice.send(destination="@family", topic="chat", payload="x"), InvalidPayload, "instead of bytes"),  # type: ignore[arg-type]
        (lambda: send("chat", "@famly", 1, realtime=True), InvalidKey, "not the name of a list"),
        (lambda: alice.messaging.request("chat", "@family", 1), InvalidKey, "a request has one answer"),
        (lambda: alice.ping("@family"), InvalidKey, "one peer is meant"),
    ):
        with pytest.raises(error, match=why):
            await given_up()
    assert len(await alice.storage.scan(b"")) == before
    await alice.stop()
    with pytest.raises(NotRunning):
        await send("chat", "@family", 1)


async def test_a_full_disk_keeps_nothing_for_anybody(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _, _ = three
    before = await alice.storage.scan(b"outbox/")

    def failing(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(StorageFull("no space left"))
        return future

    with monkeypatch.context() as broken:
        broken.setattr(alice.storage, "write", failing)
        with pytest.raises(StorageFull):
            await sent_to(alice, "@family", LARGE)
    assert (await alice.storage.scan(b"outbox/"), await kept(alice)) == (before, 0)


async def test_nobody_is_sent_what_one_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bob, carol = identity(2).sign_id, identity(3).sign_id
    async with Platform(connection_info=(), friends=[bob, carol]) as alice:
        monkeypatch.setattr(admission, "PEER_BYTES", 1000)
        await alice.messaging.send("chat", carol, bytes(2000))
        with pytest.raises(QueueFull, match=carol):
            await alice.messaging.send("chat", "@friends", "x")
        assert alice.parts.outbox.peers() == [carol]


async def test_many_at_once_wait_for_the_disk_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SAVING_BYTES", 1000)
    bob, carol = identity(2).sign_id, identity(3).sign_id
    async with Platform(MemoryStorage(), connection_info=(), friends=[bob, carol]) as alice:
        sends = [asyncio.ensure_future(sent_to(alice, "@friends", bytes(400))) for _ in range(40)]
        await asyncio.sleep(0)
        assert alice.parts.outbox.admission.saving < 3000
        sends[20].cancel()
        await asyncio.wait(sends, timeout=20)
        seqs = [send.result().deliveries[bob].seq for send in sends if not send.cancelled()]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) == 39
