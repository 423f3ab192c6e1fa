"""Has the memory of a flood go back to the system.

The C library of Linux keeps freed blocks for its own use, and raises the size above which it does not with each large
one that it frees. After a flood of messages a relay would keep hundreds of megabytes in which next to nothing is left.
"""

import asyncio
import ctypes
import logging
from typing import Final

LARGE: Final = 128 * 1024  # bytes above which a block is mapped by itself, which costs page faults: frames have less
EVERY: Final = 2.0  # seconds between two times that free pages among smaller blocks are given back
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD of malloc.h
_ARENA_MAX: Final = -8  # M_ARENA_MAX: what the thread of the store frees is for all

log = logging.getLogger("mm_relay.allocator")


async def give_back() -> None:
    """Give free memory back from now on, until cancelled; returns where the C library cannot do so."""
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):  # another system, or another C library
        return
    if not (mallopt(_MMAP_THRESHOLD, LARGE) and mallopt(_ARENA_MAX, 1)):
        log.debug("the C library does not let the size of large blocks be set")
    while True:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(trim, 0)
