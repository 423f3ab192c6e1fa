"""mm list: lists of one's own, to send to several peers at once."""

from typing import Any

import click

from mmplatform.cli.command import OK, Group, Settings, pass_settings
from mmplatform.cli.commands.asking import ask_rows
from mmplatform.cli.output import emit, note, say, table

name_argument = click.argument("name", metavar="@NAME")
peers_argument = click.argument("peers", nargs=-1, required=True, metavar="PEER...")


@click.group("list", cls=Group, invoke_without_command=True)
@click.pass_context
def lists(context: click.Context) -> int:
    """Show your lists: @family and the like, to send to several peers at once. They exist on this node only.

    @friends and @devices, all your friends and all your other devices, are there by themselves.

    \b
      mm list make @family bob carol
      mm send @family chat 'dinner at eight'
      mm list extend @family dave
    """
    if context.invoked_subcommand is not None:
        return OK
    settings = context.ensure_object(Settings)
    found = ask_rows(settings, "lists")
    if settings.json:
        for one in found:
            emit(one)
        return OK
    if not found:
        note("no list yet; mm list make @NAME PEER... makes one")
    table(("LIST", "MEMBERS"), ((one["name"], _shown(one)) for one in found))
    return OK


@lists.command("make")
@name_argument
@click.argument("peers", nargs=-1, metavar="[PEER...]")
@pass_settings
def make(settings: Settings, name: str, peers: tuple[str, ...]) -> int:
    """Make the list @NAME of peers who are known here.

    \b
      mm list make @family bob carol
    """
    return _change(settings, "make", name, peers)


@lists.command("extend")
@name_argument
@peers_argument
@pass_settings
def extend(settings: Settings, name: str, peers: tuple[str, ...]) -> int:
    """Take PEERs into the list @NAME.

    \b
      mm list extend @family dave
    """
    return _change(settings, "extend", name, peers)


@lists.command("shorten")
@name_argument
@peers_argument
@pass_settings
def shorten(settings: Settings, name: str, peers: tuple[str, ...]) -> int:
    """Take PEERs out of the list @NAME; who is removed or blocked leaves all lists anyway.

    \b
      mm list shorten @family dave
    """
    return _change(settings, "shorten", name, peers)


@lists.command("remove")
@name_argument
@pass_settings
def remove(settings: Settings, name: str) -> int:
    """Forget the list @NAME. Its members stay known, and what was sent to them goes on.

    \b
      mm list remove @family
    """
    ask_rows(settings, "remove_list", name=name)
    if settings.json:
        emit({"name": name, "removed": True})
    else:
        say(f"{name} is no list any more")
    return OK


def _change(settings: Settings, change: str, name: str, peers: tuple[str, ...]) -> int:
    found = ask_rows(settings, "change_list", change=change, name=name, peers=peers)
    if settings.json:
        emit(found)
    else:
        say(f"{name}: {_shown(found)}")
    return OK


def _shown(found: dict[str, Any]) -> str:
    return ", ".join(member["name"] or member["signId"] for member in found["members"]) or "nobody"
