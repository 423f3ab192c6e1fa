"""A link over a road that a test holds: what is said, what the receiver is told, and when."""

import asyncio
from typing import Any

import pytest

from mm_transports.relay.connection import SLOW, STUFFED, RelayConnection
from mm_transports.relay.protocol.items import Data, Item, Open, Shut
from mmplatform.errors import RemoteError, Unreachable
from tests.mm_transports.test_contract import End

PEER = b"p" * 32


class Road:
    def __init__(self) -> None:
        self.full = False
        self.said: list[Item] = []
        self.paused: list[RelayConnection] = []
        self.left: list[tuple[RelayConnection, Exception | None]] = []

    def tell(self, item: Item) -> bool:
        self.said.append(item)
        return True

    def stuffed(self, connection: RelayConnection) -> None:
        self.paused.append(connection)

    def leave(self, connection: RelayConnection, error: Exception | None) -> None:
        self.left.append((connection, error))
        asyncio.get_running_loop().call_soon(connection.lose, error)


@pytest.fixture
def road() -> Road:
    return Road()


def connected(road: Road, opened: bool = False, via: str = "", first: bytes = b"") -> tuple[RelayConnection, End]:
    connection = RelayConnection(road, PEER, 7, 65536, "relay+ws://host", via)
    ends: list[End] = []

    def accept(made: Any) -> End:
        ends.append(End(made))
        if first:
            made.write(first)
        return ends[0]

    connection.join(accept, opened)
    return connection, ends[0]


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_first_frame_opens_the_link(road: Road) -> None:
    connection, _ = connected(road, via="relay+ws://other/k", first=b"hello")
    connection.write(b"more")
    assert road.said == [Open(PEER, 7, b"hello", "relay+ws://other/k"), Data(PEER, 7, b"more")]


async def test_who_was_dialled_answers(road: Road) -> None:
    connection, end = connected(road, opened=True)
    connection.received(b"hello")
    connection.write(b"hi")
    assert road.said == [Data(PEER, 7, b"hi")]
    assert end.frames.get_nowait() == b"hello"


@pytest.mark.parametrize(("leave", "word"), [("close", "closed"), ("abort", "gone")])
async def test_the_end_on_this_side(road: Road, leave: str, word: str) -> None:
    connection, end = connected(road)
    connection.write(b"x")
    getattr(connection, leave)()
    assert end.lost == []  # never from within
    connection.write(b"late")
    connection.close()
    connection.abort()
    connection.received(b"late")
    connection.shut("gone")
    await turn()
    assert road.said == [Open(PEER, 7, b"x"), Shut(PEER, 7, word)]
    assert len(end.lost) == len(road.left) == 1
    assert (end.lost == [None]) == (leave == "close")
    assert end.frames.empty()


async def test_a_link_that_was_never_opened_ends_without_a_word(road: Road) -> None:
    connection, end = connected(road)
    connection.close()
    await turn()
    assert road.said == []
    assert end.lost == [None]


@pytest.mark.parametrize(
    ("reason", "text"),
    [("absent", "not at the relay now"), ("gone", "has left"), ("denied", "refused"), ("something new", "new")],
)
async def test_the_other_side_ends_it(road: Road, reason: str, text: str) -> None:
    for answered in (False, True):
        connection, end = connected(road)
        if answered:
            connection.received(b"x")
        connection.shut(reason)
        assert end.lost == []
        await turn()
        [error] = end.lost
        assert isinstance(error, Unreachable) != answered
        assert isinstance(error, RemoteError)
        assert text in str(error)
        assert "relay+ws://host" in str(error)
    assert not [item for item in road.said if isinstance(item, Shut)]


async def test_an_orderly_close_is_no_error(road: Road) -> None:
    connection, end = connected(road, opened=True)
    connection.shut("closed")
    await turn()
    assert end.lost == [None]


async def test_it_pauses_for_two_reasons_and_resumes_when_both_have_gone(road: Road) -> None:
    connection, end = connected(road)
    road.full = True
    connection.write(b"x")
    connection.write(b"y")
    assert (end.calls, road.paused) == (["pause"], [connection])
    connection.hold(SLOW)
    connection.release(STUFFED)
    connection.release(STUFFED)
    assert end.calls == ["pause"]
    connection.release(SLOW)
    connection.release(SLOW)
    assert end.calls == ["pause", "resume"]


async def test_it_may_be_paused_before_it_has_a_receiver(road: Road) -> None:
    road.full = True
    _, end = connected(road, first=b"hello")
    assert end.calls == ["pause"]


async def test_after_the_end_nobody_is_told_to_resume(road: Road) -> None:
    connection, end = connected(road)
    connection.hold(SLOW)
    connection.abort()
    connection.release(SLOW)
    await turn()
    assert end.calls == ["pause"]
    assert len(end.lost) == 1
