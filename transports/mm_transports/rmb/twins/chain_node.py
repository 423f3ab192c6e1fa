"""The connection to a node of a chain: JSON-RPC 2.0 in texts of a WebSocket, to the first of several URLs that serves.

It is dialled for as long as the link is open, with pauses that double. Many calls are in flight at a time. A node that
is behind the others, leaves a call unanswered, or says what is no answer, gives way to the next URL.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from mm_transports.relay.websocket import WebSocket, connect
from mmplatform.errors import Unreachable
from mmplatform.text import escaped

MAX_ANSWER: Final = 1024 * 1024  # bytes
CALLS: Final = 256  # in flight
CALL_TIMEOUT: Final = 5.0  # seconds for an answer
OPEN_TIMEOUT: Final = 5.0  # seconds for a connection
ERRORS: Final = 8  # answers in a row that are errors, after which another node is asked
FIRST_PAUSE: Final = 0.5  # seconds before all URLs are tried again
LONGEST_PAUSE: Final = 30.0
STEADY: Final = 10.0  # seconds after which a connection that is lost is dialled at once

_Call = asyncio.Future[Any]


class ChainNode:
    """A node at one of ``urls``, in the order in which they are tried; ``monotonic`` does not go back."""

    def __init__(
        self,
        urls: Sequence[str],
        monotonic: Callable[[], float],
        timeout: float = CALL_TIMEOUT,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self.name = ", ".join(urls)
        self._urls, self._monotonic, self._timeout, self._pause = tuple(urls), monotonic, timeout, pause
        self._connection: ChainConnection | None = None
        self._running: asyncio.Task[None] | None = None
        self._up = asyncio.Event()  # or a round over all URLs has failed
        self._trouble = ""

    def open(self) -> None:
        """Begin to connect; waits for nothing."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name="mm rmb chain")

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def call(self, method: str, params: list[Any]) -> Any:
        """Return the result of a call. Raises Unreachable: there is no node, or it gives an error, or no answer."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._up.wait()
                if self._connection is None:
                    raise Unreachable(f"{self.name}: {self._trouble}")
                return await self._connection.call(method, params)
        except TimeoutError:
            silent = f"no answer within {self._timeout:g} s"
            if self._connection is not None:
                self._connection.end(silent)
            raise Unreachable(f"{self.name}: {silent}") from None

    async def _run(self) -> None:
        """Stay connected until cancelled."""
        pause = self._pause
        while True:
            began = self._monotonic()
            for url in self._urls:
                try:
                    self._trouble = await self._connected(url)
                except Unreachable as error:
                    self._trouble = str(error)
            self._up.set()
            if self._monotonic() - began >= STEADY:
                pause = self._pause
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)
            self._up.clear()

    async def _connected(self, url: str) -> str:
        """Be connected to the node at ``url``; return why that ended. Raises Unreachable."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        made: list[ChainConnection] = []

        def owner(socket: WebSocket) -> ChainConnection:
            made.append(ChainConnection(socket, lost, self._gone))
            return made[0]

        socket = await connect(url, (), owner, max_message=MAX_ANSWER, timeout=OPEN_TIMEOUT, text=True)
        try:
            await self._check(made[0])
            self._connection = made[0]
            self._up.set()
            return f"{url}: {await lost}"
        finally:
            self._gone()
            if not lost.done():
                lost.set_result("")  # its end is not that of the next connection
            socket.close()
            made[0].forget("the connection was lost")

    def _gone(self) -> None:
        """Take note that there is no connection."""
        self._connection = None
        self._up.clear()

    async def _check(self, connection: "ChainConnection") -> None:
        """Raises Unreachable unless the node has what is newest, as far as it knows; not all say."""
        with suppress(_Refused):
            try:
                async with asyncio.timeout(self._timeout):
                    health = await connection.call("system_health", [])
            except TimeoutError:
                raise Unreachable(f"no answer within {self._timeout:g} s") from None
            if isinstance(health, dict) and health.get("isSyncing") is True:
                raise Unreachable("the node is behind the others of its chain")


class _Refused(Unreachable):
    """Raised for a call that the node answers with an error."""


class ChainConnection:
    """One connection, and the calls in flight over it."""

    def __init__(self, socket: WebSocket, lost: "asyncio.Future[str]", gone: Callable[[], None]) -> None:
        self._socket, self._lost, self._gone = socket, lost, gone
        self._calls: dict[int, _Call] = {}
        self._last = self._errors = 0

    async def call(self, method: str, params: list[Any]) -> Any:
        if len(self._calls) >= CALLS:
            raise Unreachable(f"{CALLS} calls are in flight; try again")
        if self._lost.done():
            raise Unreachable(self._lost.result())
        self._last += 1
        number = self._last
        answer: _Call = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        self._socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())
        try:
            return await answer
        finally:
            self._calls.pop(number, None)

    def end(self, why: str) -> None:
        """End the connection, so that the next URL is tried."""
        self._gone()
        self._socket.abort(why)

    def forget(self, why: str) -> None:
        """Fail the calls in flight."""
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(Unreachable(why))

    # The owner of the socket.

    def message_received(self, message: bytes) -> None:
        try:
            said = json.loads(message)
        except (ValueError, RecursionError):
            self.end("it answers what is no JSON")
            return
        if not isinstance(said, dict) or ("result" in said) == ("error" in said):
            self.end("it answers what is no answer of JSON-RPC")
            return
        answer = self._calls.get(said["id"]) if type(said.get("id")) is int else None
        if answer is None or answer.done():
            return  # it came too late
        if "error" in said:
            answer.set_exception(_Refused(f"the node says: {_words(said['error'])}"))
            self._errors += 1
            if self._errors >= ERRORS:
                self.end("it answers errors only")
        else:
            self._errors = 0
            answer.set_result(said["result"])

    def connection_lost(self, reason: str) -> None:
        self.forget(reason)
        if not self._lost.done():
            self._gone()
            self._lost.set_result(reason)

    def pause_writing(self) -> None:
        """Do nothing: the calls in flight are bounded."""

    def resume_writing(self) -> None:
        """Do nothing, as ``pause_writing``."""


def _words(error: object) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return escaped(str(said)[:200])
