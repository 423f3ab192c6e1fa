"""Has the memory of a flood go back to the system.

The C library of Linux keeps freed blocks for its own use, and raises the size above which it does not with each large
one that it frees. After a flood of messages a relay would keep hundreds of megabytes in which next to nothing is left.
Large blocks that are mapped one by one go back at once, but cost page faults. So only very large ones are, unless a
relay takes much more memory than it just did.
"""

import asyncio
import ctypes
import logging
import resource
from itertools import count
from pathlib import Path
from typing import Final

LARGE: Final = 272 * 1024  # bytes above which a block is mapped by itself: more than one read gives
LARGE_IN_A_FLOOD: Final = 64 * 1024  # the same in a flood
FLOOD: Final = 12 * 1024 * 1024  # bytes of memory above the usual from which on there is one
USUAL: Final = 1024 * 1024  # bytes a second by which what is usual follows what is
EVERY: Final = 0.1  # seconds between two looks
CALM: Final = 50  # looks between two times that free pages among smaller blocks are given back without a flood
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD of malloc.h
_ARENA_MAX: Final = -8  # M_ARENA_MAX: what the thread of the store frees is for all
_STATM: Final = Path("/proc/self/statm")

log = logging.getLogger("mm_relay.allocator")


class Tide:
    """Says by the memory in use whether there is a flood. Pure."""

    def __init__(self, now: int) -> None:
        self._usual = float(now)
        self.flood = False

    def look(self, now: int) -> None:
        """Take note of the memory in use, EVERY seconds after the last time."""
        self._usual = min(float(now), self._usual + USUAL * EVERY)
        self.flood = now > self._usual + (FLOOD / 2 if self.flood else FLOOD)


async def give_back() -> None:
    """Give free memory back from now on, until cancelled; returns where the C library cannot do so."""
    try:
        library, tide = ctypes.CDLL(None), Tide(_resident())
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):  # another system, or another C library
        return
    if not (mallopt(_MMAP_THRESHOLD, LARGE) and mallopt(_ARENA_MAX, 1)):
        log.debug("the C library does not let the size of large blocks be set")
    for number in count():
        await asyncio.sleep(EVERY)
        before = tide.flood
        tide.look(_resident())
        if tide.flood is not before:
            mallopt(_MMAP_THRESHOLD, LARGE_IN_A_FLOOD if tide.flood else LARGE)
        if tide.flood or number % CALM == 0:
            await asyncio.to_thread(trim, 0)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
