"""The door for clients of RMB: envelopes are forwarded as they came, and kept until the recipient's stack has them.

The twin has proven itself in the request (entrance.py). What it sends is a deposit at the mailroom, whether or not its
recipient is here; what comes for it is mail, which is given back when the client has taken it (under_way.py).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from mm_relay.doors.door import Door, DoorHost
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.ports import TakenUntold
from mm_relay.rmb.names import box_of
from mm_relay.rmb.routes import TwinRoute
from mm_relay.rmb.sending import Sending
from mm_relay.rmb.under_way import Acknowledged, Ponged
from mm_transports.relay.protocol.items import (
    MAX_ITEMS,
    Declined,
    Ended,
    Item,
    Mail,
    Noted,
    Stored,
)  # fmt: skip
from mm_transports.relay.websocket import WebSocket
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import MAX_ENVELOPE, RmbPing, decode_envelope
from mm_transports.rmb.protocol.tokens import RelayToken
from mm_transports.rmb.protocol.twin import TwinInfo

if TYPE_CHECKING:
    from mm_relay.rmb.world import RmbWorld

OWN: Final = 0  # the number of what the relay says itself
NORMAL: Final = 1000  # codes of a close, RFC 6455 section 7.4.1
GOING_AWAY: Final = 1001
READ_ITEMS: Final = 4  # items that an envelope counts as, beyond one, for being read: it has two dozen fields
ANSWER_ITEMS: Final = 5  # items that an answer of the relay itself counts as, as it is made for its reader alone
PLACE_BYTES: Final = 32  # bytes of what a client says it has taken that count as one item more
MOST_OWED: Final = 1.0  # seconds for which a client whose session has ended would have to wait: it is not heard on
MOST_UNREAD: Final = 64 * 1024  # bytes of the relay's own answers that wait for a client, above which it is not read
NO_PONG: Final = "it answers no pings"


class RmbDoor(Door):
    """One connection of a twin that has proven itself by ``token``."""

    max_message: ClassVar[int] = MAX_ENVELOPE

    def __init__(
        self, socket: WebSocket, host: DoorHost, request: UpgradeRequest, *, world: "RmbWorld", token: RelayToken,
        twin: TwinInfo,
    ) -> None:  # fmt: skip
        super().__init__(socket, host, request)
        self._at, self.route, self._world = TwinAddress(token.twin, token.session), TwinRoute(twin), world
        self._acknowledges = token.acknowledges
        self._sending = Sending(world, self._at, self, strict=token.acknowledges)
        self._under_way: Acknowledged | Ponged = Acknowledged() if token.acknowledges else Ponged()
        self._sending_holds = False
        self._unread = 0  # bytes of answers since the client has not taken what it was sent
        socket.ponged = self._ponged
        self.begin_session(box_of(self._at))

    def refusal(self, key: bytes, role: int, address: str) -> str:
        """Return "": the registry says which twins there are, and the lists of the operator name keys of peers."""
        return ""

    def greet(self) -> None:
        self._world.signed_in(self)

    def decode(self, message: bytes) -> list[Item]:
        self._more += READ_ITEMS
        envelope = decode_envelope(message)
        if self._acknowledges and envelope.plain and isinstance(envelope.message, RmbPing):
            self._more += len(envelope.plain) // PLACE_BYTES
            self._take(self._under_way.take(envelope.plain))
        return self._sending.take(envelope, message)

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        for item in items:
            if isinstance(item, Mail):
                if item.number != OWN:
                    self._under_way.tell(item.number)
                yield item.envelope
        now = self._loop.time()
        if data := self._under_way.ping(now):
            self.socket.ping(data)
        elif self._under_way.late(now):
            self._loop.call_soon(self.end, NO_PONG)

    def tell(self, item: Item) -> None:
        match item:
            case Mail():
                super().tell(item)
            case Stored():
                self._sending.stored(item)
            case Declined():
                self._sending.declined(item)
            case Ended():
                self._sending.ended(item.id, item.state)
                self.host.core.receive(self, Noted(item.number))

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Close, and hear what the client said before it knew, as it will not say it again; it leaves behind that."""
        self._close(reason, retry, hears=True)

    def refuse(self, reason: str, retry: float = 0.0) -> None:
        if not self._ended:
            self.host.refused(self, reason)
            self._close(reason, retry, hears=False)

    def _close(self, reason: str, retry: float, *, hears: bool) -> None:
        if self._ended:
            return
        self._write()
        self._ended, self.ended_by = True, reason
        self._cancel_timers()
        self.socket.close(GOING_AWAY if retry else NORMAL, reason, hears=hears)

    def message_received(self, message: bytes) -> None:
        if not self._ended:
            super().message_received(message)
        else:
            self._guarded(self._hear_out, message)
            if self.meter.spend(1 + self._more, len(message), self._loop.time()) > MOST_OWED:
                self.socket.abort("it says too much after its end")
            self._more = 0

    def _hear_out(self, message: bytes) -> int:
        for item in self.decode(message):
            self.deposit(item)
        return 1

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread = 0
            self._look_hold()

    def connection_lost(self, reason: str) -> None:
        self._sending.close()
        self._world.signed_out(self)
        super().connection_lost(reason)

    # For what it sends.

    def answer(self, envelope: bytes) -> None:
        self._more += ANSWER_ITEMS
        super().tell(Mail(OWN, self.key, envelope))
        if self._writing_paused:
            self._unread += len(envelope)
            self._look_hold()

    def deposit(self, item: Item) -> None:
        """Give the mailroom what it was not given at once; also when the connection has ended: it was taken in."""
        self._more += self._weights.of(item)
        self.host.core.receive(self, item)

    def charge(self, items: int) -> None:
        self._more += items

    def charge_relays(self, name: str) -> None:
        self._more += self._weights.of_relay(name)

    def hold(self, holding: bool) -> None:
        self._sending_holds = holding
        self._look_hold()

    def _look_hold(self) -> None:
        self.holding = self._sending_holds or self._unread > MOST_UNREAD
        if self.holding:
            self.socket.pause_reading()
        else:
            self.read_on()

    # What it takes.

    def _ponged(self, data: bytes) -> None:
        if not self._acknowledges:
            self._take(self._under_way.take(data))
            if following := self._under_way.ping(self._loop.time()):
                self.socket.ping(following)

    def _take(self, numbers: list[int]) -> None:
        for first in range(0, len(numbers), MAX_ITEMS):
            self.host.core.receive(self, TakenUntold(numbers[first : first + MAX_ITEMS]))
