"""One connection and its session: handshake, keep-alive, parts, and every way it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import count

import pytest

from mm_transports.memory import Memory, MemoryConnection, Network
from mmplatform.accounts import Account
from mmplatform.delivery.slices import encodings
from mmplatform.delivery.wire import MAX_MIXED, Close, Event, Frame, Part, Ping, encode_packet
from mmplatform.errors import ProtocolError, RemoteError
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import link as module
from mmplatform.links.link import BOX, PUT_BY, STEP, Link
from mmplatform.links.scheduler import TURN, Scheduler
from mmplatform.plugins.transport import Connection
from mmplatform.session.cookies import CookieJar
from mmplatform.session.handshake import Initiator, Responder
from tests.support.sessions import NOW, draws, record_of
from tests.support.waiting import until
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)


def frame_of(*payloads: bytes) -> Frame:
    return Frame(0, 1, [], [], [Event("t", "ms", payload) for payload in payloads], [], [])


class Side:
    """An owner that keeps what it is told."""

    def __init__(self) -> None:
        self.link: Link
        self.resume = b""
        self.ready = asyncio.Event()
        self.lost = asyncio.Event()
        self.losses = 0
        self.writable = 0
        self.frames: list[Frame] = []
        self.refuse = ""

    def link_identified(self, link: Link, peer: NodeInfo, resume: bytes) -> bytes:
        if self.refuse:
            raise ProtocolError(self.refuse)
        return b"from bob"

    def link_ready(self, link: Link, peer: NodeInfo, resume: bytes) -> None:
        self.resume = resume
        self.ready.set()

    def frame_received(self, link: Link, frame: Frame) -> None:
        self.frames.append(frame)

    def link_writable(self, link: Link) -> None:
        self.writable += 1

    def link_lost(self, link: Link, error: Exception | None) -> None:
        self.losses += 1
        self.lost.set()


class Pair:
    def __init__(self) -> None:
        self.network = Network()
        self.alice, self.bob = Side(), Side()
        self.ticks = 0.0  # seconds that pass at Bob between two looks at the clock

    async def dial(self) -> None:
        numbers = count()

        def clock() -> float:
            return next(numbers) * self.ticks

        def client(connection: Connection) -> Link:
            machine = Initiator(ALICE, record_of(ALICE), BOB.sign_id, lambda: b"from alice", draws("c"))
            self.alice.link = Link(connection, machine, self.alice, lambda: NOW, Account(10_000_000), Scheduler())
            return self.alice.link

        def server(connection: Connection) -> Link:
            machine = Responder(BOB, lambda: record_of(BOB), CookieJar(draws("j")), draws("s"))
            self.bob.link = Link(connection, machine, self.bob, lambda: NOW, Account(10_000_000), Scheduler(clock))
            return self.bob.link

        transport = Memory(self.network)
        [address] = await transport.listen("memory://0", server)
        await transport.dial(address, BOB.sign_id, client)

    async def both_ready(self) -> "Pair":
        await self.dial()
        await asyncio.gather(self.alice.ready.wait(), self.bob.ready.wait())
        return self

    async def both_lost(self) -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(self.alice.lost.wait(), self.bob.lost.wait())
        assert (self.alice.losses, self.bob.losses) == (1, 1)
        assert not self.alice.link.ready
        assert not self.bob.link.ready


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.network.cut()


async def test_the_handshake_carries_both_records_and_resume_states(pair: Pair) -> None:
    await pair.both_ready()
    assert (pair.alice.resume, pair.bob.resume) == (b"from bob", b"from alice")
    alice, bob = pair.alice.link, pair.bob.link
    assert (alice.dialled, bob.dialled) == (True, False)
    assert alice.ready
    assert bob.ready
    assert alice.peer is not None
    assert bob.peer is not None
    assert (alice.peer.sign_id, bob.peer.sign_id) == (BOB.sign_id, ALICE.sign_id)


async def test_frames_of_any_size_go_both_ways(pair: Pair) -> None:
    pair.network.max_frame = 1000
    await pair.both_ready()
    sizes = [0, 10, 900, 983, 984, 985, 1000, 5000, 100_000, 1]
    pair.alice.link.send(frame_of(b"first"))
    for size in sizes:
        pair.alice.link.send(frame_of(bytes(size)))
        pair.bob.link.send(frame_of(b"x" * size))
    await until(lambda: len(pair.bob.frames) == len(sizes) + 1 and len(pair.alice.frames) == len(sizes))
    assert [len(frame.events[0].payload) for frame in pair.bob.frames[1:]] == sizes
    assert [frame.events[0].payload for frame in pair.alice.frames] == [b"x" * size for size in sizes]
    assert pair.alice.link.largest == 492


async def test_pings_measure_the_round_trip(pair: Pair) -> None:
    await pair.both_ready()
    pair.network.delay = 0.01
    trips = await asyncio.gather(pair.alice.link.ping(), pair.bob.link.ping(), pair.alice.link.ping())
    assert all(0.02 <= trip < 2 for trip in trips)
    assert pair.alice.link.rtt == pytest.approx(trips[2])
    assert not pair.alice.link._pings


async def test_a_ping_ends_with_the_link_and_one_given_up_is_forgotten(pair: Pair) -> None:
    await pair.both_ready()
    pair.network.delay = 0.01
    pinging, given_up = asyncio.create_task(pair.alice.link.ping()), asyncio.create_task(pair.alice.link.ping())
    await asyncio.sleep(0)
    given_up.cancel()
    pair.network.cut()
    with pytest.raises(RemoteError, match="the link ended"):
        await pinging
    with pytest.raises(RemoteError, match="the link ended"):
        await pair.alice.link.ping()


async def test_a_pong_nobody_waits_for_is_harmless(pair: Pair) -> None:
    await pair.both_ready()
    pair.bob.link.send(module.Pong(99))
    pair.alice.link._ask(None)
    await until(lambda: not pair.alice.link._pings)
    task = asyncio.create_task(pair.alice.link.ping())
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: not pair.alice.link._pings)
    assert pair.alice.link.ready


async def test_a_peer_that_does_not_read_gets_no_answers(pair: Pair) -> None:
    await pair.both_ready()
    pair.bob.link.pause_writing()
    pair.alice.link._ask(None)
    pair.alice.link.send(frame_of(b"after the ping"))
    await until(lambda: pair.bob.frames)
    assert len(pair.alice.link._pings) == 1
    pair.bob.link.resume_writing()
    assert pair.bob.writable == 1
    pair.network.cut()
    await pair.both_lost()
    pair.bob.link.resume_writing()
    assert pair.bob.writable == 1


async def test_close_tells_why_and_what_was_sent_before_arrives(pair: Pair) -> None:
    await pair.both_ready()
    pair.alice.link.send(frame_of(b"last words"))
    pair.alice.link.close("stopping")
    pair.alice.link.close("again")
    pair.alice.link.send(frame_of(b"too late"))
    await pair.both_lost()
    assert str(pair.alice.link.error) == "stopping"
    assert str(pair.bob.link.error) == "closed by the peer: stopping"
    assert [frame.events[0].payload for frame in pair.bob.frames] == [b"last words"]


async def test_a_cut_is_told_to_both(pair: Pair) -> None:
    await pair.both_ready()
    pair.network.cut()
    await pair.both_lost()
    assert "cut" in str(pair.alice.link.error)


async def test_a_plain_end_is_named_too(pair: Pair) -> None:
    await pair.both_ready()
    pair.alice.link.connection.close()
    await pair.both_lost()
    assert str(pair.bob.link.error) == "closed by the peer"


async def test_silence_is_asked_about_then_ends_the_link(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE", 0.01)
    await pair.both_ready()
    pair.bob.link.frame_received = lambda frame: None  # type: ignore[method-assign]
    await pair.both_lost()
    assert "the peer fell silent" in f"{pair.alice.link.error} {pair.bob.link.error}"


async def test_an_idle_link_is_kept_by_questions_and_answers(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE", 0.005)
    await pair.both_ready()
    waiting = asyncio.get_running_loop().create_future()
    pair.alice.link._pings[-1] = (0.0, 0, waiting)  # a caller's question survives the sweep of our own
    await until(lambda: pair.alice.link._ping_number + pair.bob.link._ping_number >= 8)
    assert pair.alice.link.ready
    assert pair.bob.link.ready
    assert len(pair.alice.link._pings) <= 2
    waiting.cancel()


async def test_a_slow_handshake_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 0.01)
    pair.network.delay = 60
    await pair.dial()
    await pair.both_lost()
    assert "handshake took too long" in f"{pair.alice.link.error} {pair.bob.link.error}"


async def test_a_refused_client_is_closed_with_the_reason_here(pair: Pair) -> None:
    pair.bob.refuse = "own-key"
    await pair.dial()
    await pair.both_lost()
    assert isinstance(pair.bob.link.error, ProtocolError)
    assert pair.bob.link.error.reason == "own-key"
    assert not pair.alice.ready.is_set()


@pytest.mark.parametrize(
    ("plaintext", "reason"),
    [
        (b"", "bad-packet"),
        (b"\xc1", "bad-packet"),
        (encode_packet(Ping(1))[:-1], "bad-packet"),
        (encode_packet(Part(0, 2, b"")), "bad-piece"),
        (encode_packet(Part(5, 10, b"x")), "bad-piece"),
        (encode_packet(Part(0, 2**40, b"x")), "too-large"),
        (encode_packet(Part(0, 1, b"\xc1")), "bad-packet"),
        (encode_packet(Part(0, len(encode_packet(Part(0, 2, b"x"))), encode_packet(Part(0, 2, b"x")))), "bad-packet"),
    ],
)
async def test_a_packet_that_is_none_ends_the_link_and_both_know_the_word(
    pair: Pair, plaintext: bytes, reason: str
) -> None:
    await pair.both_ready()
    session = pair.alice.link._session
    assert session is not None
    pair.alice.link.connection.write(session.seal(plaintext))
    pair.alice.link.connection.write(session.seal(encode_packet(frame_of(b"after"))))
    await pair.both_lost()
    assert isinstance(pair.bob.link.error, ProtocolError)
    assert pair.bob.link.error.reason == reason
    assert str(pair.alice.link.error) == f"closed by the peer: {reason}"
    assert pair.bob.frames == []


async def test_a_frame_that_does_not_open_ends_the_link(pair: Pair) -> None:
    await pair.both_ready()
    pair.alice.link.connection.write(bytes(64))
    await pair.both_lost()
    assert isinstance(pair.bob.link.error, ProtocolError)
    assert pair.bob.link.error.reason == "bad-box"


async def test_an_owner_that_finds_a_violation_ends_the_link(pair: Pair) -> None:
    await pair.both_ready()

    def refuse(link: Link, frame: Frame) -> None:
        raise ProtocolError("window", "too far")

    pair.bob.frame_received = refuse  # type: ignore[method-assign]
    pair.alice.link.send(frame_of(b"x"))
    pair.alice.link.send(frame_of(b"y"))
    await pair.both_lost()
    assert str(pair.alice.link.error) == "closed by the peer: window"
    assert isinstance(pair.bob.link.error, ProtocolError)
    assert pair.bob.link.error.__traceback__ is None, "its frames hold the link, and what it was reading"


async def test_frames_that_come_after_the_end_count_no_more(pair: Pair) -> None:
    await pair.both_ready()
    session = pair.alice.link._session
    assert session is not None
    sealed = session.seal(encode_packet(frame_of(b"x")))
    pair.bob.link.close("enough")
    pair.bob.link.frame_received(memoryview(sealed))
    pair.bob.link.frame_received(memoryview(b"garbage"))
    assert pair.bob.frames == []
    await pair.both_lost()
    assert str(pair.bob.link.error) == "enough"


async def test_a_frame_after_a_failed_handshake_counts_no_more(pair: Pair) -> None:
    await pair.dial()
    pair.bob.link.frame_received(memoryview(b"garbage"))
    pair.bob.link.frame_received(memoryview(b"more"))
    assert isinstance(pair.bob.link.error, ProtocolError)
    await pair.both_lost()


async def test_a_closed_connection_that_cannot_send_is_cut(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.01)
    await pair.both_ready()
    monkeypatch.setattr(MemoryConnection, "close", lambda self: None)  # what TCP does while its buffer is full
    pair.alice.link.close("stopping")
    await pair.both_lost()


async def test_parts_give_their_memory_back_when_the_link_ends(pair: Pair) -> None:
    await pair.both_ready()
    pair.alice.link.send(Part(0, 1000, bytes(500)))  # type: ignore[arg-type]
    await until(lambda: pair.bob.link.assembler.held == 500)
    pair.network.cut()
    await pair.both_lost()
    assert pair.bob.link.assembler._account.used == 0


async def test_close_packets_say_the_reason(pair: Pair) -> None:
    await pair.both_ready()
    pair.bob.link.send(Close("because"))
    await pair.both_lost()
    assert str(pair.alice.link.error) == "closed by the peer: because"


def frames_logged(caplog: pytest.LogCaptureFixture, link: Link) -> list[str]:
    """What was logged of the frames of ``link``, without its number."""
    found = [record for record in caplog.records if getattr(record, "link", 0) == link.id]
    assert all(record.name == "mmplatform.links" and record.levelno == logging.DEBUG for record in found)
    start = f"link {link.id} "
    assert all(record.getMessage().startswith(start) for record in found)
    return [record.getMessage().removeprefix(start) for record in found]


async def test_each_frame_is_logged_by_kind_and_size(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pair.network.max_frame = 1000
    await pair.both_ready()
    alice, bob = pair.alice.link, pair.bob.link
    assert alice.id != bob.id
    handshake = frames_logged(caplog, alice)
    assert [line.partition(", ")[0] for line in handshake] == [
        "out: handshake", "in: handshake", "out: handshake", "in: handshake",
    ]  # fmt: skip
    caplog.clear()
    alice.send(frame_of(b"payload"))
    alice.send(frame_of(bytes(1500)))
    await alice.ping()
    size = len(encode_packet(frame_of(b"payload")))
    large = len(encode_packet(frame_of(bytes(1500))))
    sent = sum(map(len, encodings(frame_of(bytes(1500)), 1000 - BOX)))
    assert frames_logged(caplog, alice)[:2] == [f"out: Frame, {size} bytes", f"out: Frame, {sent} bytes"]
    heard = frames_logged(caplog, bob)
    assert heard[0] == f"in: Frame, {size} bytes"
    assert [line.partition(",")[0] for line in heard[1:3]] == ["in: Part", "in: Part"]
    assert heard[3] == f"in, whole: Frame, {large} bytes"
    assert [line.partition(",")[0] for line in heard[4:]] == ["in: Ping", "out: Pong"]


async def test_frames_are_not_logged_unless_asked_and_soon_when_asked_later(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await pair.both_ready()
    pair.alice.link.send(frame_of(b"payload"))
    caplog.set_level(logging.DEBUG)
    pair.alice.link.send(frame_of(b"payload"))
    assert not frames_logged(caplog, pair.alice.link)
    pair.alice.link._tick()  # the look at its silence
    pair.alice.link.send(frame_of(b"payload"))
    assert len(frames_logged(caplog, pair.alice.link)) == 1


async def test_a_frame_with_many_items_is_worked_on_in_steps_and_others_come_between(pair: Pair) -> None:
    await pair.both_ready()
    pair.ticks = TURN  # the turn of the loop is over after each step
    turns, at = 0, list[int]()
    received = pair.bob.frame_received

    def frame_received(link: Link, frame: Frame) -> None:
        at.append(turns)
        received(link, frame)

    pair.bob.frame_received = frame_received  # type: ignore[method-assign]
    many = frame_of(*[bytes([n % 256]) for n in range(10 * STEP)])
    pair.alice.link.send(many)
    pair.alice.link.send(frame_of(b"behind"))
    while len(at) < 11:
        await asyncio.sleep(0)
        turns += 1
    assert len(set(at)) == 11  # the loop was somebody else's in between
    assert [event for frame in pair.bob.frames[:-1] for event in frame.events] == many.events
    assert pair.bob.frames[-1] == frame_of(b"behind")


async def test_what_came_before_the_end_is_worked_on_before_it(pair: Pair) -> None:
    await pair.both_ready()
    pair.alice.link.send(frame_of(*[b"x"] * (5 * STEP)))
    pair.alice.link.close("done")
    await pair.both_lost()
    assert sum(len(frame.events) for frame in pair.bob.frames) == 5 * STEP


async def test_a_connection_that_cannot_pause_is_closed_when_far_too_much_waits(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.both_ready()
    link = pair.bob.link
    monkeypatch.setattr(link.connection, "pause_reading", lambda: None)
    monkeypatch.setattr(link._scheduler, "admits", lambda worker: False)
    monkeypatch.setattr(link._scheduler, "wait", lambda worker: None)
    for _ in range(PUT_BY // 200_000 + 1):
        pair.alice.link.send(frame_of(bytes(200_000)))
    await pair.alice.lost.wait()
    assert "overloaded" in str(pair.alice.link.error)
    assert pair.bob.frames == []


async def test_a_frame_with_many_items_leaves_in_frames_that_the_peer_takes(pair: Pair) -> None:
    await pair.both_ready()
    payloads = [bytes([n]) * 100_000 for n in range(9)] + [b"small"] * 1000 + [bytes(300_000), b"last"]
    pair.alice.link.send(frame_of(*payloads))
    await until(lambda: sum(len(frame.events) for frame in pair.bob.frames) == len(payloads))
    assert [event.payload for frame in pair.bob.frames for event in frame.events] == payloads
    assert all(len(encode_packet(f)) <= MAX_MIXED for f in pair.bob.frames if len(f.events) > 1)
    assert pair.bob.link.error is None


async def test_a_large_frame_with_many_items_ends_the_link_before_it_is_decoded(pair: Pair) -> None:
    await pair.both_ready()
    session, data = pair.alice.link._session, encode_packet(frame_of(*[b""] * 60_000))
    assert session is not None
    assert len(data) > MAX_MIXED
    for start in range(0, len(data), 100_000):
        part = Part(start, len(data), data[start : start + 100_000])
        pair.alice.link.connection.write(session.seal(encode_packet(part)))
    await pair.both_lost()
    assert isinstance(pair.bob.link.error, ProtocolError)
    assert (pair.bob.link.error.reason, pair.bob.frames) == ("bad-packet", [])


async def test_a_violation_in_a_later_step_ends_the_link_with_its_reason(pair: Pair) -> None:
    await pair.both_ready()
    received = pair.bob.frame_received

    def frame_received(link: Link, frame: Frame) -> None:
        received(link, frame)
        if len(pair.bob.frames) == 3:
            raise ProtocolError("window", "too many")

    pair.bob.frame_received = frame_received  # type: ignore[method-assign]
    pair.alice.link.send(frame_of(*[b"x"] * (5 * STEP)))
    await pair.both_lost()
    assert "window" in str(pair.alice.link.error)
    assert len(pair.bob.frames) == 3
