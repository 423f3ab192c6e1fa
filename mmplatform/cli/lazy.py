"""A command that is imported once it is used: until then its name and its first line of help are all there is."""

from collections.abc import Callable
from typing import Any

import click


class LazyCommand(click.Command):
    """Stands for a command in lists and where names are completed; ``load`` imports the command itself."""

    def __init__(self, name: str, load: Callable[[], click.Command], summary: str = "", hidden: bool = False) -> None:
        super().__init__(name, help=summary, hidden=hidden, add_help_option=False)
        self.load = load

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Begin with the command itself: from here on click knows nothing of this one."""
        return self.load().make_context(info_name, args, parent, **extra)
