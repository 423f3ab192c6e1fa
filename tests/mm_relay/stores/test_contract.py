"""The contract of mail stores, the same cases for each of them."""

import asyncio
import gc
import random
import sys

import pytest

from mm_relay.stores import contract
from mm_relay.stores.contract import NOTES_KEPT, Caps, MailStore, Note, OverQuota, StoredEnvelope, Usage
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import MAX_MAIL
from mmplatform.errors import StorageError
from mmplatform.identity.keys import Identity, raw_key
from tests.support.stores import ALL, LATER, NO_CAPS, Home, ids, key, mail, noted, put, waiting

RELAY = Identity.from_seed(bytes(32))
ADDRESS = format_relay("wss://relay.example/", RELAY.sign_id)
OTHER_ADDRESS = format_relay("wss://other.example/", Identity.from_seed(bytes([1] * 32)).sign_id)
RELAY_KEY = raw_key(RELAY.sign_id)


# Envelopes in order.


async def test_what_is_put_is_handed_out_as_it_was(store: MailStore) -> None:
    one = mail(size=0, origin=ADDRESS)
    two = mail(size=300, via="relay+wss://other/x")._replace(envelope=bytes(range(256)))
    kept = [await put(store, one), await put(store, two)]
    assert kept == [one._replace(number=kept[0].number), two._replace(number=kept[1].number)]
    assert await waiting(store) == kept
    assert 0 < kept[0].number < kept[1].number < 2**53
    assert await store.usage() == Usage(2, 256, 1, 0)


async def test_the_largest_envelope(store: MailStore) -> None:
    kept = await put(store, mail(size=MAX_MAIL))
    assert await waiting(store) == [kept]


async def test_an_empty_store(store: MailStore) -> None:
    assert await waiting(store) == []
    assert await noted(store) == []
    assert await store.end(key("bob"), [1, 2], "delivered") == []
    assert await store.end(key("bob"), [], "delivered") == []
    assert await store.expire(LATER, 10) == []
    await store.forget_notes(key("alice"), ALL)
    assert await store.boxes(b"", 10) == []
    assert await store.usage() == Usage(0, 0, 0, 0)


async def test_order_is_the_order_of_the_calls(store: MailStore) -> None:
    kept = await asyncio.gather(*[put(store, mail(number % 3, size=number)) for number in range(300)])
    assert [one.number for one in kept] == sorted({one.number for one in kept})
    assert await waiting(store) == list(kept)


async def test_collect_by_count_size_and_after(store: MailStore) -> None:
    kept = await asyncio.gather(*[put(store, mail(size=100)) for _ in range(50)])
    await put(store, mail(target="carol"))
    box = key("bob")
    assert await store.collect(box, 0, 3, ALL) == kept[:3]
    assert await store.collect(box, kept[2].number, 3, ALL) == kept[3:6]
    assert await store.collect(box, kept[2].number, ALL, 250) == kept[3:5]
    assert await store.collect(box, kept[2].number, ALL, 200) == kept[3:5]
    assert await store.collect(box, 0, 10, 1) == kept[:1]
    assert await store.collect(box, 0, ALL, 4500) == kept[:45]
    assert await store.collect(box, kept[-1].number, 10, ALL) == []
    assert await store.collect(box, kept[0].number - 1, 1, ALL) == kept[:1]


async def test_numbers_are_never_used_again(home: Home) -> None:
    seen: list[int] = []
    for _ in range(3):
        async with home.store() as store:
            for _ in range(3):
                kept = await put(store, mail())
                assert await store.end(kept.target, [kept.number], "") == []
                seen.append(kept.number)
    assert seen == sorted(set(seen))


# Twice is once.


async def test_the_same_again_resolves_with_the_first(store: MailStore) -> None:
    first = await put(store, mail(id=7, expires=LATER))
    again = await put(store, mail(id=7, expires=LATER + 5))
    assert (again.number, again.expires) == (first.number, LATER)
    assert await waiting(store) == [first]
    assert (await store.usage()).envelopes == 1
    await asyncio.gather(put(store, mail("dora", id=7)), put(store, mail(target="carol", id=7)))
    assert (await store.usage()).envelopes == 3


async def test_the_same_many_times_at_once(store: MailStore) -> None:
    kept = await asyncio.gather(*[put(store, mail(id=7, size=100), Caps(box_bytes=100)) for _ in range(20)])
    assert len({one.number for one in kept}) == 1
    assert len(await waiting(store)) == 1


async def test_after_its_end_the_same_is_new(store: MailStore) -> None:
    first = await put(store, mail(id=7))
    ended = store.end(first.target, [first.number], "delivered")
    second = await put(store, mail(id=7))
    await ended
    assert second.number > first.number
    assert await waiting(store) == [second]
    again = await put(store, mail(id=7))
    assert again.number == second.number


# Quotas.


async def refusal(store: MailStore, one: StoredEnvelope, caps: Caps) -> str:
    try:
        await put(store, one, caps)
    except OverQuota as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (Caps(box_count=3), "overflow"), (Caps(box_bytes=300), "overflow"),
        (Caps(sender_count=3), "quota"), (Caps(sender_bytes=300), "quota"),
        (Caps(box_count=3, sender_count=3), "overflow"),
    ],
)  # fmt: skip
async def test_quotas_to_the_byte(store: MailStore, caps: Caps, reason: str) -> None:
    kept = [await put(store, mail(size=100), caps) for _ in range(3)]
    assert await refusal(store, mail(size=1), caps) == reason
    assert await refusal(store, mail(sender="dora", size=1), caps) == (reason if reason == "overflow" else "")
    assert await refusal(store, mail(target="carol", size=1), caps) == (
        "quota" if caps.sender_count or caps.sender_bytes else ""
    )
    await store.end(key("bob"), [kept[1].number], "delivered")
    assert await refusal(store, mail(size=101), Caps(sender_bytes=300)) == "quota"


async def test_names_and_quotas_of_senders_are_per_relay_they_came_through(store: MailStore) -> None:
    caps = Caps(sender_count=2, origin_count=3, origin_bytes=300)
    kept = [await put(store, mail(origin=origin, id=5, size=100), caps) for origin in ("", ADDRESS, OTHER_ADDRESS)]
    assert len({one.number for one in kept}) == 3
    assert await refusal(store, mail("zoe", origin=ADDRESS, size=201), caps) == "quota"
    assert await refusal(store, mail(origin=ADDRESS, size=0), caps) == ""
    assert await refusal(store, mail(origin=ADDRESS, size=0), caps) == "quota"
    assert await refusal(store, mail("zoe", origin=ADDRESS, size=100), caps) == ""
    assert await refusal(store, mail("max", origin=ADDRESS, size=0), caps) == "quota"
    for _ in range(4):
        assert await refusal(store, mail(next(ids), size=1000), caps) == ""
    await store.end(key("bob"), [kept[1].number], "")
    assert await refusal(store, mail(origin=ADDRESS, size=0), caps) == ""
    assert await refusal(store, mail("max", origin=ADDRESS, size=0), caps) == "quota"


async def test_a_relay_is_its_key_whatever_host_it_names(store: MailStore) -> None:
    moved = format_relay("wss://elsewhere.example/", RELAY.sign_id)
    caps = Caps(sender_count=2, origin_count=3)
    first = await put(store, mail(origin=ADDRESS, id=5), caps)
    assert (await put(store, mail(origin=moved, id=5), caps)).number == first.number
    assert await refusal(store, mail(origin=moved), caps) == ""
    assert await refusal(store, mail(origin=moved), caps) == "quota"
    assert await refusal(store, mail("zoe", origin=moved), caps) == ""
    assert await refusal(store, mail("max", origin=ADDRESS), caps) == "quota"
    await store.end(key("bob"), [first.number], "")
    assert await refusal(store, mail("max", origin=moved), caps) == ""


async def test_how_full_a_box_is(store: MailStore) -> None:
    kept = [await put(store, mail(size=size)) for size in (0, 100, 20)]
    assert await store.filled(key("bob")) == (3, 120)
    await store.end(key("bob"), [kept[1].number], "delivered")
    assert await store.filled(key("bob")) == (2, 20)
    assert await store.filled(key("alice")) == (0, 0)


async def test_room_comes_back(store: MailStore) -> None:
    caps = Caps(300, 3, 300, 3)
    kept = [await put(store, mail(size=100), caps) for _ in range(3)]
    for number in range(5):
        assert await refusal(store, mail(size=100), caps) == "overflow"
        await store.end(key("bob"), [kept[number].number], "")
        kept.append(await put(store, mail(size=100), caps))
    assert await waiting(store) == kept[-3:]


async def test_quotas_are_exact_under_concurrency(home: Home) -> None:
    """Also between two processes' worth of stores, when they can share."""
    async with home.store() as one:
        other = home.store() if home.name == "redis" else one
        await other.open()
        caps = Caps(box_count=40, sender_count=15)
        puts = [(one, other)[number % 2].put(key("bob"), mail(number % 5), caps) for number in range(300)]
        results = await asyncio.gather(*puts, return_exceptions=True)
        reasons = [result.reason for result in results if isinstance(result, OverQuota)]
        assert len(reasons) == 260
        assert len(await waiting(one)) == 40
        assert (await other.usage()).envelopes == 40
        await other.close()


async def test_an_envelope_that_is_declined_is_held_no_longer_than_its_sender_holds_it(store: MailStore) -> None:
    declined = mail(size=100)
    before = sys.getrefcount(declined)
    gc.disable()  # what refers to itself stays until the collector comes, which is late in a flood
    try:
        with pytest.raises(OverQuota):
            await store.put(declined.target, declined, Caps(box_bytes=99))
        await asyncio.sleep(0)
        after = sys.getrefcount(declined)
    finally:
        gc.enable()
    assert after == before


# Ends and notes.


async def test_an_end_leaves_a_note_in_one_step(store: MailStore) -> None:
    kept = [await put(store, mail(size=10)) for _ in range(4)]
    numbers = [kept[0].number, kept[2].number, kept[2].number, kept[3].number + 100]
    notes = await store.end(key("bob"), numbers, "delivered")
    assert [(note.box, note.sender, note.target, note.id, note.state, note.origin) for note in notes] == [
        (one.sender, one.sender, one.target, one.id, "delivered", "") for one in (kept[0], kept[2])
    ]
    assert await noted(store) == notes
    assert await waiting(store) == [kept[1], kept[3]]
    assert await store.usage() == Usage(2, 20, 1, 2)
    assert await store.end(key("carol"), [kept[1].number], "delivered") == []
    assert await store.end(key("bob"), [kept[0].number], "delivered") == []
    assert len(await waiting(store)) == 2


async def test_what_came_through_a_relay_is_noted_in_its_box(store: MailStore) -> None:
    kept = await put(store, mail(origin=ADDRESS))
    [note] = await store.end(key("bob"), [kept.number], "delivered")
    assert (note.box, note.sender, note.origin) == (RELAY_KEY, key("alice"), ADDRESS)
    assert await store.notes(RELAY_KEY, 0, 10) == [note]
    assert await noted(store) == []


async def test_notes_by_number(store: MailStore) -> None:
    for _ in range(10):
        kept = await put(store, mail())
        await store.end(key("bob"), [kept.number], "refused")
    notes = await noted(store)
    assert [note.number for note in notes] == sorted({note.number for note in notes})
    assert await store.notes(key("alice"), notes[3].number, 2) == notes[4:6]
    await store.forget_notes(key("alice"), notes[6].number)
    assert await noted(store) == notes[7:]
    await store.forget_notes(key("bob"), ALL)
    await store.forget_notes(key("alice"), notes[6].number)
    assert len(await noted(store)) == 3
    assert (await store.usage()).notes == 3


async def test_a_note_of_another_relay_is_kept_once(store: MailStore) -> None:
    note = Note(99, key("alice"), key("alice"), key("bob"), bytes(16), "expired")
    first, second = await asyncio.gather(store.add_note(note), store.add_note(note))
    third = await store.add_note(note)
    assert first == second == third == note._replace(number=first.number)
    other = await store.add_note(note._replace(id=bytes(15) + b"1", origin=ADDRESS))
    assert await noted(store) == [first, other]
    await store.forget_notes(key("alice"), other.number)
    again = await store.add_note(note)
    assert again.number > other.number


async def test_notes_are_bounded(store: MailStore, monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setattr(sys.modules[type(store).__module__], "MOST_NOTES", 5)
    assert contract.MOST_NOTES > 5
    for _ in range(8):
        kept = await put(store, mail())
        await store.end(key("bob"), [kept.number], "delivered")
    notes = await noted(store)
    assert len(notes) == 5
    added = await store.add_note(notes[0]._replace(id=bytes(16)))
    assert await noted(store) == [*notes[1:], added]


# Time.


async def test_expiry_ends_what_is_due(store: MailStore) -> None:
    times = [5000, 1000, 3000, 2000, 4000]
    kept = {at: await put(store, mail(at, expires=at)) for at in times}
    assert await store.expire(999, 10) == []
    notes = await store.expire(3000, 2)
    assert [(note.state, note.id) for note in notes] == [("expired", kept[1000].id), ("expired", kept[2000].id)]
    assert [note.id for note in await store.expire(3000, 2)] == [kept[3000].id]
    assert await store.expire(3000, 2) == []
    assert await waiting(store) == [kept[5000], kept[4000]]
    assert await noted(store, 1000) == notes[:1]
    await store.end(key("bob"), [kept[4000].number], "delivered")
    assert [note.id for note in await store.expire(9000, 10)] == [kept[5000].id]
    assert (await store.usage())[:3] == (0, 0, 0)


async def test_each_envelope_expires_once(home: Home) -> None:
    async with home.store() as one:
        other = home.store() if home.name == "redis" else one
        await other.open()
        for number in range(100):
            await put(one, mail(expires=1000 + number))
        told = await asyncio.gather(*[store.expire(5000, 7) for _ in range(10) for store in (one, other)])
        ended = [note.id for notes in told for note in notes]
        assert len(ended) == len(set(ended)) == 100
        assert (await one.usage()).notes == 100
        await other.close()


async def test_old_notes_are_dropped(store: MailStore, home: Home) -> None:
    now = int(home.at * 1000)
    for _ in range(3):
        kept = await put(store, mail())
        await store.end(key("bob"), [kept.number], "delivered")
    home.at += 100
    fresh = await store.add_note(Note(0, key("alice"), key("alice"), key("bob"), bytes(16), "expired"))
    await store.expire(now + NOTES_KEPT, 10)
    assert len(await noted(store)) == 4
    assert await store.expire(now + NOTES_KEPT + 1, 10) == []
    assert await noted(store) == [fresh]


# Boxes of other relays.


async def test_boxes_of_relays(store: MailStore) -> None:
    for number in (3, 1, 2):
        address = f"relay+wss://r{number}.example/x"
        await store.put(key(number), mail(target="carol", via=address), NO_CAPS)
    await put(store, mail())
    kept = await put(store, mail(origin=ADDRESS))
    await store.end(key("bob"), [kept.number], "delivered")
    addresses = {key(number): f"relay+wss://r{number}.example/x" for number in (1, 2, 3)} | {RELAY_KEY: ADDRESS}
    expected = sorted(addresses.items())
    assert await store.boxes(b"", 10) == expected
    assert await store.boxes(b"", 2) == expected[:2]
    assert await store.boxes(expected[1][0], 10) == expected[2:]
    [mine] = await waiting(store, 2)
    assert await store.end(key(2), [mine.number], "") == []
    await store.forget_notes(RELAY_KEY, ALL)
    assert [box for box, _ in await store.boxes(b"", 10)] == [key(1), key(3)]
    assert await noted(store) == []


# Open, close, restart.


async def test_everything_is_there_again(home: Home) -> None:
    caps = Caps(box_count=6, sender_bytes=1000)
    async with home.store() as store:
        kept = [await put(store, mail(size=100, expires=LATER + number), caps) for number in range(6)]
        await store.put(key("relay"), mail(target="carol", via=ADDRESS), caps)
        notes = await store.end(key("bob"), [kept[0].number, kept[3].number], "delivered")
        added = await store.add_note(Note(0, key("alice"), key("alice"), key("dora"), bytes(16), "expired"))
        usage, boxes = await store.usage(), await store.boxes(b"", 10)
    async with home.store() as store:
        assert await store.usage() == usage
        assert await store.boxes(b"", 10) == boxes == [(key("relay"), ADDRESS)]
        assert await waiting(store) == [kept[1], kept[2], kept[4], kept[5]]
        assert await noted(store) == [*notes, added]
        assert await store.add_note(added._replace(number=0)) == added
        again = await put(store, kept[1])
        assert again == kept[1]
        more = [await put(store, mail(size=100), caps) for _ in range(2)]
        assert await refusal(store, mail(), caps) == "overflow"
        assert more[0].number > added.number
        assert len(await store.expire(LATER + 4, 10)) == 6
    assert home.failures == []


async def test_closed_is_closed(home: Home) -> None:
    store = home.store()
    calls = [
        lambda: put(store, mail()), lambda: store.collect(key(1), 0, 1, 1), lambda: store.end(key(1), [1], "delivered"),
        lambda: store.expire(1, 1), lambda: store.add_note(Note(0, key(1), key(1), key(2), bytes(16), "expired")),
        lambda: store.notes(key(1), 0, 1), lambda: store.forget_notes(key(1), 1), lambda: store.boxes(b"", 1),
        lambda: store.usage(),
    ]  # fmt: skip
    for _ in range(2):
        for call in calls:
            with pytest.raises(StorageError, match="open"):
                await call()
        await store.open()
        await store.open()
        await put(store, mail())
        await store.close()
        await store.close()


async def test_close_waits_for_what_was_put(home: Home) -> None:
    store = home.store()
    await store.open()
    puts = [store.put(key("bob"), mail(), NO_CAPS) for _ in range(10)]
    await store.close()
    kept = [await one for one in puts]
    async with home.store() as store:
        assert await waiting(store) == kept


async def test_who_does_not_wait_any_more_changes_nothing(store: MailStore) -> None:
    given_up = store.put(key("bob"), mail(id=7), NO_CAPS)
    given_up.cancel()
    kept = await put(store, mail(id=7))
    assert await waiting(store) == [kept]
    ended = store.end(key("bob"), [kept.number], "delivered")
    ended.cancel()
    await put(store, mail(target="carol"))
    assert len(await noted(store)) == 1


async def test_many_boxes_and_senders_at_random(store: MailStore) -> None:
    chance = random.Random(4)
    expected: dict[bytes, list[StoredEnvelope]] = {key(box): [] for box in range(5)}
    for _ in range(30):
        puts = [put(store, mail(chance.randrange(9), chance.randrange(5), chance.randrange(2000))) for _ in range(20)]
        for one in await asyncio.gather(*puts):
            expected[one.target].append(one)
        box = key(chance.randrange(5))
        gone = chance.sample(expected[box], k=len(expected[box]) // 2)
        await store.end(box, [one.number for one in gone], chance.choice(["delivered", ""]))
        expected[box] = [one for one in expected[box] if one not in gone]
    for box, kept in expected.items():
        assert await store.collect(box, 0, ALL, ALL) == kept
    usage = await store.usage()
    everything = [one for kept in expected.values() for one in kept]
    assert usage[:2] == (len(everything), sum(len(one.envelope) for one in everything))


async def test_a_check_writes_and_leaves_no_mail_behind(store: MailStore) -> None:
    await store.check()
    assert await store.usage() == Usage(0, 0, 0, 0)


async def test_the_epoch_stays_while_nothing_is_lost(store: MailStore) -> None:
    before = store.epoch
    await put(store, mail())
    await store.usage()
    assert store.epoch == before != ""
