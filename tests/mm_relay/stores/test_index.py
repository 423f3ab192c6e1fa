"""What the index of a local store costs and forgets; its behaviour is tested as that of the store (test_model.py)."""

import tracemalloc

from mm_relay.stores.contract import Usage
from mm_relay.stores.index import STALE, Index, Mark, NoteMark
from mmplatform.codec import Decoder, encode

COUNT = 10_000


def key(name: int) -> bytes:
    return name.to_bytes(32)


def mark(number: int) -> Mark:
    return Mark(
        key(number % 50), key(number % 70), key(number % 50), number.to_bytes(16), 2**41 + number, 65_536, "", ""
    )


def test_memory_of_an_envelope_and_of_a_note() -> None:
    marks = [encode(mark(number)) for number in range(COUNT)]
    notes = [
        encode(NoteMark(key(n % 50), key(n % 50), key(n % 70), n.to_bytes(16), "delivered", "", n))
        for n in range(COUNT)
    ]
    read_mark, read_note = Decoder(Mark, 4096), Decoder(NoteMark, 4096)
    index = Index()
    tracemalloc.start()
    try:
        for number, row in enumerate(marks, 1):
            index.reserve(number, read_mark.decode(row))
            index.show(number)
        envelopes = tracemalloc.get_traced_memory()[0]
        for number, row in enumerate(notes, COUNT + 1):
            index.add_note(number, read_note.decode(row))
        both = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    print(f"{envelopes / COUNT:.0f} bytes an envelope, {(both - envelopes) / COUNT:.0f} a note")
    assert envelopes < 600 * COUNT
    assert both - envelopes < 700 * COUNT


def test_deadlines_of_what_has_gone_are_forgotten() -> None:
    index = Index()
    for number in range(1, 3 * STALE):
        index.reserve(number, mark(number))
        index.show(number)
        gone = index.withdraw(key(number % 50), number)
        assert gone is not None
        index.drop(number, gone)
        index.add_note(number, NoteMark(key(1), key(1), key(2), bytes(16), "delivered", "", number))
        index.drop_note(number)
    assert index.due(0, 10) == index.old_notes(0, 10) == []
    assert not index._deadlines
    assert not index._ages
    assert index.usage() == Usage(0, 0, 0, 0)
    assert [index._boxes, index._tallies, index._known, index._known_notes, index._relays] == [{}] * 5
