"""Looks host names up, so that a name whose servers are dead holds up no other, nor the end of the process.

The loop's own look-ups share a few threads: two of uvloop, six of asyncio on two cores. A resolver takes half a minute
to give a dead name up, so three dead names, which any user may have named, kept every other peer and relay from being
dialled. Here each name has a thread of its own while it is looked up. Their number is bounded, and names that have
answered before do not share the bound with those that never did.
"""

import asyncio
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Final

MOST: Final = 256  # look-ups of new names at a time; so many of names that have answered before, too
REMEMBERED: Final = 4096  # names that answered

Name = tuple[str, int]

_asked: dict[Name, Future[list[str]]] = {}
_answered: dict[Name, None] = {}  # in the order of their last answers


async def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them. Raises OSError."""
    try:
        ip_address(host)
    except ValueError:
        name = host, port
        found = await asyncio.wrap_future(_asked.get(name) or _ask(name))
        _remember(name)
        return found
    return [host]


def _ask(name: Name) -> Future[list[str]]:
    if sum((other in _answered) == (name in _answered) for other in list(_asked)) >= MOST:
        raise OSError(f"{name[0]} is not looked up: {MOST} other names are, and none of them answers")
    future = _asked[name] = Future[list[str]]()
    future.set_running_or_notify_cancel()  # so that a caller that gives up does not cancel it for others
    # A daemon thread: the end of the process does not wait for a dead name.
    thread = Thread(target=_resolve, args=(name, future), name=f"mm name {name[0]}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the system allows no more threads
        del _asked[name]
        raise OSError(f"{name[0]} is not looked up: {error}") from None
    return future


def _resolve(name: Name, future: Future[list[str]]) -> None:
    try:
        found = [str(address[0]) for *_, address in socket.getaddrinfo(*name, type=socket.SOCK_STREAM)]
    except Exception as error:
        del _asked[name]
        future.set_exception(OSError(str(error)) if isinstance(error, UnicodeError) else error)
    else:
        del _asked[name]
        future.set_result(found)


def _remember(name: Name) -> None:
    _answered.pop(name, None)
    if len(_answered) >= REMEMBERED:
        del _answered[next(iter(_answered))]
    _answered[name] = None
