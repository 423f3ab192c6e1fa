"""What a relay opens: kinds of doors, by which connections come in."""

from collections.abc import Awaitable
from typing import Protocol

from mm_relay.doors.door import DoorMaker
from mm_relay.doors.upgrade import UpgradeRequest


class DoorKind(Protocol):
    """The class of a door, or an object that makes doors of one kind and has what they share."""

    subprotocol: str
    text: bool
    max_message: int

    def takes(self, request: UpgradeRequest) -> bool:
        """Whether the request is for this door. Raises UpgradeRefused to answer it with a status of the door's own."""
        ...

    def admit(self, request: UpgradeRequest) -> DoorMaker | Awaitable[DoorMaker]:
        """Return what makes the door of the request, now or later. Raises UpgradeRefused, now or then."""
        ...
