"""What a forked child must not hold: locks, ports and connections stay with the process that opened them.

A child has copies of all descriptors. Those of a node would keep its folder locked and its ports taken when the node
is gone, and hide from peers that their connections have ended. So the child lets go of them before it does anything.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    import asyncio  # commands that ask a node import folders, and no event loop


class Inherited(Protocol):
    """Something with a descriptor, or a place, that is not for children."""

    def forked(self) -> None:
        """Let go of it: this is a child."""
        ...


_inherited: Final[WeakSet[Inherited]] = WeakSet()


def watch(each: Inherited) -> None:
    """Call ``each.forked()`` in every child that is forked from now on, as long as ``each`` is there."""
    _inherited.add(each)


def let_go(descriptors: Iterable[int]) -> None:
    """Close sockets in this child. Their numbers stay taken by one that nobody else has: whoever closes them again, or
    writes to them, hits no file that was opened since."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nobody:
        for descriptor in descriptors:
            if descriptor >= 0:
                os.dup2(nobody.fileno(), descriptor, inheritable=False)


def let_go_of(transport: "asyncio.BaseTransport | None") -> None:
    """Close the socket of a transport in this child."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None:
        let_go([sock.fileno()])


def part(loop: "asyncio.AbstractEventLoop") -> None:
    """Give the copy of a loop in this child a selector of its own. The copied one is that of the parent: what is taken
    out of it here, as by closing the loop, the parent would not hear of any more.
    uvloop does so by itself."""
    import selectors

    if isinstance(getattr(loop, "_selector", None), selectors.BaseSelector):
        vars(loop)["_selector"] = selectors.DefaultSelector()


def _forked() -> None:
    for each in list(_inherited):
        with suppress(Exception):  # the others all the same
            each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
