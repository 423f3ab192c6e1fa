"""Makes sure that 0, 1 and 2 are what they should be: what is opened later must not take the place of a closed one."""

import os
import sys
from typing import Final

READ_FROM: Final = 0
WRITTEN_TO: Final = 1


def fill_closed() -> None:
    """Put something in the place of each standard stream that the caller has closed.

    A socket or the database would get its number, and what is meant for people would be written there. Reading from a
    stdin and writing to a stdout that were closed fail, as they should: a message must not be sent empty, nor be
    confirmed that nobody has seen. Notes for a closed stderr are lost.
    """
    for number, wrong_way in ((READ_FROM, os.O_WRONLY), (WRITTEN_TO, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, wrong_way)  # the lowest free number is the one that was closed
            if opened != number:  # pragma: no cover - another thread was faster
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(READ_FROM, "r", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(WRITTEN_TO, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
