"""What stands for a command in lists says what the command itself says."""

import click
import pytest

from mmplatform.cli.command_table import commands
from mmplatform.cli.lazy import LazyCommand


@pytest.mark.parametrize("listed", list(commands()), ids=lambda listed: str(listed.name))
def test_a_line_is_that_of_its_command(listed: LazyCommand) -> None:
    command = listed.load()
    assert (command.name, command.hidden) == (listed.name, listed.hidden)
    assert isinstance(command, click.Command)
    if not listed.hidden:
        for limit in (20, 45, 90, 1000):
            assert listed.get_short_help_str(limit) == command.get_short_help_str(limit)
