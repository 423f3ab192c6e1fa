"""A service of somebody else: named or held as an object, it keeps rows, hears peers, answers and sends."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mmplatform import Platform
from mmplatform.diagnosis import examine
from mmplatform.errors import LocalError, NoResponders, Refused
from mmplatform.plugins.check import CheckState, ok
from tests.support.packages import run_tests, write_programs
from tests.support.waiting import until
from tests.support.world import World, collect

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "service.rst"
LONGEST = 120  # lines of all its files together


@pytest.fixture
def mm_guestbook(installed: Callable[[str, str], ModuleType]) -> ModuleType:
    return installed("service", "mm_guestbook")


def test_it_is_short(length: Callable[[str], int]) -> None:
    assert length("service") < LONGEST


async def test_friends_and_strangers_write_and_friends_read(mm_guestbook: ModuleType, tmp_path: Path) -> None:
    world, books = World(), [mm_guestbook.Guestbook() for _ in range(2)]
    async with (
        world.node(1, storage=tmp_path / "alice", services=["guestbook"]) as alice,
        world.node(2, services=[books[0]]) as bob,
        world.node(3, services=[books[1]]) as eve,
    ):
        mine = alice.service(mm_guestbook.Guestbook)
        alice.set_up()
        assert alice.services == (mine,)
        for peer in (bob, eve):
            await peer.add(alice.ticket())
        alice.contacts.friends.add(bob.sign_id)
        thanks = collect(eve, "public.guestbook.thanks")
        for book, text in ((books[0], "from a friend"), (books[0], "again"), (books[1], "old"), (books[1], "new")):
            await (await book.sign(alice.sign_id, text))
        assert [(who, text) for who, text, _ in await mine.entries()] == (expected := [
            (bob.sign_id, "from a friend"), (bob.sign_id, "again"), (eve.sign_id, "new")
        ])  # fmt: skip
        assert [(who, text) for who, text, _ in await books[0].read(alice.sign_id)] == expected
        with pytest.raises(NoResponders):
            await books[1].read(alice.sign_id)
        await until(lambda: thanks == ["Thank you, stranger"] * 2)
        assert ok("guestbook", "2 entries of friends, 1 of others") in await examine(alice, None, [])
    async with world.node(1, storage=tmp_path / "alice", services=["guestbook"]) as alice:
        assert len(await alice.service(mm_guestbook.Guestbook).entries()) == 3


async def test_what_does_not_belong_in_it(mm_guestbook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mm_guestbook, "MAX_STRANGERS", 1)
    world, book = World(), mm_guestbook.Guestbook()
    async with world.node(1, services=["guestbook"]) as alice, world.node(2, services=[book]) as bob:
        mine = alice.service(mm_guestbook.Guestbook)
        await bob.add(alice.ticket())
        for text in ("", "x" * 501):
            with pytest.raises(Refused, match="at most 500"):
                await (await book.sign(alice.sign_id, text))
        await (await book.sign(alice.sign_id, "first"))
        async with world.node(3) as eve:
            await eve.add(alice.ticket())
            with pytest.raises(Refused, match="full"):
                await (await eve.messaging.send("guestbook.sign", alice.sign_id, "second"))
        assert [check.state for check in await mine.checks()] == [CheckState.WARNING]
        await mine.erase(bob.sign_id)
        assert await mine.entries() == []
        assert [check.state for check in await mine.checks()] == [CheckState.OK]


@pytest.mark.slow
def test_the_programs_of_the_page_work(tmp_path: Path) -> None:
    assert write_programs(PAGE, tmp_path / "site") == ["greeter.py", "test_greeter.py"]
    assert run_tests(tmp_path / "site" / "test_greeter.py", tmp_path / "site") == {"passed": 1}


async def test_a_node_without_it_says_what_to_do(mm_guestbook: ModuleType) -> None:
    with pytest.raises(LocalError, match="no service of this platform is a Guestbook"):
        Platform(transports=[]).service(mm_guestbook.Guestbook)
