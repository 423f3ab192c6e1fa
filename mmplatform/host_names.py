"""Looks host names up, so that a name whose servers are dead holds up no other, nor the end of the process.

The loop's own look-ups share a few threads: two of uvloop, six of asyncio on two cores. A resolver takes half a minute
to give a dead name up, so three dead names, which any user may have named, kept every other peer and relay from being
dialled. Here each name has a thread of its own while it is looked up. Their number is bounded, and names that have
answered before do not share the bound with those that never did, nor what strangers name with what our own
configuration and those who are known here name.
"""

import asyncio
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Final, NamedTuple

MOST: Final = 256  # look-ups of strangers' new names at a time; so many of those that have answered before, and of ours
REMEMBERED: Final = 4096  # names that answered

Name = tuple[str, int]


class _Asked(NamedTuple):
    future: Future[list[str]]
    stranger: bool


_asked: dict[Name, _Asked] = {}
_answered: dict[Name, None] = {}  # in the order of their last answers


async def look_up(host: str, port: int, stranger: bool = False) -> list[str]:
    """Return the addresses of a host, which a ``stranger`` named, in the order to try them in. Raises OSError."""
    try:
        ip_address(host)
    except ValueError:
        name = host, port
        found = await asyncio.wrap_future((_asked.get(name) or _ask(name, stranger)).future)
        _remember(name)
        return found
    return [host]


def _ask(name: Name, stranger: bool) -> _Asked:
    if _beside(name, stranger) >= MOST:
        raise OSError(f"{name[0]} is not looked up: {MOST} other names are, and none of them answers")
    future = Future[list[str]]()
    asked = _asked[name] = _Asked(future, stranger)
    future.set_running_or_notify_cancel()  # so that a caller that gives up does not cancel it for others
    # A daemon thread: the end of the process does not wait for a dead name.
    thread = Thread(target=_resolve, args=(name, future), name=f"mm name {name[0]}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the system allows no more threads
        del _asked[name]
        raise OSError(f"{name[0]} is not looked up: {error}") from None
    return asked


def _beside(name: Name, stranger: bool) -> int:
    """How many names that share the bound of ``name`` are being looked up."""
    known = name in _answered
    return sum((other in _answered) == known and asked.stranger == stranger for other, asked in list(_asked.items()))


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
