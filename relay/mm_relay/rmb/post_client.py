"""Posts envelopes to other relays of RMB: connections are kept, and whoever names a relay sends us into no network."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final, cast

from mm_transports import resolving
from mm_transports.system_trust import system_trust
from mmplatform.addresses import Reach
from mmplatform.errors import Unreachable
from mmplatform.http1 import Broken, HttpAnswer, HttpClient, TooLong

WITHIN: Final = 3.0  # seconds for a connection, and for an answer
KEPT: Final = 8  # connections to one relay that are kept
KEPT_IN_ALL: Final = 128
PLAIN: Final = "ws:/"  # how the npm client writes the name of a relay without TLS


class PostClient:
    """The client. ``reach``: where those who name relays may make us go."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._idle: dict[str, deque[_Connection]] = {}

    async def post(self, relay: str, envelope: bytes) -> HttpAnswer:
        """Post to the relay of this name. Raises Unreachable, with the reason."""
        connection = self._taken(relay) or await self._opened(relay)
        try:
            async with asyncio.timeout(WITHIN):
                answer = await connection.post(envelope)
        except TimeoutError:
            connection.close()
            raise Unreachable(f"no answer within {WITHIN:g} s") from None
        except BaseException:
            connection.close()
            raise
        self._keep(relay, connection)
        return answer

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    def _taken(self, relay: str) -> "_Connection | None":
        idle = self._idle.get(relay) or deque()
        while idle:
            connection = idle.pop()
            if not connection.lost:
                return connection
        return None

    def _keep(self, relay: str, connection: "_Connection") -> None:
        idle = self._idle.setdefault(relay, deque())
        if connection.reusable and len(idle) < KEPT and sum(map(len, self._idle.values())) < KEPT_IN_ALL:
            idle.append(connection)
        else:
            connection.close()
        if not idle:
            del self._idle[relay]

    async def _opened(self, relay: str) -> "_Connection":
        host, port, secure = place_of(relay)
        context = await system_trust() if secure else None
        try:
            async with asyncio.timeout(WITHIN):
                return await resolving.connect(
                    lambda: _Connection(relay.removeprefix(PLAIN)), host, port, context, self._reach
                )
        except TimeoutError:
            raise Unreachable(f"no connection within {WITHIN:g} s") from None
        except OSError as error:
            raise Unreachable(str(error)) from None


class _Connection(asyncio.Protocol):
    """One connection; one envelope at a time."""

    def __init__(self, host: str) -> None:
        self._http = HttpClient(host)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None

    @property
    def lost(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        return not self.lost and self._http.reusable

    async def post(self, envelope: bytes) -> HttpAnswer:
        if self._transport is None:
            raise Unreachable("the connection was lost")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._http.posted(envelope))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._http.feed(data)
        except (Broken, TooLong) as error:
            self._fail(f"its answer is no HTTP: {error}")
            return
        if answer is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def eof_received(self) -> None:
        with suppress(Broken, TooLong):
            if (answer := self._http.feed(b"")) and self._answer is not None and not self._answer.done():
                self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("the connection was lost before an answer")

    def _fail(self, why: str) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unreachable(why))


def place_of(relay: str) -> tuple[str, int, bool]:
    """Return host, port and whether there is TLS at the relay of this name. Raises Unreachable for what is no name."""
    secure = not relay.startswith(PLAIN)
    name = relay.removeprefix(PLAIN).rstrip("/")
    host, colon, port = name.rpartition(":")
    if not colon or (name.endswith("]")):
        host, port = name, "443" if secure else "80"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Unreachable("its name is no HOST or HOST:PORT")
    return host, int(port), secure
