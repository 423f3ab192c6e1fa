"""The window of mm chat: painted first, opened then, and painted anew 20 times a second at most."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.conversation import Conversation, key_of
from mm_services.messenger.chat.lines import NOTE, OURS, ChatLine
from mm_services.messenger.chat.people import Destination
from mm_services.messenger.chat.talk import EVERYBODY
from mm_services.messenger.chat.window.lines import WindowLines
from mm_services.messenger.chat.window.people import AWAY, HEARD, LINKED, PersonRow, WindowPeople
from mmplatform.cli.output import counted, lasting
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId

PAINT: Final = 0.05  # seconds between two paints, at least
LOOK: Final = 1.0  # seconds between two looks at who is there
LATELY: Final = 600.0  # seconds for which somebody who was heard, without a link, is shown as being there
MAX_PRINTED: Final = 8192  # characters written to stderr that wait for the chat to open
NARROW: Final = 60  # columns below which there is no room for the list of people


class MessageInput(Input):
    """Where one types. What is pasted with line ends becomes one line, and nothing of it is lost.

    Args:
        enter: does what was typed, and says whether it could; else it stays. A binding would come too late: the app
            acts on it when the keys behind it may have been typed already.

    """

    def __init__(self, enter: Callable[[str], bool]) -> None:
        super().__init__(placeholder="a message, or /help", select_on_focus=False)
        self._enter = enter

    def key_enter(self, event: events.Key) -> None:
        """Do what was typed."""
        event.stop()
        event.prevent_default()
        if self._enter(self.value):
            self.value = ""

    def _on_paste(self, event: events.Paste) -> None:
        self.insert_text_at_cursor(" ".join(event.text.splitlines()))
        event.stop()
        event.prevent_default()


class ChatWindow(App[None]):
    """The window. It is a view of the chat, too: :class:`~mm_services.messenger.chat.view.ChatView`.

    Args:
        opening: opens the chat for this view; what it raises ends the window, and is in ``failure`` then.
        begun: is called once stderr leads to this window, where what is written there becomes notes.

    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #state { height: 1; text-style: reverse; }
    MessageInput, MessageInput:focus { height: 1; border: none; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Leave", priority=True),
        Binding("ctrl+q", "leave", "Leave", priority=True),
        Binding("up", "move(-1)"), Binding("down", "move(1)"),
        Binding("pageup", "page(-1)"), Binding("pagedown", "page(1)"),
        Binding("ctrl+home", "first_line"), Binding("ctrl+end", "last_line"),
        Binding("ctrl+n", "beside(1)", priority=True), Binding("ctrl+p", "beside(-1)", priority=True),
    ]  # fmt: skip

    def __init__(
        self, opening: "Callable[[ChatWindow], Awaitable[Chat]]", begun: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self.theme = "ansi-dark"  # the colours of the terminal, whatever they are
        self._opening, self._begun = opening, begun
        self._printed = ""  # on stderr, and no note yet
        self.chat: Chat | None = None
        self.failure: BaseException | None = None
        self.interrupted = False
        self._linked: set[SignId] = set()
        self._destinations: dict[str, Destination] = {}  # by the key of the conversation
        self._found = ("", "", 0)  # what was searched last, where, and the line in which it was found
        self._painted = 0.0
        self._paint_later: asyncio.TimerHandle | None = None

    # What textual calls.

    def compose(self) -> ComposeResult:
        """Make the parts of the window."""
        yield Static("mm chat", id="head", markup=False)
        with Horizontal():
            yield WindowPeople()
            yield WindowLines(self._called)
        yield Static("starting ...", id="state", markup=False)
        yield MessageInput(self._enter)

    def on_mount(self) -> None:
        """Paint what there is, then open the chat."""
        asyncio.get_running_loop().set_task_factory(None)  # textual makes all tasks eager; the node is not made for it
        self._painting = contextvars.copy_context()
        self.begin_capture_print(self, stdout=False)
        self._begun()
        self.query_one(MessageInput).focus()
        self.call_after_refresh(self._begin)
        self.set_interval(LOOK, self._look)

    def on_print(self, event: events.Print) -> None:
        """Have what the node or a log writes to stderr in the window."""
        self._printed = (self._printed + event.text)[-MAX_PRINTED:]
        self._note_printed()

    def on_resize(self, event: events.Resize) -> None:
        """Leave the people out where there is no room."""
        self.query_one(WindowPeople).display = event.size.width >= NARROW

    # What the keys do.

    def action_interrupt(self) -> None:
        """Leave by Ctrl-C."""
        self.interrupted = True
        self.exit()

    def action_leave(self) -> None:
        """Leave by Ctrl-Q."""
        self.exit()

    def action_move(self, rows: int) -> None:
        """Scroll by rows."""
        self.query_one(WindowLines).move(rows)
        self.changed()

    def action_page(self, pages: int) -> None:
        """Scroll by all but one row of what is seen."""
        lines = self.query_one(WindowLines)
        lines.move(pages * max(lines.size.height - 1, 1))
        self.changed()

    def action_first_line(self) -> None:
        """Scroll to the first line."""
        self.query_one(WindowLines).go_to_begin()
        self.changed()

    def action_last_line(self) -> None:
        """Scroll to the end."""
        self.query_one(WindowLines).go_to_end()
        self.changed()

    def action_beside(self, step: int) -> None:
        """Turn to the conversation below, or above."""
        if self.chat is not None:
            key = self.query_one(WindowPeople).beside(step)
            talks = self.chat.conversations
            there = talks.by_key.get(key) or talks.with_(self._destinations[key].members)
            self.chat.turn_to(there)

    # What the chat calls.

    async def first(self, conversation: Conversation, line: ChatLine) -> None:
        """Wait for nothing: what is in the history, or in memory, will be painted."""

    def changed(self) -> None:
        """Paint anew soon: at once when it was not painted lately."""
        if self._paint_later is None:
            delay = max(self._painted + PAINT - time.monotonic(), 0.0)
            self._paint_later = asyncio.get_running_loop().call_later(delay, self._paint, context=self._painting)

    def moved(self, conversation: Conversation, number: int) -> None:
        """Paint anew soon."""
        self.changed()

    def noted(self, text: str) -> None:
        """Do nothing: it is a line that is painted."""

    def history(self, text: str) -> None:
        """Scroll to the first line, or to where ``text`` was said last; and once more, to where it was before."""
        if text:
            self.run_worker(self._find(text), exclusive=True)
        else:
            self.call_later(self.action_first_line)  # behind the end, to which what is typed leads

    def quit(self) -> None:
        """Leave."""
        self.exit()

    # Helpers.

    def _begin(self) -> None:
        self.run_worker(self._open(), exit_on_error=False)

    async def _open(self) -> None:
        try:
            self.chat = await self._opening(self)
        except Exception as error:
            self.failure = error
            self.exit()
            return
        self._look()
        self._note_printed()

    def _note_printed(self) -> None:
        if self.chat is not None:
            *texts, self._printed = self._printed.split("\n")
            for text in texts:
                self.chat.note(text)

    def _look(self) -> None:
        """See who is there, and how they are called."""
        if self.chat is None:
            return
        people, talks = self.chat.people, self.chat.conversations
        self._linked = people.linked()
        self._destinations = {}
        for found in people.destinations():
            self._destinations.setdefault(key_of(found.members), found)
        for key, talk in talks.by_key.items():
            self._destinations.setdefault(key, Destination(people.label(talk), talk.members))
        self.changed()

    def _paint(self) -> None:
        self._paint_later, self._painted = None, time.monotonic()
        if self.chat is None or not self.is_running:
            return
        current, lines = self.chat.current, self.query_one(WindowLines)
        lines.show(self.chat.conversations, current)
        if lines.at_end and self.app_focus:
            self.chat.seen(current)
        if not self._destinations.keys() >= self.chat.conversations.by_key.keys():
            self._look()
        self.query_one(WindowPeople).show(self._rows(self.chat), current.key)
        below = f"   {counted(lines.below, 'lines')} below" if lines.below else ""
        self._tell("#head", f" {self._destinations[current.key].label}: {self._there(current)}{below}")
        elsewhere = sum(talk.unread for talk in self.chat.conversations.by_key.values() if talk is not current)
        unread = f"   {elsewhere:,} unread elsewhere" if elsewhere else ""
        self._tell("#state", f" {counted(len(self._linked), 'links')}{unread}   /help   ctrl+n ctrl+p: others   ctrl+q")

    def _enter(self, text: str) -> bool:
        """Do what was typed; say whether it could be done."""
        if self.chat is None:
            return False
        try:
            self.chat.enter(text)
        except MMError as error:
            self.chat.note(str(error))
            return False
        self.query_one(WindowLines).go_to_end()
        return True

    def _called(self, peer: str) -> str:
        return self.chat.people.name(peer) if self.chat is not None and peer not in (OURS, NOTE) else ""

    def _tell(self, where: str, text: str) -> None:
        self.query_one(where, Static).update(text, layout=False)

    def _rows(self, chat: Chat) -> list[PersonRow]:
        """Return whom one can talk to, and who has written besides."""
        talks = chat.conversations.by_key
        return [
            PersonRow(key, found.label, self._mark(found, talks.get(key)), talks[key].unread if key in talks else 0)
            for key, found in self._destinations.items()
        ]

    def _mark(self, found: Destination, talk: Conversation | None) -> str:
        if not self._linked.isdisjoint(found.members) or (talk is not None and talk.key == EVERYBODY and self._linked):
            return LINKED
        return HEARD if talk is not None and time.time() - talk.heard_at < LATELY else AWAY

    def _there(self, talk: Conversation) -> str:
        """Say who is there."""
        linked = len(self._linked if talk.key == EVERYBODY else self._linked.intersection(talk.members))
        heard = f"heard {lasting(time.time() - talk.heard_at)} ago" if talk.heard_at else "not heard since the start"
        if len(talk.members) == 1:
            return "there" if linked else heard
        return f"{linked} of {len(talk.members)} there" if talk.members else f"{linked} there"

    async def _find(self, text: str) -> None:
        if self.chat is None:
            return
        lines, talk = self.query_one(WindowLines), self.chat.current
        *searched, before = self._found
        again = searched == [text, talk.key]
        for number in self.chat.conversations.search(talk, text, before if again else talk.end):
            if number is not None:
                self._found = text, talk.key, number
                lines.go_to(number)
                self.changed()
                return
            await asyncio.sleep(0)
        self._found = "", "", 0
        self.chat.note(f"{text!r} was not said {'before that' if again else 'here'}")
