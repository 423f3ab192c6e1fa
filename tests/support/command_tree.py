"""The commands of ``mm``, those of plugins among them."""

from collections.abc import Iterator

import click

from mmplatform.cli.lazy import LazyCommand


def commands(group: click.Group, path: str = "mm") -> Iterator[tuple[str, click.Command]]:
    """Every command that is listed, by the words that call it."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        command = command.load() if isinstance(command, LazyCommand) else command
        if command.hidden:
            continue
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
