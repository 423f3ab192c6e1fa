"""The index: what is known, sorted on demand, and told by notes."""

import random

from mm_services.messenger.protocol.limits import MAX_RECIPIENTS
from mm_services.messenger.store.entry import BundleEntry, NotedCopies, NotedReceipt, entry_of
from mm_services.messenger.store.index import BundleIndex
from mmplatform.identity.keys import Identity, SignId
from tests.support.bundle_stores import ALICE, BOB, NOW, make_bundle


def entry(own: bool = False, lifespan: int = 3600) -> BundleEntry:
    made = make_bundle(lifespan=lifespan)
    return entry_of(made.header, 1, 300, ALICE.sign_id, made.expires, False, own)


def copied(index: BundleIndex) -> BundleIndex:
    """Another one, told by the notes of this."""
    other = BundleIndex(100, 100)
    for note in index.notes():
        other.apply(note)
    other.begin()
    return other


def test_ids_are_sorted_after_any_change() -> None:
    chance = random.Random(5)
    index = BundleIndex(10_000, 10)
    gone: set[bytes] = set()
    for _ in range(2000):
        here = list(index.entries.values())
        match chance.randrange(5):
            case 0 if here:
                index.drop(chance.choice(here))
            case 1 if here:
                index.forget(one := chance.choice(here))
                gone.add(one.id)
            case 2 if here:
                one = chance.choice(here)
                index.drop(one)
                index.add(one)
            case _:
                index.add(entry())
        if chance.random() < 0.3:
            assert index.ids() == b"".join(sorted({*index.entries, *gone}))
    assert index.ids() is index.ids()
    index.expire(NOW + 10**6)
    assert index.ids() == b""
    assert index.gone == 0


def test_notes_tell_it_all() -> None:
    index = BundleIndex(100, 100)
    here, forgotten, mine = entry(), entry(), entry(own=True)
    for each in (here, forgotten, mine):
        index.add(each)
    here.handled = True
    index.copies[here.id] = 3
    index.forget(forgotten)
    for each in (mine, forgotten):
        index.receipt(NotedReceipt(each.id, BOB.sign_id, 1, NOW + 1000, each.own))
    assert len(index) == 5
    for told in (copied(index), copied(copied(index))):
        assert told.entries == {here.id: here, mine.id: mine}
        assert told.entries[here.id].handled
        assert told.copies == {here.id: 3}
        assert told.ids() == index.ids()
        assert told.is_gone(forgotten.id)
        assert told.receipts(mine.id) == told.receipts(forgotten.id) == {BOB.sign_id: 1}
        assert len(told) == 5


def test_what_changes_while_it_is_told_is_left_to_its_own_note() -> None:
    index = BundleIndex(100, 100)
    for _ in range(10):
        index.add(entry())
    notes = index.notes()
    next(notes)
    for each in list(index.entries.values()):
        index.drop(each)
    assert list(notes) == []


def test_an_id_that_had_to_be_forgotten_may_come_again() -> None:
    index = BundleIndex(1, 1)
    first, second = entry(lifespan=1000), entry(lifespan=2000)
    notes = [index.forget(each) for each in (first, second) if not index.add(each)]
    assert not index.knows(first.id)
    again = BundleIndex(5, 5)
    for note in (first, *notes, first):
        again.apply(note)
    again.begin()
    assert again.knows(second.id)
    assert not again.is_gone(first.id)
    assert [note for note in again.notes() if note.id == first.id] == [first]


def test_ours_are_not_pushed_out_by_others() -> None:
    index = BundleIndex(3, 3)
    mine = entry(own=True)
    index.add(mine)
    index.receipt(NotedReceipt(mine.id, BOB.sign_id, 1, NOW + 10, ours=True))
    index.forget(mine)
    for _ in range(20):
        index.add(other := entry())
        index.forget(other)
        index.receipt(NotedReceipt(other.id, BOB.sign_id, 1, NOW + 1000, ours=False))
    assert index.gone == 4
    assert index.knows(mine.id)
    assert index.receipts(mine.id) == {BOB.sign_id: 1}
    assert sum(bool(index.receipts(bundle)) for bundle in (index.ids()[at : at + 16] for at in range(0, 64, 16))) == 4


def test_receipts_of_a_bundle_are_bounded() -> None:
    index = BundleIndex(10_000, 10_000)
    bundle = make_bundle().id
    peers = [SignId(Identity.from_seed(number.to_bytes(32)).sign_id) for number in range(MAX_RECIPIENTS + 5)]
    told = [index.receipt(NotedReceipt(bundle, peer, 1, NOW, ours=False)) for peer in peers]
    assert told == [True] * MAX_RECIPIENTS + [False] * 5
    assert not index.receipt(NotedReceipt(bundle, peers[0], 1, NOW, ours=False)), "it says nothing new"
    assert index.receipt(NotedReceipt(bundle, peers[0], 2, NOW, ours=False))
    assert index.receipts(bundle)[peers[0]] == 2


def test_copies_go_with_what_is_known() -> None:
    index = BundleIndex(10, 10)
    one = entry()
    index.add(one)
    index.apply(NotedCopies(one.id, 2))
    index.drop(one)
    assert index.copies == {}


def test_a_receipt_that_comes_again_when_our_bundle_is_gone_is_one() -> None:
    bundle = make_bundle().id
    for first in (False, True):
        index = BundleIndex(10, 10)
        index.receipt(NotedReceipt(bundle, BOB.sign_id, 1, NOW, ours=first))
        index.receipt(NotedReceipt(bundle, BOB.sign_id, 2, NOW + 500, ours=not first))
        assert len(index) == 1
        assert copied(index).receipts(bundle) == index.receipts(bundle) == {BOB.sign_id: 2}
        index.expire(NOW + 100)
        assert index.receipts(bundle) == {BOB.sign_id: 2}
        index.expire(NOW + 1000)
        assert index.receipts(bundle) == {}


def test_a_state_does_not_go_back() -> None:
    """Receipts come by many ways: a "received" behind the "read" took it back."""
    index, bundle = BundleIndex(10, 10), bytes(16)
    for state, new in ((3, True), (1, True), (3, False), (2, True), (1, False), (3, False)):
        assert index.receipt(NotedReceipt(bundle, BOB.sign_id, state, NOW + 500, ours=True)) is new
    assert index.receipts(bundle) == {BOB.sign_id: 2}
