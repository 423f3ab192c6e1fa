"""A link over a road that a test holds: what is said, what the receiver is told, and when."""

import asyncio
from typing import Any

import pytest

from mm_transports.relay.connection import PAUSED_HERE, SLOW, RelayConnection
from mm_transports.relay.protocol.items import Closed, Data, Item, Open
from mm_transports.testing import ConnectionEnd
from mmplatform.errors import RemoteError, Unreachable

PEER = b"p" * 32


class RelayLink:
    def __init__(self) -> None:
        self.full = False
        self.said: list[Item] = []
        self.paused: list[RelayConnection] = []
        self.left: list[tuple[RelayConnection, Exception | None]] = []

    def tell(self, item: Item) -> bool:
        self.said.append(item)
        return True

    def paused_here(self, connection: RelayConnection) -> None:
        self.paused.append(connection)

    def leave(self, connection: RelayConnection, error: Exception | None) -> None:
        self.left.append((connection, error))
        asyncio.get_running_loop().call_soon(connection.lose, error)


@pytest.fixture
def link() -> RelayLink:
    return RelayLink()


def connected(
    link: RelayLink, opened: bool = False, via: str = "", first: bytes = b""
) -> tuple[RelayConnection, ConnectionEnd]:
    connection = RelayConnection(link, PEER, 7, 65536, "relay+ws://host", via)
    ends: list[ConnectionEnd] = []

    def accept(made: Any) -> ConnectionEnd:
        ends.append(ConnectionEnd(made))
        if first:
            made.write(first)
        return ends[0]

    connection.join(accept, opened)
    return connection, ends[0]


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_first_frame_opens_the_link(link: RelayLink) -> None:
    connection, _ = connected(link, via="relay+ws://other/k", first=b"hello")
    connection.write(b"more")
    assert link.said == [Open(PEER, 7, b"hello", "relay+ws://other/k"), Data(PEER, 7, b"more")]


async def test_who_was_dialled_answers(link: RelayLink) -> None:
    connection, end = connected(link, opened=True)
    connection.received(b"hello")
    connection.write(b"hi")
    assert link.said == [Data(PEER, 7, b"hi")]
    assert end.frames.get_nowait() == b"hello"


@pytest.mark.parametrize(("leave", "word"), [("close", "closed"), ("abort", "gone")])
async def test_the_end_on_this_side(link: RelayLink, leave: str, word: str) -> None:
    connection, end = connected(link)
    connection.write(b"x")
    getattr(connection, leave)()
    assert end.lost == []  # never from within
    connection.write(b"late")
    connection.close()
    connection.abort()
    connection.received(b"late")
    connection.closed("gone")
    await turn()
    assert link.said == [Open(PEER, 7, b"x"), Closed(PEER, 7, word)]
    assert len(end.lost) == len(link.left) == 1
    assert (end.lost == [None]) == (leave == "close")
    assert end.frames.empty()


async def test_a_link_that_was_never_opened_ends_without_a_word(link: RelayLink) -> None:
    connection, end = connected(link)
    connection.close()
    await turn()
    assert link.said == []
    assert end.lost == [None]


@pytest.mark.parametrize(
    ("reason", "text"),
    [("absent", "not at the relay now"), ("gone", "has left"), ("denied", "refused"), ("something new", "new")],
)
async def test_the_other_side_ends_it(link: RelayLink, reason: str, text: str) -> None:
    for answered in (False, True):
        connection, end = connected(link)
        if answered:
            connection.received(b"x")
        connection.closed(reason)
        assert end.lost == []
        await turn()
        [error] = end.lost
        assert isinstance(error, Unreachable) != answered
        assert isinstance(error, RemoteError)
        assert text in str(error)
        assert "relay+ws://host" in str(error)
    assert not [item for item in link.said if isinstance(item, Closed)]


async def test_what_a_relay_says_of_a_link_steers_no_terminal(link: RelayLink) -> None:
    connection, end = connected(link)
    connection.closed("\x1b[2J\x9b\u202e\r\nforged")
    await turn()
    assert str(end.lost[0]) == "relay+ws://host: \\x1b[2J\\x9b\\u202e\\r\\nforged"


async def test_an_orderly_close_is_no_error(link: RelayLink) -> None:
    connection, end = connected(link, opened=True)
    connection.closed("closed")
    await turn()
    assert end.lost == [None]


async def test_it_pauses_for_two_reasons_and_resumes_when_both_have_gone(link: RelayLink) -> None:
    connection, end = connected(link)
    link.full = True
    connection.write(b"x")
    connection.write(b"y")
    assert (end.calls, link.paused) == (["pause"], [connection])
    connection.hold(SLOW)
    connection.release(PAUSED_HERE)
    connection.release(PAUSED_HERE)
    assert end.calls == ["pause"]
    connection.release(SLOW)
    connection.release(SLOW)
    assert end.calls == ["pause", "resume"]


async def test_it_may_be_paused_before_it_has_a_receiver(link: RelayLink) -> None:
    link.full = True
    _, end = connected(link, first=b"hello")
    assert end.calls == ["pause"]


async def test_after_the_end_nobody_is_told_to_resume(link: RelayLink) -> None:
    connection, end = connected(link)
    connection.hold(SLOW)
    connection.abort()
    connection.release(SLOW)
    await turn()
    assert end.calls == ["pause"]
    assert len(end.lost) == 1
