"""Has large blocks of memory go back to the system as soon as they are free.

The C library of Linux keeps freed blocks for its own use, and raises the size above which it does not with each large
one that it frees. After a flood of messages a relay would keep hundreds of megabytes in which next to nothing is left.
"""

import ctypes
import logging
from typing import Final

LARGE: Final = 64 * 1024  # bytes above which a block is mapped by itself: large frames and mail, not what is passed on
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD of malloc.h
_ARENA_MAX: Final = -8  # M_ARENA_MAX: what the thread of the store frees is for all

log = logging.getLogger("mm_relay.allocator")


def give_back_large_blocks() -> bool:
    """Map blocks above ``LARGE`` one by one from now on; return whether the C library does so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another system, or another C library
        return False
    done = bool(mallopt(_MMAP_THRESHOLD, LARGE) and mallopt(_ARENA_MAX, 1))
    if not done:
        log.debug("the C library does not let the size of large blocks be set")
    return done
