"""Entries in the order in which they are over."""

import random

from mm_services.messenger.store.by_expiry import ByExpiry
from mm_services.messenger.store.entry import BundleEntry, entry_of
from tests.support.bundle_stores import ALICE, make_bundle


def test_what_lives_no_more_is_skipped_and_swept_out() -> None:
    header, chance = make_bundle().header, random.Random(1)
    living: dict[int, BundleEntry] = {}
    order = ByExpiry(lambda entry: id(entry) in living)
    for number in range(5000):
        entry = entry_of(header, 1, 300, ALICE.sign_id, chance.random(), False, False)
        living[id(entry)] = entry
        order.add(entry, len(living))
        if number > 100:
            if number % 2:
                del living[chance.choice(list(living))]
            else:
                first = order.first()
                assert first is min(living.values())
                del living[id(first)]
        assert len(order._heap) <= len(living) * 1.25 + 70
    living.clear()
    assert order.first() is None
    assert order.first() is None
