"""Keeps a relay from letting in more connections than it may have open files: the store needs some, too. Pure."""

from typing import Final

SPARE: Final = 512  # for arrivals, those that leave, the store, links to other relays


def room(most: int, descriptors: int) -> tuple[int, str]:
    """Return how many connections to let in, and what to tell the operator when ``most`` are out of reach.

    Args:
        most: connections that the operator allows; 0 for any number.
        descriptors: files and connections that this process may have open.

    """
    fit = descriptors - min(SPARE, descriptors // 2)
    if not most or most <= descriptors:
        return min(most or fit, fit), ""
    return fit, (
        f"this process may open {descriptors:,} files and connections, so {fit:,} clients are let in and not {most:,}"
        " (max-connections): raise the limit (LimitNOFILE= of systemd, ulimit -n), or lower max-connections"
    )
