"""A carrier beside hostile neighbours: what they say costs little, counts for their copy alone, and is not believed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_services.messenger.carrier import Carrier
from mm_services.messenger.protocol import content, hops, receipts
from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.protocol.hops import Hop
from mm_services.messenger.protocol.packets import Parcel, Say
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.protocol.rights import Rights
from mm_services.messenger.protocol.routing import Epidemic
from mm_services.messenger.protocol.rules import Rule
from mm_services.messenger.store.entry import BundleEntry
from mmplatform.identity.keys import Identity, SignId, raw_key
from tests.support.bundle_stores import ALICE, BOB, CAROL, DAVE, US, MadeBundle, TestedStore, make_bundle, opened

DAY = 24 * 3600
EVERYONE = {name: (Rule(("everyone",)),) for name in ("in", "out", "sender", "recipient")}


class Node:
    """A carrier with its store, and the bundles that came to it."""

    def __init__(self, store: TestedStore, **rules: tuple[Rule, ...]) -> None:
        self.store, self.came_here = store, list[BundleEntry]()
        rights = Rights(US.sign_id, lambda peer, principal: peer == principal, {**EVERYONE, **rules})
        self.rights, self.carrier = rights, Carrier(US, store, rights, Epidemic(), self, lambda: store.time)

    def came(self, entry: BundleEntry) -> None:
        self.came_here.append(entry)

    def took(self, bundle: bytes, peer: SignId) -> None:
        raise AssertionError("nothing of ours was sent")

    def received(self, bundle: bytes, peer: SignId, state: int) -> None:
        raise AssertionError("nothing of ours was sent")

    async def offered(self, by: Identity, *parcels: Parcel) -> list[str]:
        return [Say(each.answer.say).name for each in await self.carrier.offered(by.sign_id, parcels)]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with opened(tmp_path) as store:
        yield Node(store)


def for_us(number: int = 0, lifespan: int = DAY) -> MadeBundle:
    return make_bundle(recipients=(US.sign_id,), lifespan=lifespan, number=number)


def parcel(made: MadeBundle, by: Identity, age: float = 0.0) -> Parcel:
    """What ``by`` offers us, who had it from Alice."""
    way = hops.handed(made.header, hops.handed(made.header, [], ALICE, by.sign_id), by, US.sign_id)
    return Parcel(made.head.header, way, int(age * 1000), made.head.hashes, made.content, 0)


def forged(made: MadeBundle, by: Identity) -> Parcel:
    """With hops that nobody signed."""
    way = [Hop(raw_key(one), bytes(64)) for one in (by.sign_id, US.sign_id)]
    return Parcel(made.head.header, way, 0, made.head.hashes, made.content, 0)


async def test_a_bundle_comes_once(node: Node) -> None:
    made = for_us()
    assert await node.offered(BOB, parcel(made, BOB)) == ["TAKEN"]
    assert await node.offered(CAROL, parcel(made, CAROL)) == ["HAVE_IT"]
    assert [entry.id for entry in node.came_here] == [made.id]


async def test_a_bundle_that_comes_from_two_at_once_comes_once(node: Node) -> None:
    made = for_us()
    by_bob, by_carol = await asyncio.gather(
        node.offered(BOB, parcel(made, BOB), parcel(made, BOB)), node.offered(CAROL, parcel(made, CAROL))
    )
    assert sorted(by_bob + by_carol) == ["BUSY", "BUSY", "TAKEN"]
    assert len(node.came_here) == 1
    assert await node.offered(CAROL, parcel(made, CAROL)) == ["HAVE_IT"]


async def test_an_age_that_is_a_lie_has_nothing_handled_twice(node: Node) -> None:
    """Bob says that it is nearly over; it is handled, over, and comes again from Carol, who says how old it is."""
    single, several = for_us(), make_bundle(recipients=(US.sign_id, DAVE.sign_id), lifespan=DAY, number=1)
    for made in (single, several):
        assert await node.offered(BOB, parcel(made, BOB, DAY - 1)) == ["TAKEN"]
    node.store.forget(single.id)
    node.store.note_handled(several.id)
    node.store.time += 200
    node.store.expire(node.store.time)
    node.came_here.clear()
    for made in (single, several):
        assert await node.offered(CAROL, parcel(made, CAROL, 200)) == ["TAKEN"]
    assert [entry.handled for entry in node.came_here] == [True, True]


async def test_what_a_neighbour_says_is_wrong_of_its_copy_alone(node: Node) -> None:
    made = for_us(lifespan=DAY)
    assert await node.offered(BOB, parcel(made, BOB, DAY)) == ["EXPIRED"]
    assert await node.offered(BOB, forged(made, BOB)) == ["BAD"]
    other = Parcel(made.head.header, parcel(made, BOB).hops, 0, made.head.hashes, b"hullo", 0)
    assert await node.offered(BOB, other) == ["BAD"]
    assert await node.offered(CAROL, parcel(made, CAROL)) == ["TAKEN"]


async def test_of_whom_nothing_is_taken_nothing_is_proven(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        node = Node(store, sender=(Rule((DAVE.sign_id,)),))
        assert await node.offered(BOB, parcel(for_us(), BOB), forged(for_us(1), BOB)) == ["DENIED", "DENIED"]


async def test_what_is_forged_takes_nothing_from_who_did_not_write_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        node = Node(store, sender=(Rule((ALICE.sign_id,), rate=2.0),))
        for number in range(9):
            assert await node.offered(BOB, forged(for_us(number), BOB)) == ["BAD"]
        assert await node.offered(CAROL, parcel(for_us(10), CAROL)) == ["TAKEN"]


async def test_others_have_their_turn_between_two_bundles(node: Node) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(others())
    assert set(await node.offered(BOB, *(forged(for_us(number), BOB) for number in range(64)))) == {"BAD"}
    assert turns >= 64
    task.cancel()


async def test_a_receipt_has_dropped_what_its_writer_has(node: Node) -> None:
    """Not what others have, nor does it count when it is for somebody else than the sender."""
    first, second = (make_bundle(recipients=(BOB.sign_id,), number=number) for number in range(2))
    assert await node.offered(CAROL, parcel(first, CAROL), parcel(second, CAROL)) == ["TAKEN", "TAKEN"]
    named = content.public(receipts.encoded([Named(first.id, ReceiptState.RECEIVED)]))
    for by, to in ((DAVE, ALICE), (BOB, DAVE), (CAROL, BOB)):
        assert await node.offered(by, of(make_bundle(named, by, (to.sign_id,), kind=Kind.RECEIPT))) == ["TAKEN"]
        assert node.store.find(first.id) is not None
    said = make_bundle(named, BOB, (ALICE.sign_id,), kind=Kind.RECEIPT)
    assert await node.offered(BOB, of(said)) == ["TAKEN"]
    assert node.store.find(first.id) is None
    assert await node.offered(DAVE, parcel(first, DAVE)) == ["HAVE_IT"]
    assert node.store.find(second.id) is not None


def of(made: MadeBundle) -> Parcel:
    """What its sender offers us."""
    return Parcel(made.head.header, made.head.hops, 0, made.head.hashes, made.content, 0)
