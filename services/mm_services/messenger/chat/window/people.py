"""The part of the window that shows whom one can talk to, who is there, and what is unread."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

LINKED, HEARD, AWAY = "●", "○", " "
MARKS: Final = {LINKED: Style(color="green"), HEARD: Style(color="green", dim=True), AWAY: Style()}


class PersonRow(NamedTuple):
    """One conversation: what it is called, who is there (LINKED, HEARD or AWAY), and how many lines are unread."""

    key: str
    label: str
    mark: str
    unread: int


class WindowPeople(Widget):
    """A row for each conversation that there is or can be; the chosen one is always seen."""

    DEFAULT_CSS = "WindowPeople { width: 20; height: 1fr; border-right: solid $panel; }"

    def __init__(self) -> None:
        super().__init__()
        self.entries: Sequence[PersonRow] = ()
        self._chosen = ""

    def show(self, entries: Sequence[PersonRow], chosen: str) -> None:
        """Show what there is now; ``chosen`` is the key of the current one."""
        if (entries, chosen) != (self.entries, self._chosen):
            self.entries, self._chosen = entries, chosen
            self.refresh()

    def beside(self, step: int) -> str:
        """Return the key of the conversation that is ``step`` rows below the chosen one, around the ends."""
        keys = [entry.key for entry in self.entries]
        at = keys.index(self._chosen) if self._chosen in keys else -1
        return keys[(at + step) % len(keys)] if keys else self._chosen

    def render_line(self, y: int) -> Strip:
        """Give one row to the terminal."""
        width, base = self.size.width, self.rich_style
        number = y + self._first()
        if number >= len(self.entries):
            return Strip.blank(width, base)
        entry = self.entries[number]
        count = f" {entry.unread}" if entry.unread else ""
        chosen = Style(reverse=entry.key == self._chosen, bold=bool(entry.unread))
        return Strip(
            [
                Segment(entry.mark, base + MARKS[entry.mark]),
                Segment(set_cell_size(f" {entry.label}", max(width - 1 - len(count), 0)) + count, base + chosen),
            ]
        ).adjust_cell_length(width, base)

    def _first(self) -> int:
        """Return which entry the first row shows."""
        keys = [entry.key for entry in self.entries]
        at = keys.index(self._chosen) if self._chosen in keys else 0
        return max(min(at - self.size.height // 2, len(keys) - self.size.height), 0)
