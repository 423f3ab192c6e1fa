"""The base of all doors, whatever words their clients use: one WebSocket from its start to its end.

The first item that a connection is told within a loop turn leaves at once, all others as one message. A connection
that sends faster than it may is not read until its debt is paid; nothing is dropped. Of a message of many items, those
that a turn of the loop has no time for wait for the next.
"""

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from operator import length_hint
from typing import ClassVar, Final, Protocol

from mm_relay.access import Access
from mm_relay.doors.failures import log_failure
from mm_relay.doors.rate_limit import ConnectionRates
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.doors.weights import WEIGHED, Weights, size_of
from mm_relay.metrics import Metrics
from mm_relay.ports import InnerDeposit, RelaySession
from mm_transports.relay.protocol.items import (
    PEER,
    RELAY,
    Bye,
    Closed,
    Data,
    Deposit,
    Forwarded,
    Item,
    Limits,
    MailWaiting,
    Noted,
    Open,
    Pause,
    Resume,
    Taken,
)
from mm_transports.relay.protocol.wire import BATCH
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity

AT_ONCE: Final = 32  # items of a message that are handled before the others are asked for their turn
FRAME_ITEMS: Final = 4  # items that a frame counts as which is no whole message: it is computed like one, says nothing
SIGN_IN_ITEMS: Final = 25  # items that a connection and its sign-in count as: signatures are the dearest thing here
DENIED_RETRY: Final = 3600.0  # seconds that a denied client should stay away
INTERNAL_ERROR: Final = 1011  # the code of a close, RFC 6455 section 7.4.1
_FROM_PEERS: Final = frozenset({Open, Data, Closed, Pause, Resume, Deposit, InnerDeposit, Noted, Taken})
_LIGHT: Final = _FROM_PEERS - WEIGHED - {InnerDeposit}
_FROM_RELAYS: Final = frozenset({Forwarded})
_NOTHING: Final[tuple[Item, ...]] = ()

log = logging.getLogger("mm_relay.doors")
_numbers = itertools.count(1)


DoorMaker = Callable[[WebSocket, "DoorHost", UpgradeRequest], "Door"]
"""Makes the door of one connection, as the class of most doors does."""


class Core(Protocol):
    """The core of a relay, behind its doors."""

    def sign_in(self, session: RelaySession) -> None: ...

    def sign_out(self, session: RelaySession) -> None: ...

    def receive(self, session: RelaySession, item: Item) -> None:
        """Handle an item of a session. Raises ProtocolError for one that ends the connection."""

    def writable(self, session: RelaySession) -> None:
        """Go on telling ``session``, which was full and is no more."""


class DoorHost(Protocol):
    """The relay as a door sees it."""

    identity: Identity
    name: str
    limits: Limits
    core: Core
    access: Access
    metrics: Metrics
    rates: ConnectionRates
    turns: LoopTurns
    sign_in_within: float  # seconds
    now: Callable[[], float]  # Unix seconds
    random: Callable[[int], bytes]

    def place(self, ip: str) -> bytes:
        """Return what stands for an address in the store of mail."""
        ...

    def opened(self, door: "Door") -> None:
        """Take note of a new connection."""

    def signed_in(self, door: "Door") -> None:
        """Take note that the key of ``door`` is proven, and may be here."""

    def refused(self, door: "Door", reason: str) -> None:
        """Take note that ``door`` is being ended for something that its client did."""

    def left(self, door: "Door") -> None:
        """Take note that nothing is said over ``door`` any more; every call but the first does nothing."""

    def closed(self, door: "Door") -> None:
        """Take note that the socket of ``door`` is closed."""


class Door(ABC):
    """One connection: the owner of its socket and, once it has signed in, a session of the core.

    A subclass says which requests are for it, how a client proves its key, and how messages and items are translated.
    It calls :meth:`begin_session` as soon as the key is proven: within its constructor when the request has the proof,
    or in :meth:`sign_in`. A client that has not signed in after some seconds is sent away.

    Attributes:
        subprotocol: What a client offers that wants this door; "" when the path decides.
        text: Messages are text frames, as UTF-8; binary ones otherwise. A frame of the other kind ends the connection.
        max_message: Bytes of the longest message a client may send.
        id: A number that no other connection of this process has; the log says ``connection 12``. Whether items are
            logged is looked up when the connection opens, not for each message.
        ended_by: Why the connection ended, once it has.

    """

    subprotocol: ClassVar[str] = ""
    text: ClassVar[bool] = False
    max_message: ClassVar[int] = 1024 * 1024

    key = b""
    role = PEER
    address = ""
    place = b""
    ended_by = ""
    holding = False  # whether the connection is not read because of what the door waits for; ``read_on`` ends that

    @classmethod
    def takes(cls, request: UpgradeRequest) -> bool:
        """Whether the request is for this door. Raises UpgradeRefused to answer it with a status of the door's own."""
        return cls.subprotocol in request.subprotocols

    @classmethod
    def admit(cls, request: UpgradeRequest) -> "DoorMaker | Awaitable[DoorMaker]":
        """Return what makes the door of a request that it takes; a door that looks up who asks returns it later.

        Raises UpgradeRefused, now or then.
        """
        return cls

    def __init__(self, socket: WebSocket, host: DoorHost, request: UpgradeRequest) -> None:
        """Take a new connection; ``request`` is not kept, as the headers of idle connections would fill the memory."""
        self.socket, self.host, self.ip = socket, host, request.ip
        self.id = next(_numbers)
        self.signed_in = False
        self._logged = log.isEnabledFor(logging.DEBUG)
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Item] = []
        self._size = 0  # bytes of the waiting items, roughly
        self._writing_paused = self._was_full = self._scheduled = self._ended = False
        self._rest: Iterator[Item] = iter(_NOTHING)  # of a message; the connection is not read before they are handled
        self._weights = Weights()
        self._more = 0  # items that those of a message count as beyond one each
        self.meter = host.rates.meter(self.ip, self._loop.time())
        socket.counted, socket.newcomer = self._count_frame, True
        self._sign_in_timer = self._loop.call_later(host.sign_in_within, self.end, "sign in sooner")
        self._reading_timer: asyncio.TimerHandle | None = None
        host.opened(self)
        self._spend(SIGN_IN_ITEMS, 0)

    # The words of a door.

    @abstractmethod
    def decode(self, message: bytes) -> list[Item]:
        """Return the items of one message. Raises ProtocolError, which ends the connection."""

    @abstractmethod
    def encode(self, items: list[Item]) -> Iterable[bytes]:
        """Return the messages that tell a client these items, in order; those it has no word for are left out."""

    def sign_in(self, items: list[Item]) -> list[Item]:
        """Take what a client says before it has signed in; return the items that are left for the core.

        Raises ProtocolError. This method always does: it serves doors where the request has the proof.
        """
        raise ProtocolError("bad-sign-in", "sign in first")

    def greet(self) -> None:  # noqa: B027 - most clients need not be told
        """Tell the client that it is signed in, before anybody else tells it anything."""

    def begin_session(self, key: bytes, role: int = PEER, address: str = "") -> None:
        """Make the client, which has proven ``key``, a session of the core, or refuse it when it may not be here.

        To be called once; nothing happens when the connection has ended meanwhile.

        Args:
            key: 32 raw bytes.
            role: PEER or RELAY.
            address: Where a relay is reached itself.

        """
        if self._ended:
            return
        if refusal := self.refusal(key, role, address):
            self.refuse(refusal, DENIED_RETRY)
            return
        self._sign_in_timer.cancel()
        self.key, self.role, self.address = key, role, address
        self.place = self.host.place(self.ip) if role == PEER else b""
        self.signed_in, self.socket.newcomer = True, False
        self.host.signed_in(self)
        self.greet()
        self.host.core.sign_in(self)

    def refusal(self, key: bytes, role: int, address: str) -> str:
        """Return why the lists of the operator do not let ``key`` in, or ""."""
        return self.host.access.refuses(key, role, address)

    def refuse(self, reason: str, retry: float = 0.0) -> None:
        """End the connection for something that its client did, and count it; ``retry`` in seconds."""
        self.host.refused(self, reason)
        self.end(reason, retry)

    def cut(self, reason: str) -> None:
        """Close the connection at once, without a word: it has to give way, and may not read what it is told."""
        if self._ended:
            return
        self.host.refused(self, reason)
        self._ended, self.ended_by = True, reason
        self._cancel_timers()
        self.socket.abort(reason)
        self.host.left(self)

    # A session, for the core.

    def tell(self, item: Item) -> None:
        if self._ended:
            return
        self._waiting.append(item)
        if not self._scheduled:  # usually the only item of the turn: saves a turn
            self._scheduled = True
            self._loop.call_soon(self._flush)
            self._write()
            return
        self._size += size_of(item)
        # Under load a turn of uvloop reads megabytes: neither the socket nor a pause should wait for its end.
        if self._size >= BATCH or isinstance(item, Pause):
            self._write()

    @property
    def full(self) -> bool:
        self._was_full |= self._writing_paused
        return self._writing_paused

    def end(self, reason: str, retry: float = 0.0) -> None:
        if self._ended:
            return
        self._waiting.append(Bye(reason[:200], int(retry * 1000)))
        self._write()
        self._ended, self.ended_by = True, reason
        self._cancel_timers()
        self.socket.close(1000, reason)
        self._loop.call_soon(self.host.left, self)  # later, as the core may be in the middle of something

    # The owner of a socket.

    def message_received(self, message: bytes) -> None:
        if self._ended:
            return
        items = self._guarded(self._read, message)
        self._spend(1 + items + self._more, len(message))
        self._more = 0

    def connection_lost(self, reason: str) -> None:
        self._ended, self.ended_by = True, self.ended_by or reason or "closed by the client"
        self._cancel_timers()
        self._waiting.clear()
        self._rest = iter(_NOTHING)
        self.host.left(self)
        self.host.closed(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._tell_writable()

    def reconsider(self) -> None:
        """End the connection when its key may not be here any more."""
        if self.signed_in and (refusal := self.refusal(self.key, self.role, self.address)):
            self.refuse(refusal, DENIED_RETRY)

    # What comes in.

    def _guarded(self, read: Callable[..., int], *given: bytes) -> int:
        """Call ``read``; end the connection when it raises, and return 0 then."""
        try:
            return read(*given)
        except ProtocolError as error:
            self.refuse(str(error))
        except UnicodeDecodeError:
            self.refuse("bad-text: not UTF-8")
        except Exception as error:
            self._fail(error)
        return 0

    def _read(self, message: bytes) -> int:
        """Handle a message, or what there is time for; return how many items it has."""
        if len(message) > self.max_message:  # the listener's own bound is the largest of all doors
            raise ProtocolError("too-large", f"at most {self.max_message} bytes")
        items = self.decode(message)
        self.host.metrics.bytes_in += len(message)
        self.host.metrics.items_in += len(items)
        if self._logged:
            self._log_items("in", items, len(message))
        self._rest = iter(items if self.signed_in else self.sign_in(items))
        self._receive()
        return len(items)

    def _go_on(self) -> None:
        if not self._ended:
            self._guarded(self._receive)
            self._spend(self._more, 0)
            self._more = 0
            self.read_on()

    def _receive(self) -> int:
        """Give the core the items that are left; those that this turn has no time for wait for the next."""
        while True:
            self._receive_some(islice(self._rest, AT_ONCE))
            if self._ended or not length_hint(self._rest):
                return 0
            if not self.host.turns.has_time():
                self.socket.pause_reading()
                self.host.turns.rest(self._go_on)
                return 0

    def _receive_some(self, items: Iterable[Item]) -> None:
        receive = self.host.core.receive
        light = _FROM_RELAYS if self.role == RELAY else _LIGHT
        for item in items:
            if self._ended:
                return
            heavy = type(item) not in light or (isinstance(item, Forwarded) and isinstance(item.inner, MailWaiting))
            if heavy:
                if isinstance(item, Bye):
                    self._depart()
                    return
                if type(item) not in _FROM_PEERS or self.role == RELAY:
                    raise ProtocolError("bad-item", f"{type(item).__name__} is not for a client to say")
                self._more += self._weights.of(item)
            receive(self, item)
            if heavy and not self.host.turns.has_time():
                return

    def _count_frame(self, size: int) -> None:
        """Charge a frame that is no whole message: a fragment, a ping, a pong."""
        if not self._ended:
            self._spend(FRAME_ITEMS, size)

    def _spend(self, items: int, size: int) -> None:
        wait = self.meter.spend(items, size, self._loop.time())
        if wait and not self._ended:
            self.host.metrics.rate_pauses += 1
            self.socket.pause_reading()
            if self._reading_timer is not None:
                self._reading_timer.cancel()
            self._reading_timer = self._loop.call_later(wait, self._paid)

    def _paid(self) -> None:
        self._reading_timer = None
        self.read_on()

    def read_on(self) -> None:
        """Read again, when all that was read is handled and paid for."""
        if self._reading_timer is None and not self.holding and not length_hint(self._rest) and not self._ended:
            self.socket.resume_reading()

    def _fail(self, error: Exception) -> None:
        """The code of this door is at fault: the connection ends without a word of the door."""
        if self._ended:
            return
        log_failure(type(self).__name__, error)
        self.host.metrics.refused["door-failed"] += 1
        self._ended = True
        self._waiting.clear()
        self._cancel_timers()
        self.socket.close(INTERNAL_ERROR, "internal error")
        self._loop.call_soon(self.host.left, self)  # the core may be in the middle of something

    def _cancel_timers(self) -> None:
        self._sign_in_timer.cancel()
        if self._reading_timer is not None:
            self._reading_timer.cancel()

    def _depart(self) -> None:
        self._write()
        self._ended, self.ended_by = True, "it said goodbye"
        self.socket.close(1000, "bye")
        self._loop.call_soon(self.host.left, self)  # later, as what it said is charged first

    # What goes out.

    def _flush(self) -> None:
        self._scheduled = False
        self._write()
        self._tell_writable()

    def _write(self) -> None:
        items, self._waiting, self._size = self._waiting, [], 0
        if not items or self._ended:
            return
        metrics = self.host.metrics
        metrics.items_out += len(items)
        before = metrics.bytes_out
        try:
            self.socket.send_all(self._counted(self.encode(items)))
        except Exception as error:  # the core may be in the middle of what another connection said
            self._fail(error)
        if self._logged:
            self._log_items("out", items, metrics.bytes_out - before)

    def _counted(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        for message in messages:
            self.host.metrics.bytes_out += len(message)
            yield message

    def _log_items(self, way: str, items: list[Item], size: int) -> None:
        """Log kinds of items and bytes of one message, and nothing of what is in them."""
        kinds = Counter(type(item.inner if isinstance(item, Forwarded) else item).__name__ for item in items)
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        log.debug("connection %d %s: %s, %d bytes", self.id, way, said, size, extra={"connection": self.id})

    def _tell_writable(self) -> None:
        if self._was_full and not self._writing_paused and not self._ended and self.signed_in:
            self._was_full = False
            self.host.core.writable(self)
