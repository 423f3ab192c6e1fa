"""mm rmb, one file a group of commands. What needs the extra [rmb] is imported when it is used."""

import click

from mm_services.rmb.commands.calls import call, ping, serve
from mm_services.rmb.commands.tester import tester
from mm_services.rmb.commands.twins import twin
from mmplatform.cli.command import Group


@click.group("rmb", cls=Group)
def rmb() -> None:
    """Work with ThreeFold's Reliable Message Bus (RMB), whose security is that of its time.

    \b
      mm rmb twin add 30 --secret-file secret --relay relay.example
      mm rmb twin list
      mm rmb call 30 calc.add -j '[1, 2]' --secret-file secret
    """


for command in (twin, call, serve, ping, tester):
    rmb.add_command(command)
