"""Who has much gives way: a flood hits itself, and what is ours, or is still to be done, stays."""

import itertools
import time

import pytest

from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.store.entry import PAGE, BundleEntry
from mm_services.messenger.store.quotas import RECEIPTS, NoRoom, Quotas, StoreLimits
from mmplatform.identity.keys import SignId

_numbers = itertools.count(1)


class Kept:
    """What a store would keep, without a disk."""

    def __init__(self, **limits: int) -> None:
        self.entries: dict[bytes, BundleEntry] = {}
        self.evicted: list[int] = []
        self.quotas = Quotas(StoreLimits(**limits), lambda entry: self.has(entry) and entry.evictable, self.evict)

    def has(self, entry: BundleEntry) -> bool:
        return self.entries.get(entry.id) is entry

    def evict(self, entry: BundleEntry) -> None:
        del self.entries[entry.id]
        self.evicted.append(int(entry.expires))

    def take(
        self, expires: float, sender: str = "s", giver: str = "g", size: int = 100, *, kind: Kind = Kind.MESSAGE,
        **flags: bool,
    ) -> BundleEntry:  # fmt: skip
        entry = made(expires, sender, giver, size, kind=kind, **flags)
        self.quotas.take(entry)
        self.entries[entry.id] = entry
        if entry.evictable:
            self.quotas.loosen(entry)
        return entry

    def remove(self, entry: BundleEntry) -> None:
        del self.entries[entry.id]
        self.quotas.remove(entry, entry.evictable)

    def of(self, sender: str) -> int:
        return sum(entry.sender == sender for entry in self.entries.values())


def made(
    expires: float, sender: str = "s", giver: str = "g", size: int = 100, own: bool = False, for_us: bool = False,
    handled: bool = False, recipients: int = 1, kind: Kind = Kind.MESSAGE,
) -> BundleEntry:  # fmt: skip
    names = tuple(SignId(f"r{number}") for number in range(recipients))
    return BundleEntry(
        expires, next(_numbers).to_bytes(16), kind, SignId(sender), names, 1, size, 300, SignId(giver), 1, own,
        for_us, handled,
    )  # fmt: skip


def test_what_is_over_soonest_gives_way_first() -> None:
    kept = Kept(bundles=3)
    for expires in (30, 10, 20, 40, 50, 60):
        kept.take(expires)
    assert kept.evicted == [10, 20, 30]


def test_who_is_at_its_share_makes_room_of_its_own() -> None:
    kept = Kept(sender_bundles=3, peer_bundles=5)
    for expires in (3, 4, 5):
        kept.take(expires, sender="flood", giver="a")
    kept.take(1, sender="x", giver="a")
    kept.take(9, sender="flood", giver="b")
    assert kept.evicted == [3]
    for expires in (6, 7, 8):
        kept.take(expires, sender=f"y{expires}", giver="a")
    assert kept.evicted == [3, 1], "of what the giver gave, from whomever"


@pytest.mark.parametrize("share", ["bytes", "sender_bytes", "peer_bytes"])
def test_bytes_are_pages(share: str) -> None:
    kept = Kept(**{share: 3 * PAGE})
    for expires in (1, 2, 3):
        kept.take(expires, size=1)
    kept.take(4, size=PAGE)
    assert kept.evicted == [1, 2]
    with pytest.raises(NoRoom):
        kept.take(5, size=3 * PAGE)
    assert kept.evicted == [1, 2], "nothing gives way to what is not taken"


def test_many_recipients_count_as_several_bundles() -> None:
    kept = Kept(bundles=10)
    kept.take(1)
    kept.take(2, recipients=64)
    assert kept.quotas.all.bundles == 10
    kept.take(3)
    assert kept.evicted == [1]
    kept.take(4, recipients=15)
    assert kept.evicted == [1, 2]
    with pytest.raises(NoRoom):
        kept.take(5, recipients=256)


def test_a_flood_leaves_the_others_alone_when_all_is_full() -> None:
    kept = Kept(bundles=100, sender_bundles=60, peer_bundles=80)
    for number in range(40):
        kept.take(number, sender=f"honest{number % 8}", giver=f"peer{number % 5}")
    for number in range(1000):
        kept.take(1000 + number, sender="flood", giver=f"peer{number % 5}")
    assert kept.of("flood") == 60
    assert len(kept.entries) == 100
    for number in range(20):
        kept.take(2000 + number, sender="late", giver="other")
    assert kept.of("late") == 20
    assert kept.of("flood") == 40
    assert len(kept.entries) == 100


def test_many_senders_of_one_giver_are_held_to_the_share_of_the_giver() -> None:
    kept = Kept(bundles=100, sender_bundles=60, peer_bundles=50)
    for number in range(60):
        kept.take(number, sender=f"honest{number % 6}", giver=f"peer{number % 6}")
    for number in range(300):
        kept.take(1000 + number, sender=f"key{number}", giver="sybil")
    assert sum(entry.giver != "sybil" for entry in kept.entries.values()) >= 55
    assert len(kept.quotas.senders) <= 106, "who has nothing here is forgotten"


def test_who_is_nearest_to_its_share_gives_way_to_all() -> None:
    kept = Kept(bundles=12, sender_bundles=10)
    for number in range(8):
        kept.take(100 + number, sender="much", giver=f"g{number}")
    for number in range(4):
        kept.take(number, sender=f"little{number}", giver=f"h{number}")
    kept.take(50, sender="new", giver="new")
    assert kept.evicted == [100]


def test_own_and_unhandled_bundles_give_way_to_nothing() -> None:
    kept = Kept(bundles=6, sender_bundles=4)
    kept.take(1, sender="us", giver="us", own=True)
    unhandled = [kept.take(2 + number, for_us=True) for number in range(4)]
    with pytest.raises(NoRoom, match="of its sender"):
        kept.take(10)
    kept.take(10, sender="other")
    kept.take(11, sender="us", giver="us", own=True)
    assert kept.evicted == [10]
    for own in (False, True):
        with pytest.raises(NoRoom, match="in all"):
            kept.take(12, sender="third", own=own)
    unhandled[2].handled = True
    kept.quotas.loosen(unhandled[2])
    kept.take(13, sender="third")
    assert kept.evicted == [10, 4]


def test_what_is_just_coming_gives_way_to_nothing() -> None:
    kept = Kept(bundles=1)
    coming = made(1)
    kept.quotas.take(coming)
    with pytest.raises(NoRoom):
        kept.take(2)
    kept.quotas.remove(coming, loose=False)
    kept.take(2)
    assert kept.evicted == []


def test_what_was_here_at_a_start_counts_though_limits_are_smaller_now() -> None:
    kept = Kept(bundles=5, sender_bundles=4)
    entries = [made(number, sender="s" if number < 8 else "t") for number in range(10)]
    entries += [made(20, own=True), made(21, for_us=True), made(22, for_us=True, handled=True)]
    kept.entries.update((entry.id, entry) for entry in entries)
    kept.quotas.load(entries)
    assert (kept.quotas.all.bundles, kept.quotas.all.bytes) == (13, 13 * PAGE)
    assert {name: share.bundles for name, share in kept.quotas.senders.items()} == {"s": 10, "t": 2}
    kept.take(30, sender="u")
    assert kept.quotas.all.bundles == 5
    assert {entries[-3].id, entries[-2].id} < set(kept.entries)
    for entry in list(kept.entries.values()):
        kept.remove(entry)
    assert (kept.quotas.all.bundles, kept.quotas.all.bytes, kept.quotas.all.loose_bytes) == (0, 0, 0)
    assert kept.quotas.senders == kept.quotas.givers == {}


def test_a_limit_of_nothing_takes_nothing() -> None:
    with pytest.raises(NoRoom):
        Kept(sender_bytes=0).take(1)
    kept = Kept(peer_bundles=0)
    with pytest.raises(NoRoom):
        kept.take(1)
    kept.take(1, own=True)
    assert kept.quotas.senders == kept.quotas.givers == {}


def test_giving_way_costs_the_same_however_many_senders_there_are() -> None:
    def cost(senders: int) -> float:
        kept = Kept(bundles=senders)
        for number in range(senders):
            kept.take(number, sender=f"s{number}", giver=f"g{number % 100}")
        began = time.perf_counter()
        for number in range(500):
            kept.take(10**6 + number, sender=f"new{number}", giver=f"g{number % 100}")
        assert len(kept.evicted) == 500
        return time.perf_counter() - began

    few = min(cost(200) for _ in range(3))
    assert min(cost(6_000) for _ in range(3)) < 15 * few  # 30 if each were looked at


def test_receipts_of_our_own_find_room_where_all_is_full_and_nothing_gives_way() -> None:
    """A store full of what was not handled yet had no room for its receipts: nothing of it could ever be let go."""
    kept = Kept(bundles=3)
    for expires in (1, 2, 3):
        kept.take(expires, for_us=True)
    with pytest.raises(NoRoom):
        kept.take(4, own=True)
    for expires in range(RECEIPTS):
        kept.take(expires, own=True, kind=Kind.RECEIPT)
    with pytest.raises(NoRoom):
        kept.take(4, own=True, kind=Kind.RECEIPT)
    with pytest.raises(NoRoom):
        kept.take(4, kind=Kind.RECEIPT)
    assert not kept.evicted
