"""What is at the other end of a descriptor: a person at a terminal, and what that terminal can show."""

import os


def is_terminal(descriptor: int) -> bool:
    """Whether a person is at the other end."""
    try:
        return os.isatty(descriptor)
    except OSError:  # pragma: no cover
        return False


def is_steered(descriptor: int) -> bool:
    """Whether a terminal is at the other end that moves its cursor when it is told to."""
    return is_terminal(descriptor) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def has_colours(descriptor: int) -> bool:
    """Whether colours are seen and wanted at the other end (https://no-color.org)."""
    return is_steered(descriptor) and not os.environ.get("NO_COLOR")
