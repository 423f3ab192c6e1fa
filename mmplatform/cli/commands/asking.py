"""Asks one thing on behalf of a command, and waits for the answer."""

from typing import Any

from mmplatform.cli.command import Settings, execute
from mmplatform.cli.node.access import node, rows


def ask_node(settings: Settings, operation: str, **arguments: Any) -> Any:
    """Have the node of the folder do ``operation``, one of our own if none runs; return its answer."""

    async def ask() -> Any:
        async with node(settings.data) as there:
            return await there.call(operation, **arguments)

    return execute(ask)


def ask_rows(settings: Settings, operation: str, **arguments: Any) -> Any:
    """Have the node that runs on the folder do ``operation``, else its rows alone; return the answer."""

    async def ask() -> Any:
        async with rows(settings.data) as there:
            return await there.call(operation, **arguments)

    return execute(ask)
