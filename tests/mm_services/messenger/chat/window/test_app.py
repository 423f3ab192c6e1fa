"""The window, driven by keys: what is typed, said, seen, scrolled, unread, and what goes wrong."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from textual import events
from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from mm_services.messenger.chat import payloads
from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.lines import LineState
from mm_services.messenger.chat.payloads import TOPIC
from mm_services.messenger.chat.view import ChatView
from mm_services.messenger.chat.window import app as module
from mm_services.messenger.chat.window.app import ChatWindow, MessageInput
from mm_services.messenger.chat.window.lines import WindowLines
from mm_services.messenger.chat.window.people import WindowPeople
from mmplatform.errors import FolderInUse, StorageFull
from tests.support.chats import Person, said, states
from tests.support.waiting import stays, until

Pair = list[Person]


class Window:
    """A window that is open, and its keys."""

    def __init__(self, app: ChatWindow, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def chat(self) -> Chat:
        assert self.app.chat is not None
        return self.app.chat

    @property
    def typed(self) -> str:
        return self.app.query_one(MessageInput).value

    def lines(self) -> list[str]:
        """The rows of the conversation that are not empty."""
        shown = self.app.query_one(WindowLines)
        rows = [shown.render_line(y).text.rstrip() for y in range(shown.size.height)]
        return [row for row in rows if row]

    def people(self) -> list[str]:
        shown = self.app.query_one(WindowPeople)
        rows = [shown.render_line(y).text.strip() for y in range(shown.size.height)]
        return [row for row in rows if row]

    def bar(self, name: str) -> str:
        return str(self.app.query_one(name).render())

    async def type(self, text: str) -> None:
        self.app.query_one(MessageInput).value = text
        await self.pilot.press("enter")

    async def shows(self, text: str) -> None:
        await until(lambda: any(text in line for line in self.lines()))


@asynccontextmanager
async def window(person: Person, to: str = "", size: tuple[int, int] = (80, 24)) -> AsyncIterator[Window]:
    async with AsyncExitStack() as stack:

        async def opening(view: ChatView) -> Chat:
            return await stack.enter_async_context(person.chatting(to, view))

        app = ChatWindow(opening)
        async with app.run_test(size=size) as pilot:
            await until(lambda: app.chat is not None)
            yield Window(app, pilot)


async def say(person: Person, to: Person, *texts: str) -> None:
    for text in texts:
        await person.talk.send(TOPIC, [to.key], payloads.text(text))
    await to.talk.settled()


async def test_two_people_talk_and_see_how_far_lines_are(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob") as her:
        await her.pilot.press(*"hi bob", "enter")
        await her.shows("me · hi bob")
        assert her.typed == ""
        async with bob.chatting("alice") as his:
            await her.shows("me ✓ hi bob")
            his.seen(his.current)
            await her.shows("me ✓✓ hi bob")
            his.enter("hello")
            await her.shows("bob 1 hop 0 s: hello")
            await until(lambda: states(his.current) == [LineState.HEARD, LineState.READ])


async def test_nothing_of_others_is_markup_or_steers(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob") as her:
        await say(bob, alice, "[bold red]not markup[/] \x1b[2J [@click=app.bell]x[/]")
        await her.shows(r"[bold red]not markup[/] \x1b[2J")
        await her.shows("x[/]")


async def test_who_is_there_and_what_is_unread(three: list[Person]) -> None:
    alice, _bob, eve = three
    async with window(alice, "bob") as her:
        await until(lambda: her.people() == ["everybody", "@friends", "bob", "eve"])
        await say(eve, alice, "one", "two")
        await until(lambda: her.people()[3].split() == ["○", "eve", "2"])
        assert "2 unread elsewhere" in her.bar("#state")
        await her.pilot.press("ctrl+n")
        await her.shows("eve 1 hop 0 s: two")
        await until(lambda: her.people()[3].split() == ["○", "eve"])
        assert her.bar("#head").startswith(" eve: heard 0 s ago")
        await her.pilot.press("ctrl+n")
        assert her.chat.current.key == "*"
        await her.pilot.press("ctrl+p", "ctrl+p")
        await until(lambda: her.bar("#head").startswith(" bob: not heard since the start"))
        await her.type("/to @friends")
        await until(lambda: her.bar("#head").startswith(" @friends: 0 of 2 there"))


async def test_strangers_that_write_are_listed(pair: Pair) -> None:
    alice, bob = pair
    await alice.platform.contacts.remove("bob")
    async with window(alice) as her:
        await until(lambda: her.people() == ["everybody"])
        await say(bob, alice, "hi")
        await until(lambda: len(her.people()) == 2)
        assert her.people()[1].endswith("1")


async def test_scrolling_back_stays_where_it_is(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob") as her:
        await say(bob, alice, *(f"line {number}" for number in range(100)))
        await her.shows("line 99")
        rows = len(her.lines())
        assert her.lines()[0].endswith(f"line {100 - rows}")
        await her.pilot.press("pageup")
        await until(lambda: her.lines()[-1].endswith(f"line {100 - rows}"))
        await say(bob, alice, "line 100")
        await until(lambda: f"{rows} lines below" in her.bar("#head"))
        assert her.lines()[-1].endswith(f"line {100 - rows}")
        assert her.chat.current.unread == 1, "it was not on the screen"
        await her.pilot.press("up", "up", "down")
        await until(lambda: her.lines()[-1].endswith(f"line {99 - rows}"))
        await her.pilot.press("ctrl+home")
        await until(lambda: her.lines()[0].endswith("line 0"))
        await her.pilot.press("up", "pageup")
        assert her.lines()[0].endswith("line 0")
        await her.pilot.press("ctrl+end")
        await her.shows("line 100")
        await until(lambda: her.chat.current.unread == 0)
        await her.pilot.press("down", "pagedown")
        assert her.lines()[-1].endswith("line 100")


async def test_a_line_longer_than_the_window_is_scrolled_by_rows(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob") as her:
        await say(bob, alice, "before", " ".join(f"word{number:03}" for number in range(400)), "after")
        await her.shows("after")
        await her.pilot.press("ctrl+home")
        await her.shows("word000")
        assert her.lines()[0].endswith("before")
        for _ in range(4):
            await her.pilot.press("pagedown")
        await her.shows("after")


async def test_clear_and_history(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob") as her:
        await say(bob, alice, *(f"line {number}" for number in range(50)))
        await her.shows("line 49")
        await her.type("/clear")
        await until(lambda: her.lines() == [])
        await say(bob, alice, "later")
        await until(lambda: len(her.lines()) == 1)
        await her.type("/history")
        await until(lambda: her.lines()[0].endswith("line 0"))
        await her.type("/history line 1")
        await her.shows("line 19")
        await her.type("/history line 1")
        await her.shows("line 18")
        await her.type("/history no such line")
        await her.shows("'no such line' was not said here")


async def test_what_cannot_be_done_stays_typed(pair: Pair) -> None:
    alice, _ = pair
    async with window(alice, "bob") as her:
        await her.type("/share /nowhere")
        await her.shows("/nowhere cannot be shared")
        assert her.typed == "/share /nowhere"
        await her.type("/nonsense")
        await her.shows("there is no /nonsense")
        alice.talk.failure = StorageFull("the disk is full")
        await her.type("hi")
        await her.shows("me ! hi")
        await her.shows("not sent: the disk is full")


async def test_the_key_behind_enter_may_be_there_already(pair: Pair) -> None:
    async with window(pair[0], "bob") as her:
        for key in (*"one", "enter", *"two", "enter", *"three"):
            her.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: her.typed == "three")
        assert said(her.chat) == ["one", "two"]


async def test_what_is_pasted_is_one_line(pair: Pair) -> None:
    async with window(pair[0], "bob") as her:
        her.app.query_one(MessageInput).post_message(events.Paste("one\ntwo\r\nthree"))
        await until(lambda: her.typed == "one two three")
        await her.pilot.press("enter")
        assert said(her.chat) == ["one two three"]


async def test_what_is_typed_before_it_is_open_stays(pair: Pair) -> None:
    entered = asyncio.Event()

    async def opening(view: ChatView) -> Chat:
        await entered.wait()
        return await stack.enter_async_context(pair[0].chatting("bob", view))

    async with AsyncExitStack() as stack:
        app = ChatWindow(opening)
        async with app.run_test() as pilot:
            assert "starting" in str(app.query_one("#state").render())
            await pilot.press(*"early", "enter")
            entered.set()
            await until(lambda: app.chat is not None)
            assert app.query_one(MessageInput).value == "early"


async def test_a_chat_that_cannot_be_opened_ends_the_window() -> None:
    async def opening(view: ChatView) -> Chat:
        raise FolderInUse("in use by process 1")

    app = ChatWindow(opening)
    async with app.run_test():
        await until(lambda: not app.is_running)
    assert isinstance(app.failure, FolderInUse)
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("keys", "interrupted"), [(("ctrl+c",), True), (("ctrl+q",), False), ((*"/quit", "enter"), False)]
)
async def test_ways_to_leave(pair: Pair, keys: tuple[str, ...], interrupted: bool) -> None:
    async with window(pair[0]) as her:
        await her.pilot.press(*keys)
        await until(lambda: not her.app.is_running)
        assert her.app.interrupted is interrupted


async def test_a_narrow_window_has_no_list_of_people(pair: Pair) -> None:
    alice, bob = pair
    async with window(alice, "bob", size=(40, 12)) as her:
        assert not her.app.query_one(WindowPeople).display
        await say(bob, alice, "a line that is longer than forty columns are wide")
        await her.shows("columns are wide")
        await her.pilot.resize_terminal(80, 24)
        await until(lambda: her.app.query_one(WindowPeople).display)
        await her.shows("a line that is longer than forty")


async def test_many_lines_are_painted_together(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 times a second, however many come."""
    alice, bob = pair
    paints: list[float] = []
    real = WindowLines.show
    monkeypatch.setattr(WindowLines, "show", lambda self, *rest: (paints.append(time.monotonic()), real(self, *rest)))
    async with window(alice, "bob") as her:
        begin = time.monotonic()
        await say(bob, alice, *(f"line {number}" for number in range(3000)))
        await her.shows("line 2999")
        took = time.monotonic() - begin
        assert len([one for one in paints if one >= begin]) <= took / module.PAINT + 3
        assert said(her.chat) == [f"line {number}" for number in range(3000)]
        paints.clear()
        await stays(lambda: len(paints) <= 3, 0.9)  # nothing happens: who is there is looked at, and nothing more


async def test_what_is_written_to_stderr_is_a_note(pair: Pair) -> None:
    """Else it would be written over the window."""
    async with window(pair[0], "bob") as her:
        sys.stderr.write("mm: the relay is gone\nand mo")
        await her.shows("-- mm: the relay is gone")
        sys.stderr.write("re\n")
        await her.shows("-- and more")


async def test_a_file_is_seen_with_its_place(pair: Pair, tmp_path: Path) -> None:
    alice, bob = pair
    (tmp_path / "a.txt").write_text("data")
    async with window(alice, "bob") as her, bob.chatting("alice") as his:
        await her.type(f"/share {tmp_path / 'a.txt'}")
        await her.shows("me ✓ [file] a.txt, 4 B")
        his.share(tmp_path / "a.txt")
        await her.shows("bob 1 hop 0 s: [file] a.txt, 4 B ->")


def test_the_window_takes_nothing_away_from_textual() -> None:
    """Names of ours that textual has, too, break one of them, and nothing says so."""
    meant = {
        "BINDINGS",
        "CSS",
        "can_focus",
        "can_focus_children",
        "ENABLE_COMMAND_PALETTE",
        "compose",
        "_on_paste",
        "DEFAULT_CSS",
        "render_line",
    }
    generated = set(vars(type("Empty", (App,), {})))
    for ours, theirs in ((ChatWindow, App), (WindowLines, Widget), (WindowPeople, Widget), (MessageInput, Input)):
        shared = {name for name in vars(ours) if name in dir(theirs) and not name.startswith("__")}
        assert shared <= meant | generated, ours
    made = ChatWindow(None)  # type: ignore[arg-type]
    assert (set(vars(made)) - set(vars(App()))) & set(dir(App)) == set()
