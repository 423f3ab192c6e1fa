"""What goes to whom, with which age, and with how many copies."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_services.messenger import carrier as carriers
from mm_services.messenger.protocol.limits import VERSION
from mm_services.messenger.protocol.packets import Meet, PushAnswer, Say
from mm_services.messenger.protocol.routing import SprayAndWait
from mm_services.messenger.protocol.rules import Rule
from mmplatform.identity.keys import Identity, SignId
from tests.support.bundle_stores import ALICE, BOB, CAROL, DAVE, NOW, US, MadeBundle, make_bundle
from tests.support.carriers import LARGE, TestedCarrier, carrying, offer, parcel_of, pushed

TAKEN, HAVE_IT, DENIED = (PushAnswer(say) for say in (Say.TAKEN, Say.HAVE_IT, Say.DENIED))


@pytest.fixture
async def carrier(tmp_path: Path) -> AsyncIterator[TestedCarrier]:
    async with carrying(tmp_path) as carrier:
        yield carrier


def meet(keeps: bool = True, largest: int = 2**26) -> Meet:
    return Meet(VERSION, keeps, largest, True, [])


def chosen(carrier: TestedCarrier, peer: Identity, *made: MadeBundle) -> list[bytes]:
    return [bundle for bundle, _ in carrier.chosen(peer.sign_id, [each.id for each in made])]


async def test_what_is_for_the_neighbour_goes_first_then_the_oldest(carrier: TestedCarrier) -> None:
    old, new = (make_bundle(now=NOW - 10 + n, recipients=(BOB.sign_id,)) for n in range(2))
    hers = make_bundle(recipients=(CAROL.sign_id,))
    for each in (new, hers, old):
        await carrier.store.take(each)
    assert chosen(carrier, CAROL, new, old, hers) == [hers.id, old.id, new.id]
    assert carrier.chosen(CAROL.sign_id, [hers.id, bytes(16)]) == [(hers.id, len(hers.content))]


async def test_nothing_goes_back_or_when_it_is_over(carrier: TestedCarrier) -> None:
    made = make_bundle()
    await carrier.store.take(made, DAVE.sign_id)
    assert [chosen(carrier, peer, made) for peer in (ALICE, DAVE, CAROL)] == [[], [], [made.id]]
    carrier.store.time = made.expires
    assert chosen(carrier, CAROL, made) == []


async def test_what_a_neighbour_says_of_itself_is_heeded(carrier: TestedCarrier) -> None:
    for_bob, for_all, big = make_bundle(), make_bundle(recipients=()), make_bundle(bytes(2000))
    for each in (for_bob, for_all, big):
        await carrier.store.take(each)
    carrier.introduced(CAROL.sign_id, meet(keeps=False))
    assert chosen(carrier, CAROL, for_bob, for_all, big) == [for_all.id]
    carrier.introduced(CAROL.sign_id, meet(largest=1000))
    assert chosen(carrier, CAROL, for_bob, for_all, big) == [for_bob.id, for_all.id]
    carrier.left(CAROL.sign_id)
    assert chosen(carrier, CAROL, for_bob, for_all, big) == [for_bob.id, for_all.id, big.id]


async def test_only_so_many_introductions_are_remembered(carrier: TestedCarrier) -> None:
    for number in range(carriers.MOST_MEETS + 1):
        carrier.introduced(SignId(f"peer {number}"), meet())
    assert len(carrier.meets) == carriers.MOST_MEETS
    assert SignId("peer 0") not in carrier.meets


async def test_whom_the_rights_give_nothing_gets_nothing(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules={"out": (Rule((BOB.sign_id,)),)}) as carrier:
        made = make_bundle()
        await carrier.store.take(made)
        assert chosen(carrier, CAROL, made) == []
        assert chosen(carrier, BOB, made) == [made.id]


async def test_the_rights_limit_how_much_a_neighbour_is_given(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules={"out": (Rule(("friends",), (), 2),)}) as carrier:
        made = [make_bundle() for _ in range(3)]
        for each in made:
            await carrier.store.take(each)
        given = [await carrier.parcel(BOB.sign_id, each.id) for each in made]
        assert [each is not None for each in given] == [True, True, False]
        carrier.store.time += 30
        assert await carrier.parcel(BOB.sign_id, made[2].id) is not None


async def test_a_parcel_is_what_its_receiver_takes(carrier: TestedCarrier, tmp_path: Path) -> None:
    made = make_bundle()
    await carrier.store.take(made)
    parcel = await carrier.parcel(BOB.sign_id, made.id)
    assert parcel is not None
    async with carrying(tmp_path / "bob", identity=BOB, friends={ALICE.sign_id, US.sign_id}) as bob:
        (offered,) = await bob.offered(US.sign_id, [parcel])
        assert offered.answer == TAKEN


async def test_who_had_it_before_is_handed_nothing(carrier: TestedCarrier) -> None:
    made = make_bundle()
    assert await offer(carrier, parcel_of(made, ALICE, DAVE, CAROL, US), CAROL) == TAKEN
    assert await carrier.parcel(DAVE.sign_id, made.id) is None
    assert await carrier.parcel(BOB.sign_id, made.id) is not None
    assert await carrier.parcel(BOB.sign_id, bytes(16)) is None


async def test_a_large_one_is_handed_without_its_content(carrier: TestedCarrier) -> None:
    made = make_bundle(LARGE)
    await pushed(carrier, made)
    parcel = await carrier.parcel(BOB.sign_id, made.id)
    assert parcel is not None
    assert parcel.content == b""
    assert parcel.hashes == made.head.hashes


async def test_ages_are_those_at_which_it_came_and_how_long_we_had_it(carrier: TestedCarrier) -> None:
    made = make_bundle()
    await offer(carrier, parcel_of(made, age=100))
    carrier.store.time += 20
    parcel = await carrier.parcel(BOB.sign_id, made.id)
    assert parcel is not None
    assert parcel.age == pytest.approx(120_000, abs=2)


async def test_the_age_of_our_own_is_since_we_wrote_it(carrier: TestedCarrier) -> None:
    made = make_bundle(sender=US, number=0)
    await carrier.post(made.header, made.content)
    carrier.store.time += 20
    parcel = await carrier.parcel(BOB.sign_id, made.id)
    assert parcel is not None
    assert parcel.age == pytest.approx(20_000, abs=2)
    carrier.store.time = made.expires
    assert await carrier.parcel(BOB.sign_id, made.id) is None


async def test_what_is_for_others_is_kept_for_a_month_at_most(carrier: TestedCarrier) -> None:
    year = 366 * 24 * 3600
    for_bob, for_us = (make_bundle(recipients=(peer.sign_id,), lifespan=year) for peer in (BOB, US))
    for each in (for_bob, for_us):
        await offer(carrier, parcel_of(each))
    entries = [carrier.store.find(each.id) for each in (for_bob, for_us)]
    assert [each.expires for each in entries if each is not None] == [
        NOW + carriers.LONGEST, pytest.approx(NOW + year, abs=1),
    ]  # fmt: skip


async def test_our_own_are_told_who_has_them(carrier: TestedCarrier) -> None:
    made, other = make_bundle(sender=US), make_bundle()
    await carrier.post(made.header, made.content)
    await carrier.store.take(other)
    for answer in (TAKEN, HAVE_IT, DENIED):
        for each in (made, other):
            carrier.answered(BOB.sign_id, each.id, answer)
    assert carrier.noted.given == [(made.id, BOB.sign_id)] * 2


# Spray and wait.


@pytest.fixture
async def spraying(tmp_path: Path) -> AsyncIterator[TestedCarrier]:
    async with carrying(tmp_path, policy=SprayAndWait(8)) as carrier:
        yield carrier


async def test_half_of_the_copies_go_on_until_one_is_left(spraying: TestedCarrier) -> None:
    made = make_bundle(sender=US)
    await spraying.post(made.header, made.content)
    told = []
    while spraying.chosen(CAROL.sign_id, [made.id]):
        parcel = await spraying.parcel(CAROL.sign_id, made.id)
        assert parcel is not None
        told.append(parcel.copies)
        spraying.answered(CAROL.sign_id, made.id, TAKEN)
    assert told == [4, 2, 1]
    assert spraying.store.copies(made.id) == 1


async def test_the_last_copy_goes_to_a_recipient_and_nothing_but_taking_costs_copies(spraying: TestedCarrier) -> None:
    made = make_bundle(sender=US)
    await spraying.post(made.header, made.content)
    for answer in (HAVE_IT, DENIED, PushAnswer(Say.BUSY, 1)):
        spraying.answered(CAROL.sign_id, made.id, answer)
    assert spraying.store.copies(made.id) == 8
    spraying.give(made, copies=1)
    assert chosen(spraying, CAROL, made) == []
    assert chosen(spraying, BOB, made) == [made.id]
    spraying.answered(BOB.sign_id, made.id, TAKEN)
    assert spraying.store.copies(made.id) == 1


@pytest.mark.parametrize("content", [b"small", LARGE])
async def test_copies_come_with_what_is_taken(spraying: TestedCarrier, content: bytes) -> None:
    made = make_bundle(content)
    assert (await offer(spraying, parcel_of(made, copies=4))).say in (Say.TAKEN, Say.GO_ON)
    if content == LARGE:
        for offset, block in made.blocks():
            await spraying.offered_block(ALICE.sign_id, made.id, offset, block)
    assert spraying.store.copies(made.id) == 4
    assert chosen(spraying, CAROL, made) == [made.id]
