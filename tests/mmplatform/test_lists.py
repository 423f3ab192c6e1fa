"""Lists of one's own: of known peers, under names that mean nothing else, saved when a call returns."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mmplatform import InvalidKey, InvalidName, LocalError, Platform, StorageCorrupt
from mmplatform.lists import Lists
from tests.support.world import identity

BOB, CAROL, DAVE, ERIN = (identity(number).sign_id for number in (2, 3, 4, 5))


@pytest.fixture
async def alice() -> AsyncIterator[Platform]:
    async with Platform(connection_info=(), friends=[BOB, CAROL]) as alice:
        await alice.contacts.rename(BOB, "bob")
        await alice.contacts.rename(DAVE, "dave")
        yield alice


@pytest.fixture
def lists(alice: Platform) -> Lists:
    return alice.contacts.lists


async def test_a_list_is_made_extended_shortened_and_removed(lists: Lists) -> None:
    await lists.make("@family", "bob", CAROL)
    await lists.make("@band")
    await lists.extend("@family", "dave", BOB)
    assert lists.members("@family") == (BOB, CAROL, DAVE)
    await lists.shorten("@family", "bob", "dave")
    assert (list(lists), lists.members("@family"), lists.members("@band")) == (["@band", "@family"], (CAROL,), ())
    await lists.remove("@family")
    assert ("@family" in lists, list(lists)) == (False, ["@band"])


async def test_lists_are_there_after_a_restart(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=(), friends=[BOB, CAROL]) as alice:
        await alice.contacts.lists.make("@family", BOB, CAROL)
        await alice.contacts.lists.make("@band", BOB)
        await alice.contacts.lists.shorten("@family", BOB)
        await alice.contacts.lists.remove("@band")
    async with Platform(tmp_path, connection_info=()) as alice:
        assert [(name, alice.contacts.lists.members(name)) for name in alice.contacts.lists] == [("@family", (CAROL,))]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("@local", "this process"),
        ("@self", "your own devices"),
        ("@friends", "all your friends"),
        ("@devices", "other devices"),
        ("@public", "everybody else"),
        ("family", "begins with @, as '@family'"),
        ("@", "1 to 64 printable"),
        ("@@x", "1 to 64 printable"),
        ("@-x", "1 to 64 printable"),
        ("@x\n", "1 to 64 printable"),
        ("@" + "x" * 65, "1 to 64 printable"),
        (f"@{BOB}", "is no signId"),
    ],
)
async def test_a_name_that_is_none_is_refused_with_the_reason(lists: Lists, name: str, why: str) -> None:
    with pytest.raises(InvalidName, match=why):
        await lists.make(name)
    assert list(lists) == []


async def test_a_name_is_that_of_one_list(lists: Lists) -> None:
    await lists.make("@family", "bob")
    with pytest.raises(InvalidName, match="a list already"):
        await lists.make("@family", CAROL)
    assert lists.members("@family") == (BOB,)


async def test_only_who_is_known_can_be_a_member(alice: Platform, lists: Lists) -> None:
    await lists.make("@family", "bob")
    with pytest.raises(LocalError, match="not known here"):
        await lists.extend("@family", CAROL, ERIN)
    with pytest.raises(LocalError, match="our own key"):
        await lists.extend("@family", alice.sign_id)
    with pytest.raises(InvalidKey, match="neither a signId nor the name"):
        await lists.extend("@family", "erin")
    with pytest.raises(InvalidKey, match="is a list or a circle"):
        await lists.extend("@family", "@family")
    with pytest.raises(LocalError, match="dave: not in @family"):
        await lists.shorten("@family", "bob", "dave")
    assert lists.members("@family") == (BOB,), "nothing was done"


async def test_a_list_that_is_none_is_told_from_those_there_are(lists: Lists) -> None:
    with pytest.raises(InvalidKey, match="there is none yet"):
        lists.members("@famly")
    await lists.make("@family")
    with pytest.raises(InvalidKey, match=r"'@famly' is not the name of a list here \(@family\)"):
        await lists.extend("@famly", "bob")
    with pytest.raises(InvalidKey):
        await lists.remove("@famly")


async def test_who_is_removed_or_blocked_leaves_all_lists(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=(), friends=[BOB, CAROL, DAVE]) as alice:
        for name in ("@family", "@band"):
            await alice.contacts.lists.make(name, BOB, CAROL, DAVE)
        await alice.contacts.remove(BOB)
        await alice.contacts.block(CAROL)
        await alice.contacts.unblock(CAROL)
        assert [alice.contacts.lists.members(name) for name in alice.contacts.lists] == [(DAVE,), (DAVE,)]
    async with Platform(tmp_path, connection_info=()) as alice:
        assert [alice.contacts.lists.members(name) for name in alice.contacts.lists] == [(DAVE,), (DAVE,)]


async def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=(), friends=[BOB]) as alice:
        await alice.storage.put(b"list/@family", b"\xc1")
    with pytest.raises(StorageCorrupt, match="a saved list cannot be read"):
        await Platform(tmp_path, connection_info=()).start()


async def test_members_of_circles_and_lists_are_those_to_whom_something_can_be_sent(alice: Platform) -> None:
    people = alice.contacts
    people.devices.add(alice.sign_id, DAVE)
    await people.lists.make("@family", "bob")
    assert people.members("@friends") == [BOB, CAROL]
    assert people.members("@devices") == [DAVE], "not this node itself"
    assert people.members("@family") == [BOB]
    await people.lists.shorten("@family", "bob")
    with pytest.raises(LocalError, match="nobody is in '@family'"):
        people.members("@family")
    for name in ("@self", "@public", "@local"):
        with pytest.raises(InvalidKey, match="@friends and @devices are"):
            people.members(name)
