"""Ids that are remembered, each until its time is over."""

import random

from mm_services.messenger.store.remembered_ids import SLOT, RememberedIds


def name(number: int) -> bytes:
    return number.to_bytes(16)


def test_an_id_is_remembered_until_its_time_is_over_and_little_longer() -> None:
    ids = RememberedIds(10)
    assert ids.add(name(1), 1000) == []
    assert name(1) in ids
    assert 1000 <= ids.until(name(1)) < 1000 + SLOT
    assert ids.expire(999) == []
    assert ids.expire(1000 + SLOT) == [name(1)]
    assert name(1) not in ids
    assert len(ids) == 0


def test_of_too_many_those_go_first_whose_time_is_over_first() -> None:
    ids = RememberedIds(3)
    assert [ids.add(name(number), number * 1000) for number in (5, 3, 4)] == [[], [], []]
    assert ids.add(name(6), 6000) == [name(3)]
    assert ids.add(name(1), 1000) == [name(1)]
    ids.discard(name(4))
    ids.discard(name(4))
    assert ids.add(name(7), 7000) == []
    assert ids.add(name(8), 8000) == [name(5)]
    assert sorted(ids) == [name(6), name(7), name(8)]
    assert RememberedIds(0).add(name(1), 1000) == [name(1)]


def test_a_time_that_changes_counts_as_it_was_said_last() -> None:
    ids = RememberedIds(10)
    for expires in (1000, 5000, 1000, 5000):
        ids.add(name(1), expires)
    assert ids.expire(4000) == []
    assert ids.expire(6000) == [name(1)]
    ids.add(name(1), 9000)
    ids.discard(name(1))
    assert ids.expire(10_000) == []


def test_any_sequence_does_what_a_dictionary_does() -> None:
    chance = random.Random(3)
    ids, model = RememberedIds(40), dict[bytes, int]()
    for _ in range(5000):
        bundle, now = name(chance.randrange(80)), chance.randrange(10)
        match chance.randrange(8):
            case 0:
                ids.discard(bundle)
                model.pop(bundle, None)
            case 1 if chance.random() < 0.1:
                over = {each for each, slot in model.items() if slot <= now}
                assert set(ids.expire(now * SLOT)) == over
                model = {each: slot for each, slot in model.items() if each not in over}
            case _:
                model[bundle] = chance.randrange(1, 12)
                for gone in ids.add(bundle, model[bundle] * SLOT - 1):
                    assert model[gone] == min(model.values())
                    del model[gone]
        assert set(ids) == model.keys()
        assert all(ids.until(each) == slot * SLOT for each, slot in model.items())
