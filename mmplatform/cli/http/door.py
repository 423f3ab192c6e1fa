"""The HTTP door itself: listens on loopback, lets in who shows the token, and asks the node as commands do.

==============  ===================================================================================================
POST /send      {"to", "topic", "payload", ...}: sends as ``mm send`` does
POST /request   {"to", "topic", "payload", "timeout"}: asks as ``mm request`` does
GET /on         ?pattern=friends.chat: messages as server-sent events, as ``mm on`` has them
POST /handled   {"id"}: the messages up to this event are handled; with "reply" or "error" for one that is a request
GET /status     one screen about the node, as ``mm status`` has it
==============  ===================================================================================================
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from mmplatform.cli.control import NodeStopped
from mmplatform.cli.http import calls, token
from mmplatform.cli.http.calls import BadCall
from mmplatform.cli.http.events import KIND, Listening
from mmplatform.cli.node.host import InProcess
from mmplatform.errors import InvalidTopic, LocalError
from mmplatform.http1 import Broken, HttpAnswer, HttpRequest, HttpServer, TooLong
from mmplatform.message import MAX_PAYLOAD
from mmplatform.messaging.patterns import check_pattern

LARGEST: Final = MAX_PAYLOAD // 3 * 4 + 64 * 1024  # bytes of a body: those of the largest payload as base64
CONNECTIONS: Final = 64
IDLE: Final = 30.0  # seconds in which a request has to be there
AHEAD: Final = 64 * 1024  # bytes that are read while a request is at work
REALM: Final = (("WWW-Authenticate", "Bearer"),)


def parse(where: str) -> tuple[str, int]:
    """Parse HOST:PORT, or a port on loopback. Raises ValueError for what is neither, or is not on loopback."""
    parts = urlsplit(f"//{where if ':' in where else f'127.0.0.1:{where}'}")
    if parts.port is None or parts.path or parts.query or "@" in where:
        raise ValueError(f"{where!r} is neither HOST:PORT nor a port")
    host = parts.hostname or "127.0.0.1"
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(
            f"{host} is not of this host alone, and the token would cross the network in clear; listen on 127.0.0.1,"
            " and let others in by a proxy with TLS"
        )
    return host, parts.port


class HttpDoor:
    """The door of one node. ``async with`` opens it; ``url`` is where it listens."""

    def __init__(self, node: InProcess, folder: Path, where: str) -> None:
        self.node, self._where, self._folder = node, where, folder
        self._token = b""
        self._server: asyncio.Server | None = None
        self.connections: set[_Connection] = set()
        self.listenings: dict[str, Listening] = {}
        self.url = ""

    async def __aenter__(self) -> "HttpDoor":
        host, port = parse(self._where)
        self._token = token.token_in(self._folder).encode()
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), host, port)
        except OSError as error:
            raise LocalError(f"no HTTP at {self._where}: {error.strerror or error}; choose another port") from error
        name, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(connection.end() for connection in list(self.connections)))

    def refused(self, head: HttpRequest) -> HttpAnswer | None:
        """Return the answer to who may not ask, before any of the body is read; None for who may."""
        if "origin" in head.headers:
            text = "pages of browsers are not served here"
            return calls.answer({"error": "Forbidden", "text": text}, HTTPStatus.FORBIDDEN)
        scheme, _, shown = head.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode("latin-1"), self._token):
            text = f'show the token in {self._folder / token.NAME}, as "Authorization: Bearer TOKEN"'
            return calls.answer({"error": "Unauthorized", "text": text}, HTTPStatus.UNAUTHORIZED)._replace(
                headers=REALM
            )
        return None

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Do what is asked, and answer it."""
        path = urlsplit(request.target).path
        call = _CALLS.get((request.method, path))
        if call is None:
            known = any(path == each for _, each in (*_CALLS, ("GET", "/on")))
            text = f"ask {', '.join(f'{method} {each}' for method, each in (*_CALLS, ('GET', '/on')))}"
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            return calls.answer({"error": "NotFound", "text": text}, status)
        try:
            return calls.answer(await call(self, request.body))
        except Exception as error:
            return calls.failure(error)

    async def _send(self, body: bytes) -> dict[str, Any]:
        return cast(dict[str, Any], await self.node.call("send", **calls.send_call(body)))

    async def _request(self, body: bytes) -> dict[str, Any]:
        return {"payload": await self.node.call("request", **calls.request_call(body))}

    async def _status(self, body: bytes) -> dict[str, Any]:
        return cast(dict[str, Any], await self.node.call("status"))

    async def _handled(self, body: bytes) -> dict[str, Any]:
        call = calls.handled_call(body)
        listening = self.listenings.get(call.subscription)
        if listening is None:
            raise BadCall(
                "nobody reads this subscription any more: what it had not confirmed comes again, under new ids"
            )
        await listening.handled(call.number, call.reply)
        return {"handled": call.number}


_CALLS: Final[dict[tuple[str, str], Callable[[HttpDoor, bytes], Awaitable[dict[str, Any]]]]] = {
    ("POST", "/send"): HttpDoor._send,
    ("POST", "/request"): HttpDoor._request,
    ("POST", "/handled"): HttpDoor._handled,
    ("GET", "/status"): HttpDoor._status,
}


class _Connection(asyncio.Protocol):
    """One connection of a program: its requests one after the other."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door
        self._http = HttpServer(LARGEST)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._ahead = 0
        self._working = False
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._door.connections) >= CONNECTIONS:
            self._transport.abort()
            return
        self._door.connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="mm http")

    def data_received(self, data: bytes) -> None:
        with suppress(Broken):  # which is raised again where the next request is read
            self._http.feed(data)
        if self._working:
            self._ahead += len(data)
            if self._ahead > AHEAD:
                self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Have the connection closed, and what it asked ended: a program that is gone looks like one that has said all
        that it wants to."""
        return False

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.connections.discard(self)
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Close the connection, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        try:
            while not self._http.over:
                request = await self._next()
                if request is None:
                    break
                self._working, self._ahead = True, 0
                if request.method == "GET" and urlsplit(request.target).path == "/on":
                    await self._listen(request)
                    break
                await self._write(self._http.answered(await self._door.answer(request)))
                self._working = False
                self._transport.resume_reading()
        except TooLong:
            text = f"a body has at most {LARGEST} bytes"
            self._refuse(calls.answer({"error": "TooLong", "text": text}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
        except Broken as error:
            self._refuse(calls.answer({"error": "BadRequest", "text": str(error)}, HTTPStatus.BAD_REQUEST))
        except NodeStopped:
            pass
        finally:
            self._transport.close()

    async def _next(self) -> HttpRequest | None:
        """Return the next request; None when there is none in time, or it was refused."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE):
                while (head := self._http.head()) is None:
                    if self._http.gone:
                        return None
                    await self._more()
            refusal = self._door.refused(head)
            if refusal is not None:
                self._refuse(refusal)
                return None
            if self._http.waits:
                await self._write(self._http.go_on())
            async with asyncio.timeout(IDLE) as patience:
                while (request := self._http.body()) is None:
                    if self._http.gone:
                        return None
                    await self._more()
                    patience.reschedule(asyncio.get_running_loop().time() + IDLE)
            return request
        return None

    async def _more(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _listen(self, request: HttpRequest) -> None:
        """Write the messages of a pattern as events until the program goes."""
        try:
            asked = _listen_call(request.target)
        except (BadCall, InvalidTopic) as error:
            await self._write(self._http.answered(calls.failure(error)))
            return
        async with await self._door.node.open("listen", pattern=asked["pattern"], answers=asked["answers"]) as channel:
            listening = Listening(channel, lambda data: self._write(self._http.more(data)), asked["auto"])
            self._door.listenings[listening.name] = listening
            try:
                await self._write(self._http.begun(KIND))
                await listening.run()
            finally:
                del self._door.listenings[listening.name]
                self._transport.write(self._http.ended())

    async def _write(self, data: bytes) -> None:
        self._transport.write(data)
        await self._room.wait()

    def _refuse(self, answer: HttpAnswer) -> None:
        self._transport.write(self._http.last(answer))


def _listen_call(target: str) -> dict[str, Any]:
    """Return what is asked of GET /on. Raises BadCall or InvalidTopic."""
    asked = parse_qs(urlsplit(target).query, keep_blank_values=True, max_num_fields=8)
    unknown = asked.keys() - {"pattern", "answers", "confirm"}
    patterns = asked.get("pattern", [])
    if unknown or len(patterns) != 1:
        raise BadCall("ask GET /on?pattern=friends.chat, with &answers=1 and &confirm=auto where they are wanted")
    check_pattern(patterns[0])
    return {
        "pattern": patterns[0],
        "answers": asked.get("answers", ["0"])[-1] not in ("", "0", "false"),
        "auto": asked.get("confirm", [""])[-1] == "auto",
    }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
