"""HTTP/1.1 without I/O: whole, in pieces, several in a row, too long, and random bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.http1 import MAX_ANSWER, Broken, HttpAnswer, HttpClient, HttpRequest, HttpServer, TooLong, told

LARGEST = 1000


def read(server: HttpServer, asked: bool = False) -> HttpRequest | None:
    """Return the next request that is whole."""
    if not asked and server.head() is None:
        return None
    return server.body()


@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=4), cut=st.integers(1, 200))
def test_requests_go_one_after_the_other_in_pieces_of_any_size(bodies: list[bytes], cut: int) -> None:
    client, server = HttpClient("relay.example"), HttpServer(LARGEST)
    for number, body in enumerate(bodies):
        said, found, asked = client.posted(body), None, False
        for at in range(0, len(said), cut):
            server.feed(said[at : at + cut])
            asked = asked or server.head() is not None
            found = server.body() if asked else None
        assert found is not None
        assert (found.method, found.target, found.body) == ("POST", "/", body)
        answer = told(200 + number, "kept" * number)
        back = server.answered(answer)
        heard = [client.feed(back[at : at + cut]) for at in range(0, len(back), cut)]
        assert heard[-1] == answer
        assert answer.text == "kept" * number
        assert client.reusable
        assert not server.over


def test_the_head_is_there_before_the_body() -> None:
    server = HttpServer(LARGEST)
    server.feed(b"PUT /x?a=1 HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nContent-Length: 5\r\n\r\n")
    assert server.head() == HttpRequest("PUT", "/x?a=1", {"host": "h", "x-y": "z", "content-length": "5"})
    assert server.body() is None
    server.feed(b"hello")
    found = server.body()
    assert found is not None
    assert found.body == b"hello"


def test_who_waits_to_be_asked_for_a_body_is_asked() -> None:
    server = HttpServer(LARGEST)
    server.feed(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert server.head() is not None
    assert server.waits
    assert server.go_on().startswith(b"HTTP/1.1 100 ")
    assert not server.waits
    server.feed(b"y")
    found = server.body()
    assert found is not None
    assert found.body == b"y"


@pytest.mark.parametrize(
    "said",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + bytes(0x3E9),
    ],
)
def test_what_is_too_long_is_not_taken(said: bytes) -> None:
    server = HttpServer(LARGEST)
    server.feed(said)
    with pytest.raises(TooLong):
        read(server)
    assert server.last(told(413, "no")).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("said", [b"POST\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nX" + b"y" * 20_000])
def test_what_is_no_http_is_refused(said: bytes) -> None:
    server = HttpServer(LARGEST)
    server.feed(said)
    with pytest.raises(Broken):
        server.head()


@given(said=st.binary(max_size=400))
def test_random_bytes_are_refused_or_wait_for_more(said: bytes) -> None:
    server, client = HttpServer(LARGEST), HttpClient("x")
    client.posted(b"")
    for work in (lambda: (server.feed(said), read(server)), lambda: client.feed(said)):
        with suppress(Broken, TooLong):
            work()


def test_an_answer_may_come_in_parts() -> None:
    server = HttpServer(LARGEST)
    server.feed(b"GET /on HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read(server) is not None
    assert b"text/event-stream" in server.begun("text/event-stream")
    assert b"data: 1\n\n" in server.more(b"data: 1\n\n")
    assert server.over
    assert server.ended() == b"0\r\n\r\n"


def test_an_answer_has_its_kind_and_headers() -> None:
    server = HttpServer(LARGEST)
    server.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read(server) is not None
    said = server.answered(HttpAnswer(401, b"{}", "application/json", (("WWW-Authenticate", "Bearer"),)))
    assert b"401 Unauthorized" in said
    assert b"Content-Type: application/json" in said
    assert b"WWW-Authenticate: Bearer" in said


def test_a_long_answer_is_not_read_on() -> None:
    client = HttpClient("x")
    client.posted(b"")
    with pytest.raises(TooLong):
        client.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + bytes(MAX_ANSWER + 1))
