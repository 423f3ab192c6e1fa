"""Checks whether another node runs with our key, as a folder that was copied or restored elsewhere does."""

from typing import Final

from mmplatform.peers.peer import TAKEN_OVER
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, fault

SUBJECT: Final = "key"
REMEDY: Final = "a key is for one node: stop the other one, or give this one a data folder and a key of its own"


def examine(platform: Platform) -> list[Check]:
    """Tell of peers that we know and that left us for another node with our key. A stranger may say so of anybody."""
    left = [
        status.name or status.sign_id
        for status in platform.peers()
        if status.closed == TAKEN_OVER and platform.contacts.known(status.sign_id)
    ]
    if not left:
        return []
    return [
        fault(SUBJECT, "key-in-use", f"another node runs with this key: {', '.join(left)} talks to that one", REMEDY)
    ]
