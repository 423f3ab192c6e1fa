"""The part of the window that shows the lines of a conversation: only those that are seen are read and made."""

import zlib
from collections.abc import Callable
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from mm_services.messenger.chat import wording
from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.conversations import Conversations
from mm_services.messenger.chat.window import wrapping

STYLES: Final = {
    "time": Style(dim=True), "way": Style(dim=True), "mine": Style(bold=True), "state": Style(color="green"),
    "note": Style(italic=True, dim=True), "text": Style(),
}  # fmt: skip
COLOURS: Final = ("cyan", "magenta", "yellow", "green", "bright_blue", "bright_red")  # of names

_Row = list[tuple[str, str]]


class WindowLines(Widget):
    """Shows the end of a conversation, or, scrolled back, a part before it; what comes then does not move it."""

    DEFAULT_CSS = "WindowLines { height: 1fr; width: 1fr; }"

    def __init__(self, name_of: Callable[[str], str]) -> None:
        super().__init__()
        self._name_of = name_of
        self._conversations: Conversations | None = None
        self._conversation: Conversation | None = None
        self._bottom: tuple[int, int] | None = None  # the line and its row that is shown last; None for the end
        self._strips: list[Strip] = []

    @property
    def at_end(self) -> bool:
        """Whether what comes is seen at once."""
        return self._bottom is None

    @property
    def below(self) -> int:
        """How many lines are below what is seen."""
        if self._bottom is None or self._conversation is None:
            return 0
        return self._conversation.end - 1 - self._bottom[0]

    def show(self, conversations: Conversations, conversation: Conversation) -> None:
        """Show what there is of a conversation now."""
        if conversation is not self._conversation:
            self._conversations, self._conversation, self._bottom = conversations, conversation, None
        self._fill()

    def move(self, rows: int) -> None:
        """Show what is so many rows further down; further up when it is less than 0."""
        if self._conversation is None or self._conversation.end <= self._conversation.begin:
            return
        last = self._conversation.end - 1
        number, row = self._bottom or (last, len(self._rows(last)) - 1)
        row += rows
        while row < 0 and number > self._conversation.begin:
            number -= 1
            row += len(self._rows(number))
        while row >= (height := len(self._rows(number))) and number < last:
            row -= height
            number += 1
        self._bottom = None if number == last and row >= height - 1 else (number, max(row, 0))
        self._fill()

    def go_to(self, number: int) -> None:
        """Show a line in the middle."""
        if self._conversation is not None:
            self._bottom = number, len(self._rows(number)) - 1
            self.move(self.size.height // 2)

    def go_to_begin(self) -> None:
        """Show the first lines that are kept."""
        if self._conversation is not None and self._conversations is not None:
            self._conversations.trim(self._conversation)
            self._bottom = self._conversation.begin, 0
            self.move(self.size.height - 1)

    def go_to_end(self) -> None:
        """Show the end, and what comes."""
        self._bottom = None
        self._fill()

    def render_line(self, y: int) -> Strip:
        """Give one row to the terminal."""
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def on_resize(self) -> None:
        """Break the lines anew."""
        self._fill()

    def _fill(self) -> None:
        """Make the rows that are seen, from the last one up."""
        conversation, height = self._conversation, self.size.height
        found: list[_Row] = []
        if conversation is not None and conversation.end > conversation.begin:
            number = conversation.end - 1
            if self._bottom is not None:
                number = max(self._bottom[0], conversation.begin)
                found = self._rows(number)[: self._bottom[1] + 1][::-1]
                number -= 1
            while len(found) < height and number >= conversation.begin:
                found += reversed(self._rows(number))
                number -= 1
        strips = [self._strip(row) for row in reversed(found[:height])]
        self._strips = [Strip.blank(self.size.width, self.rich_style)] * (height - len(strips)) + strips
        self.refresh()

    def _rows(self, number: int) -> list[_Row]:
        conversation = self._conversation
        line = None
        if self._conversations is not None and conversation is not None:
            line = self._conversations.line(conversation, number)
        if line is None or conversation is None:
            return [[]]
        parts = wording.parts(line, self._name_of(line.by), conversation.state(number))
        return wrapping.rows(parts, self.size.width)

    def _strip(self, row: _Row) -> Strip:
        base = self.rich_style
        segments = [Segment(text, base + (STYLES[kind] if kind in STYLES else _colour(text))) for text, kind in row]
        return Strip(segments).adjust_cell_length(self.size.width, base)


def _colour(name: str) -> Style:
    """Return the style of a name: the same each time."""
    return Style(color=COLOURS[zlib.crc32(name.encode()) % len(COLOURS)], bold=True)
