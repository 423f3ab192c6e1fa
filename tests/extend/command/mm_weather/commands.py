"""``mm weather``: says what the service in the node knows."""

from typing import Any

import click

from mmplatform.cli.command import OK, Command, Failure, Settings, execute, pass_settings
from mmplatform.cli.node.access import node
from mmplatform.cli.output import emit, say
from mmplatform.errors import NoResponders


@click.command("weather", cls=Command)
@click.argument("place")
@pass_settings
def weather(settings: Settings, place: str) -> int:
    """Say how warm it is at PLACE."""
    found = execute(lambda: ask(settings, place))
    emit(found) if settings.json else say(f"{found['degrees']} degrees")
    return OK


async def ask(settings: Settings, place: str) -> Any:
    async with node(settings.data) as there:
        try:
            return await there.call("request", peer=None, topic="weather.get", payload=place, timeout=5.0)
        except NoResponders:
            raise Failure("this node has no weather; start it with: mm run --service weather") from None
