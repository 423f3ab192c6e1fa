"""The chat: what is typed is done, what is said goes out in order, and one sees how far it is."""

import threading
from pathlib import Path

import pytest

from mm_services.messenger.chat import chat as module
from mm_services.messenger.chat import files
from mm_services.messenger.chat.conversations import OTHERS
from mm_services.messenger.chat.lines import LineState
from mm_services.messenger.chat.payloads import MAX_TEXT
from mmplatform.errors import InvalidKey, LocalError, StorageFull
from tests.support.chats import Person, said, states
from tests.support.waiting import until

Pair = list[Person]


async def test_two_people_talk(pair: Pair) -> None:
    alice, bob = pair
    async with alice.chatting("bob") as chat, bob.chatting("alice") as his:
        for number in range(100):
            chat.enter(f"line {number}")
        his.enter("hello alice")
        await until(lambda: his.current.end == 101 and chat.current.end == 101)
        assert [text for text in said(his) if "line" in text] == [f"line {number}" for number in range(100)]
        assert said(chat)[-1] == "hello alice" or "hello alice" in said(chat)


async def test_how_far_a_line_is(pair: Pair) -> None:
    alice, bob = pair
    bob.talk.apart = True
    async with alice.chatting("bob") as chat:
        chat.enter("hi")
        assert states(chat.current) == [LineState.UNSAVED]
        await chat.flush()
        assert states(chat.current) == [LineState.WAITING]
        async with bob.chatting("alice") as his:
            bob.talk.come_back()
            await until(lambda: states(chat.current) == [LineState.RECEIVED])
            his.seen(his.current)
            await until(lambda: states(chat.current) == [LineState.READ])
    assert [state for _, _, state in alice.view.moves] == [
        LineState.WAITING, LineState.CARRIED, LineState.RECEIVED, LineState.READ,
    ]  # fmt: skip


async def test_nothing_is_lost_when_a_chat_begins_again(pair: Pair) -> None:
    alice, bob = pair
    async with alice.chatting("bob") as chat:
        async with bob.chatting("alice") as his:
            chat.enter("one")
            await until(lambda: his.current.end == 1)
        chat.enter("two")
        await chat.flush()
        async with bob.chatting("alice") as his:
            await until(lambda: his.current.end == 2)
            assert said(his) == ["one", "two"]
    async with alice.chatting("bob") as chat:
        assert said(chat) == ["one", "two"]
        await until(lambda: states(chat.current) == [LineState.RECEIVED] * 2)


async def test_several_talk_in_one_conversation(three: list[Person]) -> None:
    alice, bob, eve = three
    await alice.platform.contacts.lists.make("@family", "bob", "eve")
    async with alice.chatting("@family") as chat, bob.chatting() as his, eve.chatting() as hers:
        chat.enter("hello family")
        talk = lambda other, *keys: other.conversations.with_(keys)  # noqa: E731
        await until(lambda: said(his, talk(his, alice.key, eve.key)) == ["hello family"])
        his.turn_to(talk(his, alice.key, eve.key))
        his.enter("hello both")
        await until(lambda: said(chat) == ["hello family", "hello both"])
        await until(lambda: said(hers, talk(hers, alice.key, bob.key)) == ["hello family", "hello both"])
        assert chat.people.label(chat.current) == "@family"
        assert his.people.label(his.current) == "@friends"


async def test_everybody_hears_what_is_said_to_everybody(three: list[Person]) -> None:
    alice, bob, eve = three
    async with alice.chatting() as chat, bob.chatting() as his, eve.chatting() as hers:
        chat.enter("hello world")
        await until(lambda: said(his) == said(hers) == ["hello world"])
        await until(lambda: states(chat.current) == [LineState.RECEIVED])


async def test_commands(pair: Pair) -> None:
    alice, bob = pair
    async with alice.chatting() as chat:
        chat.enter("/to bob")
        assert chat.current.members == (bob.key,)
        chat.enter("//to is a command")
        chat.enter("   ")
        chat.enter("/clear")
        assert said(chat) == ["/to is a command"]
        assert (chat.current.begin, chat.current.end) == (1, 1)
        chat.enter("/history")
        assert (chat.current.begin, chat.current.end) == (0, 1)
        chat.enter("/history TEXT of it")
        chat.enter("/help")
        assert any(text.startswith("-- /share") for text in said(chat))
        chat.enter("/debug")
        assert "-- bob: up, 0 sent, 0 taken, 0 errors" in said(chat)
        assert "-- carriers: 1" in said(chat)
        chat.enter("/quit")
    assert alice.view.searched == ["", "TEXT of it"]
    assert alice.view.left


async def test_what_cannot_be_done_is_refused_and_nothing_is_said(pair: Pair, tmp_path: Path) -> None:
    alice, _ = pair
    async with alice.chatting("bob") as chat:
        for line in (
            "/nonsense",
            "/to nobody",
            "/to @nobody",
            f"/to {alice.key}",
            "/share /nowhere",
            "x" * (MAX_TEXT + 1),
        ):
            with pytest.raises((LocalError, InvalidKey)):
                chat.enter(line)
        assert said(chat) == []
        chat.turn_to(chat.conversations.by_key.setdefault(OTHERS, type(chat.current)(OTHERS, ())))
        with pytest.raises(LocalError, match="/to says"):
            chat.enter("to whom?")


async def test_an_unknown_destination_begins_no_chat(pair: Pair) -> None:
    with pytest.raises(InvalidKey, match="bob"):
        async with pair[0].chatting("bop"):
            raise AssertionError("it began")


async def test_what_the_messenger_refuses_is_marked_and_told(pair: Pair) -> None:
    alice, _ = pair
    async with alice.chatting("bob") as chat:
        alice.talk.failure = StorageFull("the disk is full")
        chat.enter("one")
        chat.enter("two")
        await chat.flush()
        assert states(chat.current)[:2] == [LineState.REFUSED, LineState.WAITING]
        assert said(chat) == ["one", "two", "-- not sent: the disk is full"]
    assert alice.view.notes == ["not sent: the disk is full"]


async def test_a_defect_holds_nothing_up(pair: Pair) -> None:
    alice, _ = pair
    async with alice.chatting("bob") as chat:
        alice.talk.failure = ZeroDivisionError("oh")
        chat.enter("one")
        chat.enter("two")
        await chat.flush()
        assert states(chat.current)[:2] == [LineState.UNSAVED, LineState.WAITING]
    assert "defect" in alice.view.notes[0]


async def test_files_are_shared(pair: Pair, tmp_path: Path) -> None:
    alice, bob = pair
    (tmp_path / "my photo.jpg").write_bytes(b"\xff\xd8" * 500_000)
    async with alice.chatting("bob") as chat, bob.chatting("alice") as his:
        chat.enter(f"/share '{tmp_path / 'my photo.jpg'}'")
        chat.enter("look at this")
        assert said(chat) == ["[file] my photo.jpg, 977 KiB", "look at this"]
        await until(lambda: his.current.end == 2)
        saved = bob.folder / "incoming" / "my photo.jpg"
        assert saved.read_bytes() == b"\xff\xd8" * 500_000
        line = next(
            line for n in range(2) if (line := his.conversations.line(his.current, n)) is not None and line.file
        )
        assert (line.file, line.text) == (str(saved), "my photo.jpg, 977 KiB")
        await until(lambda: states(chat.current)[0] == LineState.RECEIVED)


async def test_a_file_that_is_too_big_is_refused_before_it_is_read(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_bytes(b"")
    with (tmp_path / "big").open("r+b") as file:
        file.truncate(65 * 1024 * 1024)
    async with pair[0].chatting("bob") as chat:
        with pytest.raises(LocalError, match=r"65 MiB.* at most 62 MiB"):
            chat.enter(f"/share {tmp_path / 'big'}")
        assert said(chat) == []


async def test_a_file_that_is_gone_when_its_turn_comes(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    async with pair[0].chatting("bob") as chat:
        chat.enter(f"/share {tmp_path / 'a'}")
        (tmp_path / "a").unlink()
        await chat.flush()
        assert states(chat.current)[0] == LineState.REFUSED
        assert "No such file" in said(chat)[-1]


async def test_the_end_waits_for_what_was_said_but_not_for_ever(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    async with bob.chatting("alice") as his:
        async with alice.chatting("bob") as chat:
            for number in range(20):
                chat.enter(str(number))
        await until(lambda: his.current.end == 20)
    monkeypatch.setattr(module, "PARTING", 0.01)
    stuck = threading.Event()
    monkeypatch.setattr(files, "read", lambda path: stuck.wait() and b"")
    (alice.folder / "a").write_text("x")
    async with alice.chatting("bob") as chat:
        chat.enter(f"/share {alice.folder / 'a'}")
    assert states(chat.current)[-1] == LineState.UNSAVED
    stuck.set()
