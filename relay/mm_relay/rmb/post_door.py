"""Takes envelopes that other relays of RMB post: ``POST /`` on the port of the relay, 202 when an envelope is kept.

Theirs believe whoever posts. Here the twin that an envelope names as its source has to have signed it, and its
destination has to be at this relay. A status of 4xx tells the other relay to give up, 503 to try again. What comes over
a connection, and how much of it, is in post_connection.py.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

from mm_relay.doors.door import Core
from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.limits import network
from mm_relay.doors.rate_limit import ConnectionRates
from mm_relay.doors.turns import LoopTurns
from mm_relay.ports import InnerDeposit
from mm_relay.rmb.names import box_of, id_of
from mm_relay.rmb.post_connection import PostConnection
from mm_relay.rmb.world import RmbWorld
from mm_transports.relay.protocol.items import PEER, Declined, Deposit, Item, Stored
from mm_transports.rmb.protocol.challenge import verify_envelope
from mm_transports.rmb.protocol.envelope import RmbEnvelope, decode_envelope
from mm_transports.rmb.protocol.stamps import deadline
from mmplatform.errors import BadSignature, InvalidRecord, ProtocolError, Unreachable
from mmplatform.http1 import HttpAnswer, told
from mmplatform.token_bucket import TokenBuckets

CONNECTIONS: Final = 256
CONNECTIONS_A_PLACE: Final = 64
A_SECOND: Final = 500  # envelopes of one twin
MOST_COUNTED: Final = 8192  # twins whose rates are remembered
REMEMBERED: Final = 65_536  # envelopes that were kept, so that one posted again is not kept again
_STATUS: Final = {"too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "denied": HTTPStatus.FORBIDDEN,
                  "expired": HTTPStatus.GONE}  # fmt: skip


class PostHost(Protocol):
    """The relay as posts see it: what all connections share, those of posts among them."""

    rates: ConnectionRates
    turns: LoopTurns


class _Poster:
    """The session by which the envelopes of one twin reach the mailroom; nothing is told to it later."""

    role = PEER
    address = ""
    full = False

    def __init__(self, key: bytes, place: bytes, told: Callable[[Item], None]) -> None:
        self.key, self.place, self._told = key, place, told

    def tell(self, item: Item) -> None:
        self._told(item)

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Do nothing: a post has no connection of its own."""


class PostDoor:
    """What the connections share. Raises nothing: each envelope has an :class:`HttpAnswer`."""

    def __init__(self, world: RmbWorld, core: Core, host: PostHost) -> None:
        self._world, self._core, self._host = world, core, host
        self._connections: Counter[str] = Counter()
        self._rates: TokenBuckets[bytes] = TokenBuckets(A_SECOND, MOST_COUNTED)
        self._kept: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()
        self._open: set[PostConnection] = set()
        self._closed = False

    def connection(self, ip: str, half_sent: "HalfSent[Any]") -> PostConnection:
        """Return what has a connection whose first word is POST; ``half_sent`` counts what all connections hold."""
        host = self._host
        return PostConnection(self, ip, host.rates.meter(ip, asyncio.get_running_loop().time()), host.turns, half_sent)

    def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            connection.abort()

    def entered(self, connection: PostConnection) -> bool:
        """Whether there is room for one more connection."""
        place = network(connection.ip)
        if self._closed or len(self._open) >= CONNECTIONS or self._connections[place] >= CONNECTIONS_A_PLACE:
            return False
        self._connections[place] += 1
        self._open.add(connection)
        return True

    def left(self, connection: PostConnection) -> None:
        self._host.rates.close(connection.meter, connection.ip, asyncio.get_running_loop().time())
        if connection in self._open:
            self._open.remove(connection)
            place = network(connection.ip)
            self._connections[place] -= 1
            if not self._connections[place]:
                del self._connections[place]

    async def take(self, body: bytes, ip: str) -> HttpAnswer:
        """Keep an envelope; answer why not."""
        answer = await self._taken(body, self._world.place(ip))
        self._world.metrics.rmb_posts[answer.status] += 1
        return answer

    async def _taken(self, body: bytes, place: bytes) -> HttpAnswer:
        try:
            envelope = decode_envelope(body)
            end = deadline(envelope, int(self._world.now()), self._world.longest)
        except ProtocolError as error:
            return told(HTTPStatus.GONE if error.reason == "expired" else HTTPStatus.BAD_REQUEST, str(error))
        if envelope.source is None or envelope.destination is None or not envelope.uid:
            return told(HTTPStatus.BAD_REQUEST, "an envelope for another twin has a source, a destination and a uid")
        try:
            if refusal := await self._unproven(envelope, place) or await self._not_here(envelope, place):
                return refusal
        except (Unreachable, InvalidRecord) as error:
            return told(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        source = box_of(envelope.source)
        if self._wait(source[:8]):
            return told(HTTPStatus.SERVICE_UNAVAILABLE, "too many envelopes of this twin; come back in a second")
        name = source, box_of(envelope.destination), id_of(envelope, envelope.destination)
        if name in self._kept:
            return told(HTTPStatus.ACCEPTED)
        return await self._deposited(name, InnerDeposit(*name[1:], end * 1000, body), place)

    async def _unproven(self, envelope: RmbEnvelope, place: bytes) -> HttpAnswer | None:
        """Return why not to believe that the envelope is of its source; None when it is."""
        assert envelope.source is not None
        number = envelope.source.twin
        for newer in (False, True):
            twin = (await self._world.find(number, place, newer=newer)).twin if number else None
            try:
                if twin is not None:
                    verify_envelope(envelope, twin.account)
                    return None
            except BadSignature:
                pass
        return told(HTTPStatus.UNAUTHORIZED, f"not signed by twin {number}")

    async def _not_here(self, envelope: RmbEnvelope, place: bytes) -> HttpAnswer | None:
        assert envelope.destination is not None
        route = self._world.route(envelope.destination)
        if route is None:
            route = await self._world.find(envelope.destination.twin, place)
        if route.twin is None or route.relays:
            return told(HTTPStatus.MISDIRECTED_REQUEST, f"twin {envelope.destination.twin} is not at this relay")
        if envelope.fail_fast and not self._world.is_here(box_of(envelope.destination)):
            return told(HTTPStatus.NOT_FOUND, "destination offline")
        return None

    async def _deposited(self, name: tuple[bytes, bytes, bytes], deposit: Deposit, place: bytes) -> HttpAnswer:
        answered: asyncio.Future[Item] = asyncio.get_running_loop().create_future()

        def tell(item: Item) -> None:
            if isinstance(item, Stored | Declined) and not answered.done():
                answered.set_result(item)

        self._core.receive(_Poster(name[0], place, tell), deposit)
        item = await answered
        if isinstance(item, Declined):
            status = _STATUS.get(item.reason, HTTPStatus.SERVICE_UNAVAILABLE)
            return told(status, f"not kept: {item.reason}")
        self._kept[name] = None
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return told(HTTPStatus.ACCEPTED)

    def _wait(self, twin: bytes) -> bool:
        """Whether more of ``twin`` was posted than may be."""
        now = asyncio.get_running_loop().time()
        bucket = self._rates.of(twin, now)
        if bucket.level(now) < 1:
            return True
        bucket.spend(1, now)
        return False
