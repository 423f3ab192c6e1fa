"""What could not be saved does not hold: who calls is told, and finds all as it was, in memory as on disk."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mmplatform import InvalidName, Platform, StorageFull
from tests.support.failing import FailingStorage
from tests.support.waiting import until
from tests.support.world import identity

BOB, CAROL, DAVE = (identity(number).sign_id for number in (2, 3, 4))
Change = Callable[[Platform], Awaitable[object]]


@pytest.fixture
async def storage() -> FailingStorage:
    return FailingStorage()


@pytest.fixture
async def alice(storage: FailingStorage) -> AsyncIterator[Platform]:
    async with Platform(storage, connection_info=(), friends=[BOB]) as alice:
        alice.on("error", lambda error, topic: None)
        await alice.contacts.rename(BOB, "bob")
        await alice.contacts.rename(CAROL, "carol")
        await alice.contacts.block(CAROL)
        await alice.contacts.rename(DAVE, "dave")
        await alice.contacts.move(DAVE, "devices")
        await alice.contacts.lists.make("@family", BOB, DAVE)
        yield alice
        storage.full = False


def known(platform: Platform) -> dict[str, Any]:
    """All that a node says of the people it knows."""
    people = platform.contacts
    keys = (BOB, CAROL, DAVE)
    return {
        "names": [people.name(key) for key in keys],
        "named": [people.named(name) for name in ("bob", "carol", "dave", "robert")],
        "scopes": [people.scope(key) for key in keys],
        "circles": [set(circle) for circle in (people.friends, people.devices, people.blocked)],
        "lists": {name: people.lists.members(name) for name in people.lists},
        "peers": sorted(status.sign_id for status in platform.peers()),
    }


CHANGES: dict[str, Change] = {
    "a list is made": lambda alice: alice.contacts.lists.make("@band", BOB),
    "a list is extended": lambda alice: alice.contacts.lists.extend("@family", CAROL),
    "a list is shortened": lambda alice: alice.contacts.lists.shorten("@family", BOB),
    "a list is removed": lambda alice: alice.contacts.lists.remove("@family"),
    "a name is changed": lambda alice: alice.contacts.rename(BOB, "robert"),
    "a name is taken away": lambda alice: alice.contacts.rename(BOB, ""),
    "a friend becomes a device": lambda alice: alice.contacts.move(BOB, "devices"),
    "a device becomes a stranger": lambda alice: alice.contacts.move(DAVE, "public"),
    "a stranger becomes a friend": lambda alice: alice.add(identity(5).sign_id, name="erin", circle="friends"),
    "a friend is removed": lambda alice: alice.contacts.remove(BOB),
    "a friend is blocked": lambda alice: alice.contacts.block(BOB),
    "a device is blocked": lambda alice: alice.contacts.block(DAVE, drop=True),
    "one is unblocked": lambda alice: alice.contacts.unblock(CAROL),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_that_is_not_saved_does_not_hold(alice: Platform, storage: FailingStorage, what: str) -> None:
    before = known(alice)
    storage.full = True
    with pytest.raises(StorageFull):
        await CHANGES[what](alice)
    assert known(alice) == before
    storage.full = False
    await CHANGES[what](alice)
    changed = known(alice)
    assert changed != before
    await alice.stop()
    async with Platform(storage, connection_info=()) as again:
        assert known(again) == changed, "and what is saved is what holds after a restart"


async def test_a_circle_that_is_changed_by_itself_goes_back(alice: Platform, storage: FailingStorage) -> None:
    told: list[Exception] = []
    alice.on("error", lambda error, topic: told.append(error))
    storage.full = True
    alice.contacts.friends.add(CAROL)
    alice.contacts.friends.discard(BOB)
    assert set(alice.contacts.friends) == {CAROL}, "at once"
    await until(lambda: set(alice.contacts.friends) == {BOB})
    assert (alice.contacts.scope(BOB), alice.contacts.scope(CAROL)) == ("friends", "public")
    assert {type(error) for error in told} == {StorageFull}


async def test_a_name_is_free_only_once_that_is_saved(alice: Platform, storage: FailingStorage) -> None:
    before = known(alice)
    storage.full = True
    renames = (alice.contacts.rename(BOB, "robert"), alice.contacts.rename(DAVE, "bob"))
    ends = await asyncio.gather(*renames, return_exceptions=True)
    assert [type(end) for end in ends] == [StorageFull, InvalidName]
    assert known(alice) == before
    storage.full = False
    await asyncio.gather(alice.contacts.rename(BOB, "robert"), alice.contacts.rename(DAVE, "bob"))
    assert (alice.contacts.named("robert"), alice.contacts.named("bob")) == (BOB, DAVE)
