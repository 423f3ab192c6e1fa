"""mm rename, move, remove, block and unblock: what a person does about peers that are known."""

from typing import Any

import click

from mmplatform.cli import completing
from mmplatform.cli.command import OK, Command, Failure, Settings, named, pass_settings
from mmplatform.cli.commands.asking import ask_node
from mmplatform.cli.output import emit, note, say

CIRCLES = ("friends", "devices", "public")

drops = click.option("--drop", is_flag=True, help="Drop what waits for it here, and what is kept of it.")


@click.command("rename", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.argument("name", callback=named)
@pass_settings
def rename(settings: Settings, peer: str, name: str) -> int:
    """Call PEER by another NAME here; "" takes its name away.

    \b
      mm rename bob robert
    """
    found = ask_node(settings, "rename", peer=peer, name=name)
    _tell(settings, found, f"{found['signId']} is called {name}" if name else f"{peer} has no name any more")
    return OK


@click.command("move", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.argument("circle", type=click.Choice(CIRCLES))
@pass_settings
def move(settings: Settings, peer: str, circle: str) -> int:
    """Make PEER a friend, a device of yours, or neither: what it sends arrives as friends., self. or public.TOPIC.

    Of a peer that is less to you than before the links are closed, and what waits for handlers is refused.

    \b
      mm move bob friends
    """
    found = ask_node(settings, "move", peer=peer, circle=circle)
    _tell(settings, found, f"{peer}: its messages arrive as {found['scope']}.TOPIC")
    return OK


@click.command("remove", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@drops
@pass_settings
def remove(settings: Settings, peer: str, drop: bool) -> int:
    """Forget PEER: its circles, its name and where it is. From now on it is a stranger.

    Its links are closed at once, and nothing of it reaches what listens to self. or friends.

    \b
      mm remove stolen-laptop --drop
    """
    _left(settings, ask_node(settings, "remove", peer=peer, drop=drop, block=False), f"{peer} is a stranger now")
    return OK


@click.command("block", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@drops
@pass_settings
def block(settings: Settings, peer: str, drop: bool) -> int:
    """Have nothing to do with PEER any more: no link, no mail, no message. It leaves its circles and keeps its name.

    \b
      mm block stolen-laptop
      mm unblock stolen-laptop
    """
    _left(settings, ask_node(settings, "remove", peer=peer, drop=drop, block=True), f"{peer} is blocked")
    return OK


@click.command("unblock", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@pass_settings
def unblock(settings: Settings, peer: str) -> int:
    """Let PEER, who was blocked, be a stranger again; mm move makes it more.

    \b
      mm unblock bob
      mm move bob friends
    """
    if not ask_node(settings, "unblock", peer=peer):
        raise Failure(f"{peer} is not blocked; mm peers says who is")
    _tell(settings, {"peer": peer, "unblocked": True}, f"{peer} is a stranger now, and no longer blocked")
    return OK


def _left(settings: Settings, found: dict[str, Any], what: str) -> None:
    """Say what is still here of a peer, and how to drop it."""
    _tell(settings, found, what)
    if settings.json:
        return
    key = found["signId"]
    if found["waiting"]:
        note(f"messages for it that still wait here: {found['waiting']}; mm outbox --peer {key} lists them")
    if found["kept"]:
        note(f"messages of it that are kept here: {found['kept']}; mm inbox --from {key} lists them")


def _tell(settings: Settings, found: dict[str, Any], text: str) -> None:
    if settings.json:
        emit(found)
    else:
        say(text)
