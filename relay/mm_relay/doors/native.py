"""The door for nodes and other relays: the words of mm-relay.1, signed in by a challenge (docs/protocol/relay.rst).

The door is registered as the plugin ``native``, like doors of others: there is one way to find a door, one list of
installed ones, and a relay may do without this one.
"""

from collections.abc import Iterable
from typing import ClassVar

from mm_relay.doors.door import Door, DoorHost
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.doors.weights import size_of
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION, Item, SignIn
from mm_transports.relay.protocol.wire import batches, decode_items, encode_items
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import ProtocolError


class NativeDoor(Door):
    """A door whose messages are arrays of items; the relay speaks first, with its challenge."""

    subprotocol: ClassVar[str] = VERSION
    max_message: ClassVar[int] = MAX_MESSAGE

    # A method around it would cost a call for every message.
    decode = staticmethod(decode_items)  # pyright: ignore[reportAssignmentType]

    def __init__(self, socket: WebSocket, host: DoorHost, request: UpgradeRequest) -> None:
        super().__init__(socket, host, request)
        self._given: SignIn | None = None
        self._asked = signin.challenge(host.identity, host.name, host.random(32))
        socket.send(encode_items([self._asked]))

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        if len(items) == 1:
            return (encode_items(items),)
        return [encode_items(batch) for batch in batches(items, size_of)]

    def sign_in(self, items: list[Item]) -> list[Item]:
        if not items or not isinstance(items[0], SignIn):
            raise ProtocolError("bad-sign-in", "sign in first")
        given = self._given = items[0]
        signin.check_answer(self._asked, given)
        self.begin_session(given.key, given.role, given.address)
        return items[1:]

    def greet(self) -> None:
        assert self._given is not None
        now = int(self.host.now() * 1000)
        self.tell(signin.welcome(self.host.identity, self._asked, self._given, now, self.host.limits))
