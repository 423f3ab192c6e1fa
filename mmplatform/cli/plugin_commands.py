"""Commands that plugins bring: found by name among entry points ``mmplatform.commands``, imported when they are named.

A command that cannot be had (its library is missing, it is broken, two distributions claim its name) is listed like
any other. Running it fails with the reason and the remedy; no other command is touched.
"""

from functools import partial
from typing import Any

import click

from mmplatform.cli.lazy import LazyCommand
from mmplatform.errors import PluginError
from mmplatform.plugins import loading


def names() -> list[str]:
    """All that are registered."""
    return loading.names(loading.COMMANDS)


def find(name: str, later: bool) -> click.Command | None:
    """The command, or what stands in for one that cannot be loaded; None when no plugin has that name. ``later``: it is
    imported only once it is used."""
    if name not in names():
        return None
    return LazyCommand(name, partial(_loaded, name)) if later else _loaded(name)


def _loaded(name: str) -> click.Command:
    try:
        found = loading.load(loading.COMMANDS, name)
        if not isinstance(found, click.Command):
            owners = " and ".join(loading.owners(loading.COMMANDS, name))
            raise PluginError(f"the command {name!r} of {owners} is no click.Command; its plugin is to be repaired")
    except PluginError as error:
        return UnusableCommand(name, error)
    return found


def taken(name: str) -> str:
    """What is said of a plugin that claims the name of a command of the core."""
    owners = " and ".join(loading.owners(loading.COMMANDS, name))
    return f"The command {name!r} of {owners} is not used: mm has one of that name itself."


class UnusableCommand(click.Command):
    """Stands for a command that cannot be loaded. Whatever it is given, it fails with the reason."""

    def __init__(self, name: str, error: PluginError) -> None:
        super().__init__(
            name,
            short_help=f"(cannot be used; mm {name} says why)",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        self._error = error

    def invoke(self, ctx: click.Context) -> Any:
        raise self._error
