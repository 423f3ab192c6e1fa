"""Has memory that nobody uses any more go back to the system, once connections are gone that may have held much.

The C library of Linux keeps what is freed for its own use: after a flood a node would keep tens of megabytes.
"""

import asyncio
from contextlib import suppress
from typing import Final

AFTER: Final = 2.0  # seconds after a connection is gone; what others free meanwhile goes back in the same look
LATER: Final = 30.0  # seconds after the last look for what links hold in circles: a collection of garbage frees it
MUCH: Final = 8 * 1024 * 1024  # free bytes below which the C library keeps them
_FIELDS: Final = 10  # of ``struct mallinfo2`` of malloc.h, all of one size
_FREE: Final = 8  # the place of ``fordblks`` among them: free bytes


class FreeMemory:
    """The memory that the C library keeps; :meth:`look_soon` costs nothing while a look is due."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None

    def look_soon(self) -> None:
        """Look in a moment whether much is free, and give it back then: somebody who may have held it is gone."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AFTER, self._look)

    def close(self) -> None:
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        self._timer = None
        self._give_back()
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(LATER, self._look_later)

    def _look_later(self) -> None:
        self._later = None
        self._give_back()

    @staticmethod
    def _give_back() -> None:
        asyncio.get_running_loop().run_in_executor(None, give_back)  # it takes milliseconds


def give_back(much: int = MUCH) -> None:
    """Give free memory back when it is ``much`` bytes; does nothing where the C library cannot."""
    import ctypes  # used once somebody is gone: it would add to the start of every program

    class MallInfo(ctypes.Structure):
        _fields_ = (("values", ctypes.c_size_t * _FIELDS),)

    with suppress(OSError, AttributeError):  # another system, or another C library
        library = ctypes.CDLL(None)
        ask = library.mallinfo2
        ask.restype = MallInfo
        if ask().values[_FREE] > much:
            library.malloc_trim(0)
