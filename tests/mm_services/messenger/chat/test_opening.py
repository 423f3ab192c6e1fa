"""The chat over real messengers, between nodes with links: what is said arrives, and its way is told, over restarts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.history import HistoryFile
from mm_services.messenger.chat.lines import LineState
from mm_services.messenger.chat.opening import HISTORY, begun, opened
from mm_services.messenger.chat.options import ChatOptions
from mm_services.messenger.service import Messenger
from mmplatform.cli.node.host import Host
from mmplatform.errors import FolderInUse
from mmplatform.platform import Platform
from tests.support.chats import NotingView, said, states
from tests.support.cli import LOOPBACK
from tests.support.waiting import until

RECEIVED, READ = LineState.RECEIVED, LineState.READ


class Talker:
    """Somebody with a folder, whose node and chat begin and end as they like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view = NotingView()

    @asynccontextmanager
    async def node(self) -> AsyncIterator[tuple[Platform, Messenger]]:
        messenger = Messenger()
        async with Platform(
            self.folder, services=[messenger], connection_info=LOOPBACK, transports=["tcp"]
        ) as platform:
            yield platform, messenger

    @asynccontextmanager
    async def chatting(self, to: str) -> AsyncIterator[Chat]:
        async with (
            self.node() as (platform, messenger),
            begun(platform, messenger, ChatOptions(self.folder, to), self.view) as chat,
        ):
            yield chat


@pytest.fixture
async def friends(tmp_path: Path) -> tuple[Talker, Talker]:
    alice, bob = Talker(tmp_path / "alice"), Talker(tmp_path / "bob")
    async with alice.node() as (hers, _), bob.node() as (his, _):
        await hers.add(his.ticket(), name="bob", circle="friends")
        await his.add(hers.ticket(), name="alice", circle="friends")
    return alice, bob


async def test_what_is_said_arrives_and_its_way_is_told(friends: tuple[Talker, Talker], tmp_path: Path) -> None:
    alice, bob = friends
    (tmp_path / "photo.jpg").write_bytes(bytes(300_000))
    async with alice.chatting("bob") as chat, bob.chatting("alice") as his:
        chat.enter("hello bob")
        await until(lambda: states(chat.current) == [RECEIVED])
        his.seen(his.current)
        await until(lambda: states(chat.current) == [READ])
        his.enter(f"/share {tmp_path / 'photo.jpg'}")
        await until(lambda: states(his.current) == [LineState.HEARD, RECEIVED])
        assert said(chat) == ["hello bob", "photo.jpg, 293 KiB"]
        assert (alice.folder / "incoming" / "photo.jpg").read_bytes() == bytes(300_000)
        chat.enter("/ping")
        await until(lambda: any("bob is there" in text for text in said(chat)))
        chat.enter("/debug")
        assert any("neighbours: 1" in text for text in said(chat))
        assert chat.people.linked() == {chat.current.members[0]}


async def test_what_came_while_no_chat_ran_is_there_and_so_is_its_way(friends: tuple[Talker, Talker]) -> None:
    alice, bob = friends
    async with alice.chatting("bob") as chat:
        chat.enter("are you there?")
        await chat.flush()
        assert states(chat.current) == [LineState.WAITING]
    async with alice.node() as (_, messenger), bob.chatting("alice") as his:
        await until(lambda: his.current.end == 1)
        his.seen(his.current)
        await until(lambda: all(not entry.own for entry in messenger.bundles()))
        his.enter("I am")
        await his.flush()
        await until(lambda: len(messenger.bundles()) >= 1)
    async with alice.chatting("bob") as chat, bob.chatting("alice"):
        await until(lambda: said(chat) == ["are you there?", "I am"])
        await until(lambda: states(chat.current)[0] >= RECEIVED)


async def test_the_node_of_a_folder_serves_its_chat(
    friends: tuple[Talker, Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = friends
    monkeypatch.setenv("MM_SERVICES", "none")
    monkeypatch.setenv("MM_LISTEN", LOOPBACK[0])
    async with opened(ChatOptions(alice.folder, "bob"), alice.view) as chat:
        assert chat.people.label(chat.current) == "bob"
        with pytest.raises(FolderInUse, match="in use"):
            async with Host(alice.folder):
                raise AssertionError("it runs twice")
        with pytest.raises(FolderInUse) as raised:
            async with opened(ChatOptions(alice.folder), NotingView()):
                raise AssertionError("it runs twice")
        assert "stop mm run first" in raised.value.__notes__[0]
    assert not (alice.folder / "services").exists(), "mm run runs what it ran before"


async def test_a_history_that_cannot_be_opened_says_so(friends: tuple[Talker, Talker]) -> None:
    alice, _ = friends
    (alice.folder / HISTORY).mkdir()
    async with alice.node() as (platform, messenger):
        with pytest.raises(Exception, match="--no-history"):
            async with begun(platform, messenger, ChatOptions(alice.folder), alice.view):
                raise AssertionError("it began")
        async with begun(platform, messenger, ChatOptions(alice.folder, keeps_history=False), alice.view) as chat:
            chat.enter("hello")
            await chat.flush()
    assert HistoryFile(alice.folder / HISTORY).end == 0
