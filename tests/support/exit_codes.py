"""Runs the programs of the tests and benchmarks: what Ctrl-C ends says so in one line."""

import sys
from collections.abc import Callable
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # as a shell has it: 128 and the number of SIGINT


def exit_with(main: Callable[[], int]) -> NoReturn:
    """End the process with what ``main`` returns."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
