"""What every store does with the shares of senders and addresses, with full boxes, and with who was here lately."""

import pytest

from mm_relay.stores import contract, lately, redis
from mm_relay.stores.contract import Caps, MailStore, Note, OverQuota, StoredEnvelope
from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity
from tests.support.stores import ALL, LATER, Home, key, mail

RELAY = format_relay("wss://relay.example/", Identity.from_seed(bytes(32)).sign_id)
FULL = Caps(box_bytes=100, box_count=10, gives_way=True)


async def put(store: MailStore, one: StoredEnvelope, caps: Caps, told: list[Note] | None = None) -> StoredEnvelope:
    return await store.put(one.target, one, caps, (told if told is not None else []).extend)


async def refusal(store: MailStore, one: StoredEnvelope, caps: Caps) -> str:
    with pytest.raises(OverQuota) as refused:
        await put(store, one, caps)
    return refused.value.reason


async def senders(store: MailStore) -> list[bytes]:
    return [one.sender for one in await store.collect(key("bob"), 0, 100, ALL)]


async def test_a_share_is_of_one_sender_in_one_box_to_the_byte(store: MailStore) -> None:
    caps = Caps(share_bytes=25, share_count=3)
    first = await put(store, mail(size=20), caps)
    assert await refusal(store, mail(size=6), caps) == "quota"
    await put(store, mail(size=5), caps)
    await put(store, mail(target="carol", size=25), caps)
    await put(store, mail("dave", size=25), caps)
    await put(store, mail(size=25, origin=RELAY), caps)
    await store.end(key("bob"), [first.number], "delivered")
    await put(store, mail(size=1), caps)
    await put(store, mail(size=1), caps)
    assert await refusal(store, mail(size=1), caps) == "quota"


async def test_an_address_has_a_quota_in_all_and_a_share_of_a_box(home: Home) -> None:
    caps = Caps(place_bytes=50, place_count=4, place_share_bytes=30, place_share_count=2)
    async with home.store() as store:
        await put(store, mail("alice", size=20)._replace(place=b"here"), caps)
        await put(store, mail("mallory", size=10)._replace(place=b"here"), caps)
        assert await refusal(store, mail("eve", size=0)._replace(place=b"here"), caps) == "quota"
        await put(store, mail("eve", size=50)._replace(place=b""), caps)
        await put(store, mail("eve", "carol", size=20)._replace(place=b"here"), caps)
        assert await refusal(store, mail("eve", "dave", size=1)._replace(place=b"here"), caps) == "quota"
        await put(store, mail("eve", "dave", size=30)._replace(place=b"there"), caps)
    async with home.store() as store:  # a restart forgets nothing of it
        assert await refusal(store, mail("eve", "dave", size=1)._replace(place=b"here"), caps) == "quota"
        await store.expire(LATER, 100)
        await put(store, mail("eve", size=30, expires=2 * LATER)._replace(place=b"here"), caps)


async def test_the_newest_of_the_largest_sender_gives_way_to_who_has_less(store: MailStore) -> None:
    large = [await put(store, mail("mallory", size=20), FULL) for _ in range(4)]
    await put(store, mail("carol", size=15), FULL)
    told: list[Note] = []
    kept = await put(store, mail("alice", size=30), FULL, told)
    assert [(note.sender, note.id, note.state) for note in told] == [
        (key("mallory"), large[3].id, "overflow"), (key("mallory"), large[2].id, "overflow"),
    ]  # fmt: skip
    assert await senders(store) == [key("mallory"), key("mallory"), key("carol"), key("alice")]
    assert kept.number > large[3].number
    assert await store.notes(key("mallory"), 0, 9) == told
    assert await store.filled(key("bob")) == (4, 85)


async def test_of_many_the_number_gives_way_too(store: MailStore) -> None:
    for _ in range(9):
        await put(store, mail("mallory", size=2), FULL)
    await put(store, mail("carol", size=3), FULL)
    told: list[Note] = []
    await put(store, mail("alice", size=2), FULL, told)
    assert len(told) == 1
    assert await store.filled(key("bob")) == (10, 21)


async def test_nobody_gives_way_to_who_has_as_much_or_would_not_fit(store: MailStore) -> None:
    await put(store, mail("mallory", size=50), FULL)
    await put(store, mail("alice", size=40), FULL)
    assert await refusal(store, mail("alice", size=20), FULL) == "overflow"
    assert await refusal(store, mail("mallory", size=20), FULL) == "overflow"
    assert await refusal(store, mail("carol", size=50), FULL) == "overflow"
    assert await refusal(store, mail("carol", size=20), FULL._replace(gives_way=False)) == "overflow"
    assert await refusal(store, mail("carol", size=20), FULL._replace(share_bytes=10)) == "quota"
    assert await store.filled(key("bob")) == (2, 90)
    assert await store.notes(key("mallory"), 0, 9) == []


async def test_what_came_through_a_relay_is_told_to_that_relay(store: MailStore) -> None:
    gone = await put(store, mail("mallory", size=90, origin=RELAY), FULL)
    told: list[Note] = []
    await put(store, mail("alice", size=20), FULL, told)
    assert [(note.origin, note.sender, note.id) for note in told] == [(RELAY, key("mallory"), gone.id)]


async def test_who_was_here_is_known_after_a_restart_and_not_for_ever(home: Home) -> None:
    now = int(home.at * 1000)
    async with home.store() as store:
        store.here(key("bob"), b"there")
        assert await refusal(store, mail(target="carol"), Caps(here_since=now)) == "storage"
        await put(store, mail(), Caps(here_since=now))
    async with home.store() as store:
        await put(store, mail(), Caps(here_since=now))
        assert await refusal(store, mail(), Caps(here_since=now + 1)) == "storage"
        home.at += contract.HERE_AGAIN / 1000
        store.here(key("bob"), b"elsewhere")
        await put(store, mail(), Caps(here_since=now + 1))


async def test_keys_of_one_address_push_out_only_one_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lately, redis):
        monkeypatch.setattr(module, "MOST_HERE_A_PLACE", 2)
    now = Caps(here_since=int(home.at * 1000))
    async with home.store() as store:
        store.here(key("bob"), b"there")
        for number in range(3):
            home.at += 0.001
            store.here(key(number), b"here")
        await put(store, mail(), now)
        assert await refusal(store, mail(target=0), now) == "storage"
        await put(store, mail(target=1), now)
        await put(store, mail(target=2), now)
