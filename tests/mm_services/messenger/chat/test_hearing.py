"""What others say is taken in once, kept before it counts as taken, and within bounds."""

import asyncio
from pathlib import Path

import pytest

from mm_services.messenger.chat import chat as chat_module
from mm_services.messenger.chat import files, hearing, payloads
from mm_services.messenger.chat.lines import LineState
from mm_services.messenger.chat.payloads import MAX_TEXT, TOPIC
from mmplatform.errors import LocalError, StorageError
from tests.support.chats import Person, said, states
from tests.support.waiting import until

Pair = list[Person]


async def test_what_comes_twice_is_there_once(pair: Pair) -> None:
    """The messenger hands over again what was not noted as handled when a kill came."""
    alice, bob = pair
    bob.talk.repeats = True
    async with bob.chatting("alice") as his:
        await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await alice.talk.send(TOPIC, [bob.key], payloads.file("a.txt", b"data"))
        await bob.talk.settled()
        assert said(his) == ["hi", "a.txt, 4 B"]
        assert len(bob.view.firsts) == 2
    assert [path.name for path in (bob.folder / "incoming").iterdir()] == ["a.txt"]


async def test_what_a_view_cannot_show_is_not_taken(pair: Pair) -> None:
    alice, bob = pair
    async with bob.chatting("alice") as his:
        bob.view.failure = OSError("nobody reads")
        sent = await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await bob.talk.settled()
        assert (said(his), bob.talk.failed, sent.states[bob.key]) == ([], [sent.id], "waiting")


async def test_what_cannot_be_kept_is_not_taken(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    async with bob.chatting("alice") as his:

        async def broken() -> None:
            raise StorageError("the disk is gone")

        monkeypatch.setattr(his.conversations, "saved", broken)
        sent = await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await bob.talk.settled()
        assert sent.states[bob.key] != "read"


async def test_age_and_hops_are_told(pair: Pair) -> None:
    alice, bob = pair
    alice.talk.created = lambda: 1_000_000.0
    async with bob.chatting("alice") as his:
        await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await bob.talk.settled()
        line = his.conversations.line(his.current, 0)
        assert line is not None
        assert (line.at, line.hops, line.by) == (1_000_000.0, 1, alice.key)
        assert line.age > 1e8
        alice.talk.created = lambda: 1e11
        await alice.talk.send(TOPIC, [bob.key], payloads.text("from tomorrow"))
        await bob.talk.settled()
        line = his.conversations.line(his.current, 1)
        assert line is not None
        assert line.age == 0.0, "a clock that is ahead makes no line younger than it is"


async def test_nonsense_is_nothing(pair: Pair) -> None:
    alice, bob = pair
    async with bob.chatting("alice") as his:
        for payload in (None, 5, [], {"text": 5}, {"file": {}}, {"pong": "never asked", "hops": 1}):
            await alice.talk.send(TOPIC, [bob.key], payload)
        await bob.talk.settled()
        assert (said(his), bob.talk.failed, bob.view.notes) == ([], [], [])


async def test_a_long_text_is_cut_and_says_so(pair: Pair) -> None:
    alice, bob = pair
    async with bob.chatting("alice") as his:
        await alice.talk.send(TOPIC, [bob.key], payloads.text("x" * 100_000))
        await bob.talk.settled()
        assert said(his) == ["x" * MAX_TEXT + "... (100,000 characters)"]


async def test_whom_we_blocked_says_nothing(pair: Pair) -> None:
    alice, bob = pair
    await bob.platform.contacts.block("alice")
    async with bob.chatting() as his:
        await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await alice.talk.send(TOPIC, "*", payloads.text("hi all"))
        await bob.talk.settled()
        assert all(talk.end == 0 for talk in his.conversations.by_key.values())


async def test_strangers_may_talk_but_their_files_are_not_taken(pair: Pair) -> None:
    alice, bob = pair
    await bob.platform.contacts.remove("alice")
    async with bob.chatting() as his:
        await alice.talk.send(TOPIC, [bob.key], payloads.text("hi"))
        await alice.talk.send(TOPIC, [bob.key], payloads.file("../x.exe", b"MZ"))
        await bob.talk.settled()
        texts = said(his, his.conversations.by_key[alice.key])
        assert texts[0] == "hi"
        assert texts[1].startswith("x.exe, 2 B: not taken")
    assert not (bob.folder / "incoming").exists()


async def test_a_file_for_which_there_is_no_room_stays_with_the_messenger(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    monkeypatch.setattr(files, "MAX_FILES", 0)
    async with bob.chatting("alice") as his:
        sent = await alice.talk.send(TOPIC, [bob.key], payloads.file("a", b"x"))
        await bob.talk.settled()
        assert bob.talk.failed == [sent.id]
        assert "not saved yet" in said(his)[0]
        assert "--incoming-dir" in said(his)[0]


async def test_ping_and_its_answers(three: list[Person]) -> None:
    alice, bob, eve = three
    async with alice.chatting() as chat, bob.chatting(), eve.chatting():
        chat.enter("/ping")
        await until(lambda: len(said(chat)) == 3)
        texts = said(chat)
        assert texts[0] == "-- everybody is asked who is there"
        assert {text.split()[1] for text in texts[1:]} == {"bob", "eve"}
        assert all(" is there: 0." in text and "1 hop there, 1 hop back" in text for text in texts[1:])
        assert set(alice.talk.lifespans) == {hearing.PING_LIFESPAN}
        chat.enter("/to bob")
        chat.enter("/ping")
        await until(lambda: len(said(chat)) == 2)


async def test_who_asks_all_the_time_is_answered_now_and_then(pair: Pair) -> None:
    alice, bob = pair
    async with bob.chatting() as his:
        for number in range(200):
            await alice.talk.send(TOPIC, [bob.key], {"ping": str(number)})
        await bob.talk.settled()
        await his.flush()
        assert 1 <= len(bob.talk.lifespans) <= 10


async def test_answers_wait_in_no_endless_queue(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    monkeypatch.setattr(chat_module, "MAX_LATER", 0)
    async with bob.chatting() as his:
        await alice.talk.send(TOPIC, [bob.key], {"ping": "1"})
        await bob.talk.settled()
        await his.flush()
        assert bob.talk.lifespans == []


async def test_a_ping_that_cannot_be_sent_says_so(pair: Pair) -> None:
    alice, _ = pair
    async with alice.chatting("bob") as chat:
        alice.talk.failure = LocalError("too many")
        chat.enter("/ping")
        await chat.flush()
        assert said(chat) == ["-- not sent: too many"]


async def test_only_what_was_for_us_alone_is_told_to_be_read(three: list[Person]) -> None:
    alice, bob, _ = three
    async with bob.chatting() as his:
        all_ = await alice.talk.send(TOPIC, "*", payloads.text("to all"))
        mine = await alice.talk.send(TOPIC, [bob.key], payloads.text("to bob"))
        long = await alice.talk.send(TOPIC, [bob.key], payloads.text("x" * 9000))
        await bob.talk.settled()
        his.seen(his.conversations.with_([]))
        assert mine.states[bob.key] == "received"
        his.seen(his.conversations.with_([alice.key]))
        await his.flush()
        assert mine.states[bob.key] == "read"
        assert (all_.states, long.states[bob.key]) == ({}, "received")


async def test_what_is_never_seen_takes_no_memory_without_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    monkeypatch.setattr(hearing, "MAX_UNSEEN", 5)
    async with bob.chatting("alice") as his:
        sent = [await alice.talk.send(TOPIC, [bob.key], payloads.text(str(number))) for number in range(20)]
        await bob.talk.settled()
        assert his.current.unread == 20
        his.seen(his.current)
        await his.flush()
        told = [one.states[bob.key] for one in sent]
        assert (told.count("received"), told.count("read")) == (15, 5)


async def test_a_file_in_the_middle_of_a_kill_comes_again(pair: Pair, tmp_path: Path) -> None:
    """The handler is cut off while the file is written; the message is handed over again."""
    alice, bob = pair
    (bob.folder / "incoming").mkdir()
    async with bob.chatting("alice"):
        pass
    sent = await alice.talk.send(TOPIC, [bob.key], payloads.file("a.bin", bytes(1000)))
    (bob.folder / "incoming" / f".{sent.id}.part").write_bytes(bytes(500))
    async with bob.chatting("alice") as his:
        await until(lambda: said(his) == ["a.bin, 1000 B"])
        await asyncio.sleep(0)
    assert [path.name for path in (bob.folder / "incoming").iterdir()] == ["a.bin"]
    assert states(his.current) == [LineState.HEARD]
