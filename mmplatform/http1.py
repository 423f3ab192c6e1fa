"""HTTP/1.1 without I/O, by h11: both sides of a connection, with bounds; one request at a time."""

from http import HTTPStatus
from typing import Final, NamedTuple

import h11

MAX_HEADERS: Final = 16 * 1024  # bytes
MAX_ANSWER: Final = 4096  # bytes of the body of an answer that a client reads
SLICE: Final = 16 * 1024  # bytes that the library is given at a time: what comes behind a request is counted here
TEXT: Final = "text/plain; charset=utf-8"

Broken = h11.RemoteProtocolError  # raised for what is no HTTP


class HttpRequest(NamedTuple):
    """What was asked; names of headers are in lower case. The head alone has no body yet."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class HttpAnswer(NamedTuple):
    """What is answered."""

    status: int
    body: bytes = b""
    kind: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The body of an answer that is a line of text."""
        return self.body.decode("utf-8", "replace").strip()


def told(status: int, text: str = "") -> HttpAnswer:
    """Return the answer that is a line of text."""
    return HttpAnswer(status, f"{text}\n".encode() if text else b"")


class TooLong(Exception):
    """Raised for a body that is longer than there may be."""


class HttpServer:
    """The server's half of one connection. What it raises, Broken or TooLong, ends the connection.

    Args:
        largest: bytes of a body.

    """

    def __init__(self, largest: int) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADERS)
        self._largest = largest
        self._said, self._ended = bytearray(), False
        self._body = bytearray()
        self._head: HttpRequest | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes; b"" is the end of what the other side says."""
        self._said += data
        self._ended |= not data

    @property
    def held(self) -> int:
        """Bytes that are kept: of a body that has not come to its end, and of what came behind it."""
        return len(self._body) + len(self._said)

    @property
    def over(self) -> bool:
        """Whether the connection is to be closed once all that was written has left."""
        return self._connection.our_state is not h11.IDLE

    @property
    def gone(self) -> bool:
        """Whether the other side says nothing more."""
        return self._connection.their_state in (h11.CLOSED, h11.ERROR, h11.MUST_CLOSE)

    @property
    def waits(self) -> bool:
        """Whether the other side wants to hear :meth:`go_on` before it sends a body."""
        return self._connection.they_are_waiting_for_100_continue

    def head(self) -> HttpRequest | None:
        """Return the head of the next request, before anything of its body is read; None when more has to come."""
        event = self._next()
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        self._body.clear()
        self._head = HttpRequest(event.method.decode(), event.target.decode("latin-1"), headers)
        if int(headers.get("content-length", 0)) > self._largest:
            raise TooLong
        return self._head

    def body(self) -> HttpRequest | None:
        """Return the request of which :meth:`head` was the last one, with its body; None when more has to come."""
        while True:
            event = self._next()
            match event:
                case h11.Data():
                    self._body += event.data
                    if len(self._body) > self._largest:
                        raise TooLong
                case h11.EndOfMessage():
                    assert self._head is not None
                    whole = self._head._replace(body=bytes(self._body))
                    self._body.clear()
                    return whole
                case _:
                    return None

    def go_on(self) -> bytes:
        """Return the bytes that have the other side send its body."""
        return self._connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def answered(self, answer: HttpAnswer) -> bytes:
        """Return the bytes of an answer; the next request may come behind it."""
        written = self._written(answer)
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        return written

    def last(self, answer: HttpAnswer) -> bytes:
        """Return the bytes of the answer that ends the connection; b"" when nothing can be answered."""
        if self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self._written(answer._replace(headers=(*answer.headers, ("Connection", "close"))))

    def begun(self, kind: str) -> bytes:
        """Return the head of an answer that comes in parts: :meth:`more` follows, then :meth:`ended`."""
        headers = [("Content-Type", kind), ("Cache-Control", "no-store")]
        return self._connection.send(h11.Response(status_code=200, headers=headers, reason=b"OK")) or b""

    def more(self, data: bytes) -> bytes:
        """Return the bytes of a part of an answer that was begun."""
        return self._connection.send(h11.Data(data=data)) or b""

    def ended(self) -> bytes:
        """Return the bytes that end an answer that was begun."""
        return self._connection.send(h11.EndOfMessage()) or b""

    def _next(self) -> object:
        connection = self._connection
        while (event := connection.next_event()) is h11.NEED_DATA and (self._said or self._ended):
            connection.receive_data(bytes(self._said[:SLICE]))
            self._ended &= bool(self._said)
            del self._said[:SLICE]
        return event

    def _written(self, answer: HttpAnswer) -> bytes:
        send = self._connection.send
        head = [("Content-Length", str(len(answer.body))), ("Content-Type", answer.kind), *answer.headers]
        reason = HTTPStatus(answer.status).phrase.encode()
        start = send(h11.Response(status_code=answer.status, headers=head, reason=reason))
        data = send(h11.Data(data=answer.body)) if answer.body else b""
        return (start or b"") + (data or b"") + (send(h11.EndOfMessage()) or b"")


class HttpClient:
    """The client's half of one connection, for posts to ``host``."""

    def __init__(self, host: str) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
        self._host = host
        self._status = 0
        self._body = bytearray()

    def posted(self, body: bytes) -> bytes:
        """Return the bytes of a request with this body."""
        send = self._connection.send
        headers = [
            ("Host", self._host), ("Content-Length", str(len(body))), ("Content-Type", "application/octet-stream")
        ]  # fmt: skip
        start = send(h11.Request(method="POST", target="/", headers=headers)) or b""
        return start + (send(h11.Data(data=body)) or b"") + (send(h11.EndOfMessage()) or b"")

    def feed(self, data: bytes) -> HttpAnswer | None:
        """Take bytes, b"" for the end; return the answer when it is there. Raises Broken or TooLong."""
        self._connection.receive_data(data)
        while True:
            event = self._connection.next_event()
            match event:
                case h11.Response():
                    self._status = event.status_code
                    self._body.clear()
                case h11.Data():
                    self._body += event.data
                    if len(self._body) > MAX_ANSWER:
                        raise TooLong
                case h11.EndOfMessage():
                    body = bytes(self._body)
                    if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
                        self._connection.start_next_cycle()
                    return HttpAnswer(self._status, body)
                case h11.ConnectionClosed():
                    raise Broken("the connection ended before an answer")
                case _:
                    return None

    @property
    def reusable(self) -> bool:
        """Whether the next post may go over this connection."""
        return self._connection.our_state is h11.IDLE
