"""One connection of another relay that posts: its envelopes one after the other, in the turns of the loop.

What is posted is charged to the address that it comes from, as all else that comes to the relay; who has posted more
than that may is not read for a while. What is half sent counts among what all connections hold.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.rate_limit import Meter
from mm_relay.doors.turns import LoopTurns
from mm_transports.rmb.protocol.envelope import MAX_ENVELOPE
from mmplatform.http1 import Broken, HttpAnswer, HttpServer, TooLong, told

IDLE: Final = 30.0  # seconds in which the next envelope has to be there
ITEMS: Final = 40  # items that a post counts as, for the rates: a row on disk, and a signature
FORGED_ITEMS: Final = 100  # one that its source has not signed: it is looked up, and verified, twice


class PostTaker(Protocol):
    """The door of the connection."""

    def entered(self, connection: "PostConnection") -> bool:
        """Whether there is room for one more connection."""
        ...

    def left(self, connection: "PostConnection") -> None:
        """Take note that the connection is gone, whether or not there was room."""

    async def take(self, body: bytes, ip: str) -> HttpAnswer:
        """Keep an envelope; answer why not."""
        ...


class PostConnection(asyncio.Protocol):
    """The connection from ``ip``, on the account of ``meter``."""

    def __init__(self, door: PostTaker, ip: str, meter: Meter, turns: LoopTurns, half_sent: "HalfSent[Any]") -> None:
        self._door, self.ip, self.meter, self._turns, self._half_sent = door, ip, meter, turns, half_sent
        self._loop = asyncio.get_running_loop()
        self._http = HttpServer(MAX_ENVELOPE)
        self._asked = False  # whether the head of a request is there
        self._taking = 0  # bytes of the envelope that is being taken
        self._waits = False  # for its turn, or until what it spent is paid; it is not read meanwhile
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        if not self._door.entered(self):
            self._end(told(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"))
            return
        self._wait_for_more()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._http.feed(data)
        self._count()
        self._go_on_after(self.meter.spend(0, len(data), self._loop.time()))

    def eof_received(self) -> bool:
        return self._task is not None or self._waits

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._half_sent.forget(self, self.ip)
        self._door.left(self)

    def abort(self, why: str = "") -> None:
        if self._transport is not None:
            self._transport.abort()

    def _go_on_after(self, seconds: float) -> None:
        """Take what has come, unless it waits already: now, or when its turn comes, or in so many seconds."""
        if self._task is not None or self._waits or self._transport is None:
            return
        if not seconds and self._turns.has_time():
            self._proceed()
            return
        self._waits = True
        self._transport.pause_reading()
        if seconds:
            self._loop.call_later(seconds, self._go_on)
        else:
            self._turns.rest(self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        self._proceed()

    def _proceed(self) -> None:
        """Take the next envelope, if it is there: one at a time."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            body = self._next_body()
        except TooLong:
            self._end(told(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "an envelope is too long, or waits to be asked for"))
            return
        except Broken as error:
            self._end(told(HTTPStatus.BAD_REQUEST, str(error)))
            return
        self._taking = 0 if body is None or isinstance(body, HttpAnswer) else len(body)
        self._count()
        if body is None:
            self._transport.resume_reading()
        elif isinstance(body, HttpAnswer):
            self._end(body)
        else:
            self._transport.pause_reading()
            self._task = self._loop.create_task(self._take(body), name="mm relay post")

    def _next_body(self) -> bytes | HttpAnswer | None:
        """Return the next body, or what ends the connection, or None when more has to come."""
        if not self._asked and (head := self._http.head()) is not None:
            if head.method != "POST":
                return told(HTTPStatus.METHOD_NOT_ALLOWED, "POST an envelope")
            if "content-length" not in head.headers or "transfer-encoding" in head.headers:
                return told(HTTPStatus.LENGTH_REQUIRED, "say how long the envelope is")
            self._asked = True
        if self._http.waits:
            raise TooLong
        request = self._http.body() if self._asked else None
        if request is None:
            return None
        self._asked = False
        return request.body

    async def _take(self, body: bytes) -> None:
        answer = await self._door.take(body, self.ip)
        self._task, self._taking = None, 0
        if self._transport is None:
            return
        self._transport.write(self._http.answered(answer))
        if self._http.over:
            self._transport.close()
            return
        self._wait_for_more()
        items = FORGED_ITEMS if answer.status == HTTPStatus.UNAUTHORIZED else ITEMS
        self._go_on_after(self.meter.spend(items, 0, self._loop.time()))

    def _count(self) -> None:
        self._half_sent.count(self, self.ip, self._taking + self._http.held)

    def _end(self, answer: HttpAnswer) -> None:
        if self._transport is not None:
            self._transport.write(self._http.last(answer))
            self._transport.close()

    def _wait_for_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(IDLE, self.abort)
