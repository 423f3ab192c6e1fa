"""All conversations: what was said and how far it is, now and after restarts, within bounds."""

import tracemalloc
from pathlib import Path

import pytest

from mm_services.messenger.chat import conversations as module
from mm_services.messenger.chat.conversation import Conversation, key_of
from mm_services.messenger.chat.conversations import OTHERS, Conversations
from mm_services.messenger.chat.history import HistoryFile
from mm_services.messenger.chat.lines import NOTE, OURS, ChatLine, LineState
from mmplatform.errors import StorageError
from mmplatform.identity.keys import SignId

ME, BOB, EVE = (SignId(letter * 43 + "=") for letter in "mbe")


class Kept:
    """Conversations with a history, that start again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.history = HistoryFile(path)
        self.now = self.again()

    def again(self) -> Conversations:
        self.history.close()
        self.history = HistoryFile(self._path)
        self.history.open()
        self.now = Conversations(self.history)
        self.now.load()
        return self.now


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "chat.jsonl")


def heard(text: str, by: SignId = BOB, message_id: str = "") -> ChatLine:
    return ChatLine(5.0, by, text, message_id or f"id of {text}", 2, 1.5)


def texts(talks: Conversations, talk: Conversation) -> list[str]:
    lines = (talks.line(talk, number) for number in range(talk.first, talk.end))
    return [line.text for line in lines if line is not None]


def states(talk: Conversation) -> list[LineState]:
    return [talk.state(number) for number in range(talk.first, talk.end)]


def test_all_of_it_is_there_after_a_restart(kept: Kept) -> None:
    talks = kept.now
    bob, all_ = talks.with_([BOB]), talks.with_([])
    family = talks.with_([EVE, BOB])
    talks.hear(bob, heard("hi"), 6.0)
    talks.say(bob, "hello", 7.0)
    talks.hear(all_, heard("to everybody", EVE), 8.0)
    talks.hear(family, heard("to you two", EVE), 9.0)
    talks.note(bob, "a note", 10.0)
    assert texts(talks, bob) == ["hi", "hello", "a note"]
    assert [talks.line(bob, 2), talks.line(bob, 3)] == [ChatLine(10.0, NOTE, "a note"), None]
    again = kept.again()
    assert texts(again, again.with_([BOB])) == ["hi", "hello"], "notes are not kept"
    assert again.line(again.with_([BOB]), 0) == heard("hi")
    assert again.line(again.with_([BOB]), 1) == ChatLine(7.0, OURS, "hello")
    assert texts(again, again.with_([])) == ["to everybody"]
    assert again.by_key[key_of([BOB, EVE])].members == (BOB, EVE)
    assert texts(again, again.with_([BOB, EVE])) == ["to you two"]


def test_how_far_lines_are_is_there_after_a_restart(kept: Kept) -> None:
    talks = kept.now
    bob = talks.with_([BOB])
    numbers = [talks.say(bob, str(number), 1.0) for number in range(5)]
    for number in numbers[1:4]:
        talks.sent(bob, number, f"id {number}")
    talks.refused(bob, 4)
    assert talks.moved("id 2", "", LineState.CARRIED) == (bob, 2)
    assert talks.moved("id 3", BOB, LineState.RECEIVED) == (bob, 3)
    assert talks.moved("id 3", BOB, LineState.RECEIVED) is None
    assert talks.moved("id 3", "", LineState.CARRIED) is None, "never back"
    assert talks.moved("unknown", "", LineState.CARRIED) is None
    expected = [LineState.UNSAVED, LineState.WAITING, LineState.CARRIED, LineState.RECEIVED, LineState.REFUSED]
    assert states(bob) == expected
    again = kept.again()
    assert states(again.with_([BOB])) == expected
    assert again.moved("id 1", BOB, LineState.READ) == (again.with_([BOB]), 1), "it goes on after the restart"
    assert again.moved("id 1", BOB, LineState.READ) is None, "nobody waits for it any more"
    assert states(kept.again().with_([BOB]))[1] == LineState.READ


def test_a_line_to_several_is_as_far_as_it_is_at_each(kept: Kept) -> None:
    talks = kept.now
    family = talks.with_([BOB, EVE])
    talks.sent(family, talks.say(family, "hi", 1.0), "id")
    assert talks.moved("id", "", LineState.CARRIED) == (family, 0)
    assert talks.moved("id", BOB, LineState.READ) is None
    assert talks.moved("id", ME, LineState.READ) is None, "he is not one of them"
    assert states(family) == [LineState.CARRIED]
    talks = kept.again()
    family = talks.with_([BOB, EVE])
    assert talks.moved("id", EVE, LineState.RECEIVED) == (family, 0), "that bob has read it was kept"
    assert states(family) == [LineState.RECEIVED]
    assert talks.moved("id", EVE, LineState.READ) == (family, 0)


def test_a_line_to_everybody_is_carried(kept: Kept) -> None:
    talks = kept.now
    all_ = talks.with_([])
    talks.sent(all_, talks.say(all_, "hi", 1.0), "id")
    assert talks.moved("id", "", LineState.CARRIED) == (all_, 0)
    assert states(kept.again().with_([])) == [LineState.CARRIED]


def test_messages_belong_to_conversations_of_the_same_people(kept: Kept) -> None:
    talks = kept.now
    assert talks.of_message(ME, BOB, (), True) is talks.with_([])
    assert talks.of_message(ME, BOB, (ME,), True) is talks.with_([BOB])
    assert talks.of_message(ME, BOB, (ME, EVE), True) is talks.with_([BOB, EVE])
    assert talks.of_message(ME, EVE, (BOB, ME), True) is talks.with_([BOB, EVE])


def test_strangers_begin_no_conversations_without_end(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONVERSATIONS", 5)
    talks = kept.now
    strangers = [SignId(f"{number:043}=") for number in range(20)]
    for stranger in strangers:
        talks.hear(talks.of_message(ME, stranger, (ME,), False), heard("spam", stranger), 1.0)
    assert len(talks.by_key) == 6
    assert talks.by_key[OTHERS].unread == 20 - 4
    assert talks.of_message(ME, BOB, (ME,), True).key == BOB, "who is known is not held up"
    again = kept.again()
    assert again.by_key[OTHERS].members == ()
    assert again.by_key[OTHERS].unread == 20 - 4


def test_what_is_unread_is_counted_also_after_a_restart(kept: Kept) -> None:
    talks = kept.now
    bob, all_ = talks.with_([BOB]), talks.with_([])
    for number in range(3):
        talks.hear(bob, heard(str(number)), 1.0)
    talks.hear(all_, heard("x"), 1.0)
    talks.seen(bob)
    talks.hear(bob, heard("3"), 1.0)
    talks.say(bob, "mine", 1.0)
    again = kept.again()
    assert (again.with_([BOB]).unread, again.with_([]).unread) == (1, 1)


def test_what_comes_again_is_known_also_after_a_restart(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = kept.now
    talks.hear(talks.with_([BOB]), heard("x", message_id="9c"), 1.0)
    assert (talks.has("9c"), talks.has("9d")) == (True, False)
    talks = kept.again()
    assert talks.has("9c")
    monkeypatch.setattr(module, "REMEMBERED", 10)
    for number in range(20):
        talks.hear(talks.with_([BOB]), heard("x", message_id=str(number)), 1.0)
    assert [talks.has(str(number)) for number in (0, 9, 10, 19)] == [False, False, True, True]


def test_a_group_whose_record_is_damaged_is_nobody(kept: Kept, tmp_path: Path) -> None:
    """Else what is typed into it would go to everybody."""
    family = kept.now.with_([BOB, EVE])
    kept.now.hear(family, heard("hi"), 1.0)
    path = tmp_path / "chat.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"group"', b'{"grouq"'))
    again = kept.again()
    found = again.by_key[family.key]
    assert (found.members, found.key != "*", texts(again, found)) == ((), True, ["hi"])


def test_damage_and_nonsense_are_left_out(kept: Kept, tmp_path: Path) -> None:
    bob = kept.now.with_([BOB])
    kept.now.hear(bob, heard("before"), 1.0)
    with (tmp_path / "chat.jsonl").open("ab") as file:
        for nonsense in (
            b"\xff\xfe", b"{}", b"[]", b'{"in":5}', b'{"in":"*","state":"carried","back":5}', b'{"seen":["x"]}',
            b'{"in":"*","state":"odd","back":"x"}', b'{"group":"#1","members":5}', b'{"group":"#1","members":[]}',
            b'{"in":"*","back":-5,"state":"read","id":["x"]}',
        ):  # fmt: skip
            file.write(nonsense + b"\n")
    talks = kept.again()
    talks.hear(talks.with_([BOB]), heard("after"), 1.0)
    again = kept.again()
    assert texts(again, again.with_([BOB])) == ["before", "after"]


def test_without_a_history_nothing_is_kept(tmp_path: Path) -> None:
    talks = Conversations()
    bob = talks.with_([BOB])
    talks.hear(bob, heard("hi"), 1.0)
    talks.sent(bob, talks.say(bob, "hello", 1.0), "id")
    assert talks.moved("id", BOB, LineState.READ) == (bob, 1)
    assert texts(talks, bob) == ["hi", "hello"]
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_refuses_lines_but_not_states(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = kept.now
    bob = talks.with_([BOB])
    talks.sent(bob, talks.say(bob, "hello", 1.0), "id")

    def full(data: bytes) -> int:
        raise StorageError("full")

    monkeypatch.setattr(kept.history, "append", full)
    with pytest.raises(StorageError):
        talks.hear(bob, heard("hi"), 1.0)
    assert (bob.end, bob.unread, talks.has("id of hi")) == (1, 0, False)
    assert talks.moved("id", BOB, LineState.READ) == (bob, 0)
    talks.seen(bob)


def test_lines_are_found_the_latest_first(kept: Kept) -> None:
    talks = kept.now
    bob = talks.with_([BOB])
    for number in range(3000):
        talks.say(bob, f"line {number}", 1.0)
    talks.note(bob, "line 1 in a note", 1.0)
    found = list(talks.search(bob, "LINE 1", bob.end))
    assert [number for number in found if number is not None][:3] == [1999, 1998, 1997]
    assert found.count(None) >= 3, "who searches does other things meanwhile"
    assert [number for number in talks.search(bob, "line 1", 100) if number is not None] == [*range(19, 9, -1), 1]


def test_the_beginning_that_is_not_kept_any_more_is_forgotten(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "chat.jsonl", most=3000)
    history.open()
    talks = Conversations(history)
    bob = talks.with_([BOB])
    for number in range(200):
        talks.say(bob, str(number), 1.0)
    assert talks.line(bob, 0) is None
    talks.trim(bob)
    first = talks.line(bob, bob.first)
    assert first is not None
    assert first.text == str(bob.first)
    assert bob.end == 200
    history.close()


@pytest.mark.slow
def test_a_hundred_thousand_lines_take_little_memory(kept: Kept) -> None:
    bob = kept.now.with_([BOB])
    for number in range(100_000):
        kept.now.hear(bob, heard("a line of some length, as people write them", message_id=f"{number:032x}"), 1.0)
    tracemalloc.start()
    again = kept.again()
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert again.with_([BOB]).end == 100_000
    assert used < 16 * 1024 * 1024
