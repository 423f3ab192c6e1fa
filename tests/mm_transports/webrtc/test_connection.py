"""Pieces, pauses, the heartbeat and the close, over a channel that the tests play."""

import asyncio

import pytest

from mm_transports.testing import ConnectionEnd
from mm_transports.webrtc import connection
from mm_transports.webrtc.connection import HIGH_WATER, WebRTCConnection
from mm_transports.webrtc.protocol.pieces import END, LAST, MORE, PIECE, PING, PONG, split
from mmplatform.errors import ProtocolError, RemoteError
from mmplatform.plugins.transport import LENGTH_LIMIT, Connection
from tests.support.vectors import cases
from tests.support.waiting import until


class Channel:
    """Keeps what is sent until the test takes it."""

    piece = PIECE

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = 0
        self.ends: list[ConnectionEnd] = []
        self.connection = WebRTCConnection(self, self.accept)
        self.end = self.ends[0]

    @property
    def buffered(self) -> int:
        return sum(len(data) for data in self.sent)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def close(self) -> None:
        self.closed += 1

    def accept(self, made: Connection) -> ConnectionEnd:
        self.ends.append(ConnectionEnd(made))
        return self.ends[0]

    async def finished(self) -> Exception | None:
        await self.end.gone.wait()
        assert self.closed == 1
        [error] = self.end.lost
        return error


async def test_frames_become_pieces_and_pieces_frames() -> None:
    channel = Channel()
    frame = bytes(range(256)) * 1000
    channel.connection.write(frame)
    assert channel.sent == list(split(frame))
    for piece in channel.sent:
        channel.connection.received(piece)
    assert await channel.end.frames.get() == frame
    channel.connection.abort()
    assert isinstance(await channel.finished(), ConnectionAbortedError)
    channel.connection.received(channel.sent[0])
    channel.connection.write(b"too late")
    channel.connection.ended()
    assert channel.sent == list(split(frame))


async def test_a_full_channel_pauses_the_sender_until_it_has_drained() -> None:
    channel = Channel()
    channel.connection.drained()
    channel.connection.write(bytes(HIGH_WATER // 2))
    assert channel.end.calls == []
    channel.connection.write(bytes(HIGH_WATER))
    channel.connection.write(bytes(HIGH_WATER))
    assert channel.end.calls == ["pause"]
    sent = len(channel.sent)
    channel.connection.received(bytes((PING,)))
    assert len(channel.sent) == sent  # one that asks and does not read gets no answers
    channel.connection.drained()
    channel.connection.drained()
    assert channel.end.calls == ["pause", "resume"]
    channel.connection.received(bytes((PING,)))
    assert channel.sent[sent:] == [bytes((PONG,))]
    channel.connection.abort()
    await channel.finished()


async def test_the_end_comes_after_what_is_queued_and_is_no_error() -> None:
    near, far = Channel(), Channel()
    near.connection.write(b"last words")
    near.connection.close()
    near.connection.close()
    near.connection.write(b"too late")
    near.connection.received(bytes((LAST,)) + b"not heard any more")
    assert near.sent == [bytes((LAST,)) + b"last words", bytes((END,))]
    for piece in near.sent:
        far.connection.received(piece)
    assert await far.finished() is None
    near.connection.ended()  # as the other end has closed the channel
    assert await near.finished() is None
    assert near.end.frames.empty()
    assert far.end.frames.get_nowait() == b"last words"


async def test_a_channel_that_ends_without_a_word_was_cut() -> None:
    channel = Channel()
    channel.connection.received(bytes((MORE,)) + b"half a frame")
    channel.connection.ended()
    assert isinstance(await channel.finished(), ConnectionResetError)


@pytest.mark.parametrize("case", cases("webrtc", "invalidPieces"))
async def test_invalid_vectors(case: dict[str, list[str]]) -> None:
    channel = Channel()
    for piece in case["pieces"]:
        channel.connection.received(bytes.fromhex(piece))
    error = await channel.finished()
    assert isinstance(error, ProtocolError)
    assert error.reason == case["reason"]


@pytest.mark.parametrize("text", ["", "text", "\1x"])
async def test_text_is_refused(text: str) -> None:
    channel = Channel()
    channel.connection.received(text)
    assert isinstance(await channel.finished(), ProtocolError)


async def test_a_frame_that_is_too_long_is_refused() -> None:
    channel = Channel()
    for piece in split(bytes(LENGTH_LIMIT + 1)):
        channel.connection.received(piece)
    error = await channel.finished()
    assert isinstance(error, ProtocolError)
    assert error.reason == "too-long"


async def test_a_receiver_that_fails_ends_the_connection_and_is_reported() -> None:
    channel, reported = Channel(), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    channel.end.frame_received = lambda frame: 1 / 0
    channel.connection.received(bytes((LAST,)))
    assert isinstance(await channel.finished(), ZeroDivisionError)
    assert reported == channel.end.lost


async def test_silence_is_answered_by_a_question_and_then_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BEAT", 0.01)
    channel = Channel()
    error = await asyncio.wait_for(channel.finished(), 5)
    assert isinstance(error, RemoteError)
    assert "dead" in str(error)
    assert channel.sent == [bytes((PING,))]


async def test_an_answer_shows_life_and_so_does_what_leaves_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BEAT", 0.02)
    channel = Channel()
    for number in range(3):
        await until(lambda number=number: channel.sent.count(bytes((PING,))) > number)
        channel.connection.received(bytes((PONG,)))
    assert not channel.end.lost
    channel.sent.clear()
    channel.connection.write(bytes(4 * PIECE))
    await until(lambda: channel.connection._waited > 3 * PIECE)
    for _ in range(3):
        channel.sent.pop(0)  # acknowledged by the other end
        await until(lambda: channel.connection._waited == channel.buffered)
        assert not channel.end.lost
    channel.connection.abort()
    await channel.finished()
