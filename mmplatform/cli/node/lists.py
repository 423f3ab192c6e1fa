"""What commands ask and change about the lists of a node; it needs no network."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node.sending import resolve
from mmplatform.cli.node.stored import RowsContext
from mmplatform.platform import Platform


async def lists(context: RowsContext, served: Served) -> list[dict[str, Any]]:
    """All lists, with their members."""
    return [_list(context.platform, name) for name in context.platform.contacts.lists]


async def change_list(
    context: RowsContext, served: Served, change: Literal["make", "extend", "shorten"], name: str, peers: Sequence[str]
) -> dict[str, Any]:
    """Make a list, or take peers into one or out of it; the list as it is then."""
    there = context.platform.contacts.lists
    changes = {"make": there.make, "extend": there.extend, "shorten": there.shorten}
    for peer in peers:
        resolve(context.platform, peer)  # it says how a peer becomes known
    await changes[change](name, *peers)
    return _list(context.platform, name)


async def remove_list(context: RowsContext, served: Served, name: str) -> None:
    """Forget a list."""
    await context.platform.contacts.lists.remove(name)


def _list(platform: Platform, name: str) -> dict[str, Any]:
    contacts = platform.contacts
    return {
        "name": name,
        "members": [{"signId": peer, "name": contacts.name(peer)} for peer in contacts.lists.members(name)],
    }


OPERATIONS: Final[dict[str, Operation]] = {
    operation.__name__: operation for operation in (lists, change_list, remove_list)
}
