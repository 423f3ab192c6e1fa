"""The HTTP door of a node that runs: who is let in, what is asked, and what is not lost."""

import asyncio
import json
from pathlib import Path

import pytest

from mmplatform.cli.http import door as door_module
from mmplatform.cli.http import events as events_module
from mmplatform.cli.http.door import LARGEST, HttpDoor, parse
from mmplatform.errors import LocalError
from tests.mmplatform.cli.http.conftest import Doored
from tests.support.http_calls import Caller
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("9111", ("127.0.0.1", 9111)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8", ("::1", 8)),
        ("localhost:9", ("localhost", 9)), (":7", ("127.0.0.1", 7)),
    ],
)  # fmt: skip
def test_where_it_listens(where: str, found: tuple[str, int]) -> None:
    assert parse(where) == found


@pytest.mark.parametrize(
    "where", ["0.0.0.0:9", "192.168.0.1:9", "example.org:9", "x", "127.0.0.1:9/x", "a@b:1", "1:2:3"]
)
def test_it_listens_on_this_host_alone(where: str) -> None:
    with pytest.raises(ValueError, match=r"neither|clear|port|Port|Invalid"):
        parse(where)


async def test_a_port_in_use_is_told(doors: tuple[Doored, Doored], tmp_path: Path) -> None:
    alice, _ = doors
    second = HttpDoor(alice.host, tmp_path, alice.door.url.removeprefix("http://"))
    with pytest.raises(LocalError, match="choose another port"):
        async with second:
            pass


async def test_who_does_not_show_the_token_gets_nothing(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    for token in ("", "wrong", alice.caller.token[:-1], "\xe9" * 4):
        told = await Caller(alice.door.url, token).ask("GET", "/status")
        assert told.status == 401
        assert "http.token" in told.value["text"]
    page = await alice.caller.ask("GET", "/status", None, "Origin: https://example.org")
    assert page.status == 403
    assert (await alice.caller.ask("GET", "/status")).value["running"] is True


async def test_a_body_is_not_read_of_who_shows_no_token(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    caller = Caller(alice.door.url, "")
    said = await caller.raw(caller.head("POST", "/send", "Content-Length: 1000000"))
    assert said.startswith(b"HTTP/1.1 401 "), "without a byte of the body"


async def test_a_body_that_is_too_long_is_refused(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    said = await alice.caller.raw(alice.caller.head("POST", "/send", f"Content-Length: {LARGEST + 1}"))
    assert said.startswith(b"HTTP/1.1 413 ")


async def test_what_is_no_http_is_refused(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    assert (await alice.caller.raw(b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await alice.caller.raw(b"GET /status HTTP/1.1\r\nX: " + b"y" * 20_000)).startswith(b"HTTP/1.1 4")


async def test_half_sent_requests_are_cut(doors: tuple[Doored, Doored], monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _ = doors
    monkeypatch.setattr(door_module, "IDLE", 0.05)
    for half in (b"GET /sta", alice.caller.head("POST", "/send", "Content-Length: 9") + b"half"):
        assert await alice.caller.raw(half) == b""


async def test_more_connections_than_there_may_be_are_closed(
    doors: tuple[Doored, Doored], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = doors
    monkeypatch.setattr(door_module, "CONNECTIONS", 1)
    async with alice.caller.events("pattern=friends.chat"):
        with pytest.raises((ConnectionError, IndexError)):
            await alice.caller.ask("GET", "/status")


async def test_what_it_does_not_have_is_told(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    told = await alice.caller.ask("GET", "/other")
    assert (told.status, "POST /send" in told.value["text"]) == (404, True)
    assert (await alice.caller.ask("GET", "/send")).status == 405
    assert (await alice.caller.ask("GET", "/on?pattern=a..b")).status == 400
    assert (await alice.caller.ask("GET", "/on")).status == 400
    assert (await alice.caller.ask("GET", "/on?pattern=a&x=1")).status == 400
    assert (await alice.caller.ask("POST", "/send", {"to": "eve", "topic": "chat"})).status == 404
    assert (await alice.caller.ask("POST", "/handled", {"id": "gone.1"})).status == 400


async def test_several_requests_go_over_one_connection(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    one = alice.caller.head("GET", "/status")
    said = await alice.caller.raw(one + one + alice.caller.head("GET", "/status", "Connection: close"))
    assert said.count(b"HTTP/1.1 200 OK") == 3


async def test_who_waits_to_be_asked_for_a_body_is_asked(doors: tuple[Doored, Doored]) -> None:
    """As curl does for a body of a megabyte."""
    alice, _ = doors
    body = json.dumps({"to": "bob", "topic": "chat", "payload": "hello", "wait": False}).encode()
    reader, writer = await asyncio.open_connection(*alice.caller.place)
    length = f"Content-Length: {len(body)}"
    writer.write(alice.caller.head("POST", "/send", length, "Expect: 100-continue", "Connection: close"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(body)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_message_is_delivered_once_it_is_handled(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    async with bob.caller.events("pattern=friends.chat") as events:
        sending = asyncio.ensure_future(
            alice.caller.ask("POST", "/send", {"to": "bob", "topic": "chat", "payload": {"n": 1}, "wait": True})
        )
        event = await events.next()
        assert event["event"] == "message"
        assert event["data"]["payload"] == {"n": 1}
        assert (event["data"]["topic"], event["data"]["name"]) == ("friends.chat", "alice")
        assert not sending.done()
        assert (await bob.caller.ask("POST", "/handled", {"id": event["id"]})).value == {"handled": 1}
        told = await sending
        assert (told.status, told.value["state"]) == (200, "delivered")
        again = await bob.caller.ask("POST", "/handled", {"id": event["id"]})
        assert again.status == 200, "said twice is said once"
        early = await bob.caller.ask("POST", "/handled", {"id": event["id"][:-1] + "9"})
        assert early.status == 400


async def test_what_a_program_has_not_handled_comes_again_to_the_next(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    async with bob.caller.events("pattern=friends.chat") as events:
        for number in range(3):
            await alice.caller.ask("POST", "/send", {"to": "bob", "topic": "chat", "payload": number, "wait": False})
        heard = [await events.next() for _ in range(3)]
        await bob.caller.ask("POST", "/handled", {"id": heard[0]["id"]})
    async with bob.caller.events("pattern=friends.chat") as events:
        again = [await events.next() for _ in range(2)]
        assert [event["data"]["payload"] for event in again] == [1, 2]
        assert [event["id"].rpartition(".")[2] for event in again] == ["1", "2"]
        old = await bob.caller.ask("POST", "/handled", {"id": heard[2]["id"]})
        assert old.status == 400, "an id of the subscription before confirms nothing"
        await bob.caller.ask("POST", "/handled", {"id": again[1]["id"]})
    await alice.host.platform.flush(alice.host.platform.contacts.resolve("bob"))


async def test_written_is_handled_for_who_asks_for_that(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    async with bob.caller.events("pattern=friends.chat&confirm=auto") as events:
        told = await alice.caller.ask("POST", "/send", {"to": "bob", "topic": "chat", "payload": 1, "wait": True})
        assert told.value["state"] == "delivered"
        event = await events.next()
        assert (await bob.caller.ask("POST", "/handled", {"id": event["id"]})).status == 400


async def test_a_request_is_answered_by_who_listens_with_answers(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    async with bob.caller.events("pattern=friends.add&answers=1") as events:
        asking = asyncio.ensure_future(
            alice.caller.ask("POST", "/request", {"to": "bob", "topic": "add", "payload": [1, {"base64": "/w=="}]})
        )
        event = await events.next()
        assert event["data"]["kind"] == "request"
        assert event["data"]["payload"] == [1, {"base64": "/w=="}]
        await bob.caller.ask("POST", "/handled", {"id": event["id"], "reply": {"sum": {"base64": "AA=="}}})
        assert await asking == (200, {"payload": {"sum": {"base64": "AA=="}}})
        late = await bob.caller.ask("POST", "/handled", {"id": event["id"], "reply": 2})
        assert (late.status, "confirmed already" in late.value["text"]) == (400, True)
        failing = asyncio.ensure_future(alice.caller.ask("POST", "/request", {"to": "bob", "topic": "add"}))
        event = await events.next()
        await bob.caller.ask("POST", "/handled", {"id": event["id"], "error": "not today"})
        assert (await failing).status == 502


async def test_an_error_has_the_status_of_its_kind(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    told = await alice.caller.ask("POST", "/request", {"to": "bob", "topic": "nobody", "timeout": 0.2})
    assert (told.status, told.value["error"]) in ((504, "RequestTimeout"), (502, "NoResponders"))
    await bob.host.platform.stop()
    told = await bob.caller.ask("POST", "/send", {"to": "alice", "topic": "chat"})
    assert (told.status, told.value["error"]) == (503, "NotRunning")


async def test_who_goes_while_it_waits_ends_what_it_asked(doors: tuple[Doored, Doored]) -> None:
    alice, _ = doors
    body = json.dumps({"to": "bob", "topic": "never", "timeout": 60}).encode()
    _, writer = await asyncio.open_connection(*alice.caller.place)
    writer.write(alice.caller.head("POST", "/request", f"Content-Length: {len(body)}") + body)
    await until(lambda: len(alice.host._serving) == 1)
    writer.transport.abort()
    await until(lambda: not alice.host._serving, timeout=3)
    assert not alice.door.connections


async def test_events_end_with_the_node(doors: tuple[Doored, Doored]) -> None:
    _, bob = doors
    async with bob.caller.events("pattern=friends.chat") as events:
        ending = asyncio.ensure_future(bob.door.__aexit__(None, None, None))
        with pytest.raises(EOFError):
            await events.next()
        await ending


async def test_a_comment_says_that_the_connection_is_up(
    doors: tuple[Doored, Doored], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bob = doors
    monkeypatch.setattr(events_module, "ALIVE", 0.01)
    async with bob.caller.events("pattern=friends.chat") as events:
        assert await events.reader.readuntil(b":\n\n") == b"3\r\n:\n\n"


async def test_a_slow_program_holds_back_its_own_events(doors: tuple[Doored, Doored]) -> None:
    alice, bob = doors
    payload = "x" * 400_000
    async with bob.caller.events("pattern=friends.slow") as events, bob.caller.events("pattern=self.chat") as quick:
        for _ in range(12):
            await alice.caller.ask("POST", "/send", {"to": "bob", "topic": "slow", "payload": payload, "wait": False})
        own = bob.host.platform.sign_id
        await bob.caller.ask("POST", "/send", {"to": own, "topic": "chat", "payload": 1, "wait": False})
        assert (await quick.next())["data"]["payload"] == 1
        buffered = max(connection._transport.get_write_buffer_size() for connection in bob.door.connections)
        assert buffered < 1024 * 1024
        for _ in range(12):
            event = await events.next()
            assert event["data"]["payload"] == payload
            await bob.caller.ask("POST", "/handled", {"id": event["id"]})
