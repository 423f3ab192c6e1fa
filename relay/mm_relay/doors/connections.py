"""Knows all connections of this process, of every door: lets them in, drains them, checks them against new lists."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from math import ceil
from typing import Final

from mm_relay.access import Access
from mm_relay.doors.arrivals import Arrivals
from mm_relay.doors.door import Core, Door, DoorMaker
from mm_relay.doors.kinds import DoorKind
from mm_relay.doors.limits import ConnectionLimits, network
from mm_relay.doors.rate_limit import ConnectionRates, RateLimits
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import Accepted, UpgradeRefused, UpgradeRequest
from mm_relay.metrics import Metrics
from mm_transports.relay.protocol.items import RELAY, Limits
from mm_transports.relay.websocket import WebSocket
from mmplatform.identity.keys import Identity, sign_id_of
from mmplatform.logs import LineLimit
from mmplatform.text import escaped

SIGN_IN_WITHIN: Final = 3.0  # seconds in which a client has to sign in
GAVE_WAY: Final = "too many connections that have not signed in"
MOST_LEAVING: Final = 64  # connections that have been told to go and have not gone, unless all are sent away
DRAIN_RETRY: Final = 10.0  # seconds at most until drained clients come back
ELSEWHERE: Final = "elsewhere"  # what clients are told that should come to another process of this relay
GIVEN_RETRY: Final = 1.0  # seconds at most until they do
SLICE: Final = 0.05  # seconds between two steps of sending them

log = logging.getLogger("mm_relay.doors")


class Connections:
    """The connections. ``kinds`` are the doors that are open; the first that takes a request has it."""

    def __init__(
        self,
        identity: Identity,
        name: str,
        limits: Limits,
        core: Core,
        *,
        kinds: Sequence[DoorKind],
        access: Access,
        connection_limits: ConnectionLimits[Door],
        metrics: Metrics,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        sign_in_within: float = SIGN_IN_WITHIN,
        address_items: int = 0,
        address_bytes: int = 0,
        turns: LoopTurns | None = None,
    ) -> None:
        self.identity, self.name, self.limits, self.core = identity, name, limits, core
        self.access, self.connection_limits, self.metrics = access, connection_limits, metrics
        self.now, self.random = now, random
        self.sign_in_within = sign_in_within
        self.rates = ConnectionRates(RateLimits(limits.rate_items, limits.rate_bytes, address_items, address_bytes))
        self.turns = turns or LoopTurns()
        self.draining = False
        self.closed_because = no_reason  # why nobody may come now, as others serve better; "" when anybody may
        self._giving_away = False
        self.doors: set[Door] = set()
        self.sockets: dict[WebSocket, Door] = {}
        self._kinds = kinds
        self._secret = identity.sign("mm/1 relay places")[:32]  # the same at all processes of this relay
        self._lines = LineLimit(log)
        self._emptied: asyncio.Event | None = None
        self._leaving = Arrivals(MOST_LEAVING, "it was told to go, and stayed")

    def answer(self, request: UpgradeRequest) -> Accepted | Awaitable[Accepted]:
        """Give the request to a door, which may have to look up who asks.

        Raises UpgradeRefused when nobody may come now, or no door takes it.
        """
        if refusal := self._refusal(request.ip):
            self.metrics.refused[refusal] += 1
            text = "a connection from %s is refused: %s"
            self._lines.info("refused", f"refused ({refusal})", text, escaped(request.ip), refusal)
            raise UpgradeRefused(HTTPStatus.SERVICE_UNAVAILABLE, refusal)
        for kind in self._kinds:
            if kind.takes(request):
                made = kind.admit(request)
                return self._admitted(kind, request, made) if callable(made) else self._later(kind, request, made)
        spoken = ", ".join(kind.subprotocol for kind in self._kinds if kind.subprotocol)
        offered = ", ".join(request.subprotocols)
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, f"this relay speaks {spoken}; offered: {offered}")

    async def _later(self, kind: DoorKind, request: UpgradeRequest, made: Awaitable[DoorMaker]) -> Accepted:
        return self._admitted(kind, request, await made)

    def _admitted(self, kind: DoorKind, request: UpgradeRequest, made: DoorMaker) -> Accepted:
        subprotocol = kind.subprotocol if kind.subprotocol in request.subprotocols else ""
        return Accepted(partial(self._make, made, request), subprotocol, kind.text)

    def drain(self) -> None:
        """Send all clients away, to come back at moments that spread over some seconds."""
        self.draining = True
        log.info("draining: %d connections are sent away", len(self.doors))
        for door in list(self.doors):
            door.end("draining", DRAIN_RETRY * (1 + self.random(1)[0] / 255) / 2)

    async def give_away(self, seconds: float, goes_on: Callable[[], bool]) -> int:
        """Send all clients to another process, spread over ``seconds``, as long as ``goes_on``; return how many."""
        doors, self._giving_away = list(self.doors), True
        some, given = max(1, ceil(len(doors) * SLICE / seconds)), 0
        try:
            for first in range(0, len(doors), some):
                if not goes_on():
                    break
                for door in doors[first : first + some]:
                    door.end(ELSEWHERE, GIVEN_RETRY * self.random(1)[0] / 255)
                    given += 1
                await asyncio.sleep(seconds * some / len(doors))
        finally:
            self._giving_away = False
        return given

    async def empty(self, patience: float) -> None:
        """Wait until all connections are closed; cut off those that take longer than ``patience`` seconds."""
        self._emptied = asyncio.Event()
        if self.sockets:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), patience)
        log.info("drained: %d connections took too long and are cut off", len(self.sockets))
        self._lines.close()
        for socket in list(self.sockets):
            socket.abort()

    def reconsider(self, access: Access) -> None:
        """Apply changed lists: clients that may not be here any more are sent away."""
        self.access = access
        for door in list(self.doors):
            door.reconsider()

    # What doors ask and tell.

    def place(self, ip: str) -> bytes:
        """Return a name for the address of ``ip`` that means nothing without the key of this relay."""
        return blake2b(network(ip).encode(), digest_size=16, key=self._secret).digest()

    def opened(self, door: Door) -> None:
        self.doors.add(door)
        self.sockets[door.socket] = door
        too_many = self.connection_limits.opened(door, door.ip)
        self.metrics.connections += 1
        log.debug("connection %d from %s", door.id, escaped(door.ip), extra={"connection": door.id})
        if too_many is not None:
            too_many.cut(GAVE_WAY)

    def signed_in(self, door: Door) -> None:
        self.connection_limits.signed_in(door, door.ip)
        self.metrics.signed_in += 1
        self._say(door, "signed in", f"signed in from {door.ip}")

    def refused(self, door: Door, reason: str) -> None:
        word = reason.partition(":")[0]
        self.metrics.refused[word] += 1
        text = "connection %d from %s is refused: %s"
        self._lines.info(
            "refused", f"refused ({word})", text, door.id, escaped(door.ip), escaped(reason), connection=door.id
        )  # fmt: skip

    def left(self, door: Door) -> None:
        if door not in self.doors:
            return
        self.doors.discard(door)
        if door.socket in self.sockets and not (self.draining or self._giving_away):
            self._leaving.add(door.socket, door.ip)
        self.connection_limits.closed(door, door.ip, door.signed_in)
        self.rates.close(door.meter, door.ip, asyncio.get_running_loop().time())
        self.metrics.connections -= 1
        if not door.signed_in:
            extra = {"connection": door.id}
            log.debug("connection %d ended without a sign-in: %s", door.id, escaped(door.ended_by), extra=extra)
        else:
            self._say(door, "signed out", f"signed out: {door.ended_by}")
            self.metrics.signed_in -= 1
            self.core.sign_out(door)

    def closed(self, door: Door) -> None:
        self._leaving.remove(door.socket)
        self.sockets.pop(door.socket, None)
        if not self.sockets and self._emptied is not None:
            self._emptied.set()

    def _say(self, door: Door, kind: str, what: str) -> None:
        """Log what a key that was proven does; all of them share one allowance, as anybody can make more keys."""
        if log.isEnabledFor(logging.INFO):
            who, key = "relay" if door.role == RELAY else "peer", sign_id_of(door.key)
            self._lines.info(
                kind, kind, "connection %d: %s %s %s", door.id, who, key, escaped(what), connection=door.id, peer=key
            )  # fmt: skip

    def _make(self, made: DoorMaker, request: UpgradeRequest, socket: WebSocket) -> Door:
        try:
            return made(socket, self, request)
        except BaseException:
            door = self.sockets.get(socket)
            if door is not None:  # it was counted, and its socket has no owner that could hear of its end
                Door.connection_lost(door, "its door failed")  # a subclass may be half made
            raise

    def _refusal(self, ip: str) -> str:
        if self.draining:
            return "draining"
        return self.closed_because() or self.connection_limits.refuses(ip)


def no_reason() -> str:
    """Let anybody come."""
    return ""
