"""Attachments of a relay's router to sessions that hear nothing."""

from mm_relay.routing.flows import Attachment
from mm_transports.relay.protocol.items import PEER
from tests.sim.relay.world import key_of


class FakeSession:
    address = ""
    full = True

    def __init__(self, name: str, role: int = PEER, place: bytes = b"") -> None:
        self.key, self.role = key_of(name), role
        self.place = place

    def tell(self, item: object) -> None: ...

    def end(self, reason: str, retry: float = 0.0) -> None: ...


def attachment(name: str, role: int = PEER, process: str = "", place: bytes = b"") -> Attachment:
    return Attachment(FakeSession(name, role, place), process)
