"""docs/cli.rst has every command with its arguments and options, and nothing else."""

import re
from pathlib import Path

import click

from mmplatform.cli.command import common_options
from mmplatform.cli.main import mm
from mmplatform.cli.remembered import ALL
from tests.support.command_tree import commands

PAGE = (Path(__file__).parents[3] / "docs" / "cli.rst").read_text("utf-8")
COMMON = {name for option in common_options() for name in option.opts}


def called(path: str, command: click.Command) -> str:
    """The command with its arguments, as the page has it."""
    context = click.Context(command)
    arguments = [p.make_metavar(context).strip("{}") for p in command.params if isinstance(p, click.Argument)]
    return " ".join([path, *arguments])


def documented() -> dict[str, str]:
    """The text of each command of the page."""
    parts = re.split(r"^``(mm [^`]+)``$", PAGE.partition("Commands\n--------\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_there_and_no_other() -> None:
    assert sorted(documented()) == sorted(called(path, command) for path, command in commands(mm))


def test_every_option_is_there_and_no_other() -> None:
    page = documented()
    for path, command in commands(mm):
        options = [p for p in command.params if isinstance(p, click.Option) and not COMMON & set(p.opts)]
        expected = {name for option in options for name in (*option.opts, *option.secondary_opts)}
        assert set(re.findall(r"``(--?[a-z-]+)", page[called(path, command)])) == expected, path


def test_what_all_commands_have_is_there() -> None:
    common = PAGE.partition("Exit codes\n")[0]
    for word in (*COMMON, *(kind.variable for kind in ALL), *(kind.file for kind in ALL), "MM_DATA", "MM_DEBUG"):
        assert f"``{word}" in common, word
