"""The front door of a relay: the server's side of one WebSocket, from the challenge to the last goodbye.

The first item a connection is told within a turn of the loop leaves at once, all others as one message. A connection
that sends faster than it may is not read until it has paid for that; nothing is dropped.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from mm_relay.access import Access
from mm_relay.doors.limits import Crowd
from mm_relay.doors.rate_limit import Bucket
from mm_relay.metrics import Metrics
from mm_relay.ports import Session
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import (
    RELAY,
    Bye,
    Closed,
    Data,
    Deposit,
    Forwarded,
    Item,
    Limits,
    Mail,
    MailWaiting,
    Noted,
    Open,
    Pause,
    Resume,
    SignIn,
    Taken,
)
from mm_transports.relay.protocol.wire import BATCH, batches, decode_items, encode_items
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity

SIGN_IN_WITHIN: Final = 10.0  # seconds
SMALL: Final = 256  # what an item without content counts as: with reasons at their longest 1.2 KiB
DENIED_RETRY: Final = 3600.0  # seconds
DRAIN_RETRY: Final = 10.0  # seconds at most until those sent away come back
_FROM_PEERS: Final = frozenset({Open, Data, Closed, Pause, Resume, Deposit, Noted, Taken})
_FROM_RELAYS: Final = frozenset({Forwarded})


class Core(Protocol):
    """What stands behind the front doors."""

    def sign_in(self, session: Session) -> None: ...

    def sign_out(self, session: Session) -> None: ...

    def receive(self, session: Session, item: Item) -> None:
        """Raises ProtocolError for an item that ends the connection."""

    def writable(self, session: Session) -> None:
        """It was full and is no more."""


class Hall:
    """What all front doors of a relay share."""

    def __init__(
        self,
        identity: Identity,
        name: str,
        limits: Limits,
        core: Core,
        *,
        access: Access,
        crowd: Crowd,
        metrics: Metrics,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        sign_in_within: float = SIGN_IN_WITHIN,
    ) -> None:
        self.identity, self.name, self.limits, self.core = identity, name, limits, core
        self.access, self.crowd, self.metrics = access, crowd, metrics
        self.now, self.random = now, random
        self.sign_in_within = sign_in_within
        self.draining = False
        self.fronts: set[Front] = set()
        self.sockets: set[WebSocket] = set()
        self._emptied: asyncio.Event | None = None

    def open(self, socket: WebSocket) -> "Front":
        """The owner of a new connection."""
        return Front(socket, self)

    def admit(self, ip: str) -> str:
        """Why an address may not connect now, or ""."""
        refusal = "draining" if self.draining else self.crowd.refuses(ip)
        if refusal:
            self.metrics.refused[refusal] += 1
        return refusal

    def drain(self) -> None:
        """Send everybody away, to come back at moments that spread over some seconds."""
        self.draining = True
        for front in list(self.fronts):
            front.end("draining", DRAIN_RETRY * (1 + self.random(1)[0] / 255) / 2)

    async def empty(self, patience: float) -> None:
        """Wait until all connections are closed; those that take longer are cut off."""
        self._emptied = asyncio.Event()
        if self.sockets:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), patience)
        for socket in list(self.sockets):
            socket.abort()

    def closed(self, socket: WebSocket) -> None:
        """A connection is no more."""
        self.sockets.discard(socket)
        if not self.sockets and self._emptied is not None:
            self._emptied.set()

    def reconsider(self, access: Access) -> None:
        """Lists have changed: who may not be here any more is sent away."""
        self.access = access
        for front in list(self.fronts):
            front.reconsider()


class Front:
    """One connection: the owner of its socket, and once it has signed in a session of the core."""

    key = b""
    role = 0
    address = ""

    def __init__(self, socket: WebSocket, hall: Hall) -> None:
        self._socket, self._hall = socket, hall
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Item] = []
        self._size = 0  # of those
        self._stuffed = self._was_full = self._scheduled = self._ended = False
        self._given: SignIn | None = None
        now = self._loop.time()
        self._bytes = Bucket(hall.limits.rate_bytes, now)
        self._items = Bucket(hall.limits.rate_items, now)
        self._timer = self._loop.call_later(hall.sign_in_within, self.end, "sign in sooner")
        self._asked = signin.challenge(hall.identity, hall.name, hall.random(32))
        hall.fronts.add(self)
        hall.sockets.add(socket)
        hall.crowd.enter(socket.ip)
        hall.metrics.connections += 1
        socket.send(encode_items([self._asked]))

    # A session, for the core.

    def tell(self, item: Item) -> None:
        if self._ended:
            return
        self._waiting.append(item)
        if not self._scheduled:  # the first of a turn is the only one as a rule: one turn less for a round trip
            self._scheduled = True
            self._loop.call_soon(self._flush)
            self._write()
            return
        self._size += _size(item)
        # Under load a turn of uvloop reads megabytes: the socket should not stand idle, nor a pause wait for its end.
        if self._size >= BATCH or isinstance(item, Pause):
            self._write()

    @property
    def full(self) -> bool:
        self._was_full |= self._stuffed
        return self._stuffed

    def end(self, reason: str, retry: float = 0.0) -> None:
        if self._ended:
            return
        self._waiting.append(Bye(reason[:200], int(retry * 1000)))
        self._write()
        self._ended = True
        self._timer.cancel()
        self._socket.close(1000, reason)
        self._loop.call_soon(self._leave)  # the core may be in the middle of something

    # The owner of a socket.

    def message_received(self, message: bytes) -> None:
        if self._ended:
            return
        try:
            items = decode_items(message)
            self._hall.metrics.bytes_in += len(message)
            self._hall.metrics.items_in += len(items)
            self._receive(items if self._given is not None else self._sign_in(items))
        except ProtocolError as error:
            self._refuse(str(error), 0.0)
        else:
            self._spend(len(items), len(message))

    def connection_lost(self, reason: str) -> None:
        self._ended = True
        self._timer.cancel()
        self._waiting.clear()
        self._leave()
        self._hall.closed(self._socket)

    def pause_writing(self) -> None:
        self._stuffed = True

    def resume_writing(self) -> None:
        self._stuffed = False
        self._tell_writable()

    def reconsider(self) -> None:
        """End when its key may not be here any more."""
        if self._given is not None and (refusal := self._hall.access.refuses(self._given)):
            self._refuse(refusal, DENIED_RETRY)

    # What comes in.

    def _sign_in(self, items: list[Item]) -> list[Item]:
        hall = self._hall
        if not items or not isinstance(items[0], SignIn):
            raise ProtocolError("bad-sign-in", "sign in first")
        given = items[0]
        signin.check_answer(self._asked, given)
        if refusal := hall.access.refuses(given):
            self._refuse(refusal, DENIED_RETRY)
            return []
        self._timer.cancel()
        self._given = given
        self.key, self.role, self.address = given.key, given.role, given.address
        hall.crowd.prove()
        hall.metrics.signed_in += 1
        self.tell(signin.welcome(hall.identity, self._asked, given, int(hall.now() * 1000), hall.limits))
        hall.core.sign_in(self)
        return items[1:]

    def _receive(self, items: list[Item]) -> None:
        receive = self._hall.core.receive
        allowed = _FROM_RELAYS if self.role == RELAY else _FROM_PEERS
        for item in items:
            if self._ended:
                return
            kind = type(item)
            if kind not in allowed or (isinstance(item, Forwarded) and isinstance(item.inner, MailWaiting)):
                if isinstance(item, Bye):
                    self._depart()
                    return
                raise ProtocolError("bad-item", f"{kind.__name__} is not for a client to say")
            receive(self, item)

    def _spend(self, items: int, size: int) -> None:
        now = self._loop.time()
        wait = max(self._items.spend(items, now), self._bytes.spend(size, now))
        if wait and not self._ended:
            self._hall.metrics.rate_pauses += 1
            self._socket.pause_reading()
            self._timer.cancel()
            self._timer = self._loop.call_later(wait, self._socket.resume_reading)

    def _depart(self) -> None:
        self._write()
        self._ended = True
        self._socket.close(1000, "bye")
        self._leave()

    def _refuse(self, reason: str, retry: float) -> None:
        self._hall.metrics.refused[reason.partition(":")[0]] += 1
        self.end(reason, retry)

    def _leave(self) -> None:
        hall = self._hall
        if self not in hall.fronts:
            return
        hall.fronts.discard(self)
        hall.crowd.leave(self._socket.ip, self._given is not None)
        hall.metrics.connections -= 1
        if self._given is not None:
            hall.metrics.signed_in -= 1
            hall.core.sign_out(self)

    # What goes out.

    def _flush(self) -> None:
        self._scheduled = False
        self._write()
        self._tell_writable()

    def _write(self) -> None:
        items, self._waiting, self._size = self._waiting, [], 0
        if not items or self._ended:
            return
        metrics = self._hall.metrics
        metrics.items_out += len(items)
        for batch in batches(items, _size):
            message = encode_items(batch)
            metrics.bytes_out += len(message)
            self._socket.send(message)

    def _tell_writable(self) -> None:
        if self._was_full and not self._stuffed and not self._ended and self._given is not None:
            self._was_full = False
            self._hall.core.writable(self)


def _size(item: Item) -> int:
    if isinstance(item, Data | Open):
        return len(item.data) + SMALL
    if isinstance(item, Mail | Deposit):
        return len(item.envelope) + SMALL
    return _size(item.inner) + SMALL if isinstance(item, Forwarded) else SMALL
