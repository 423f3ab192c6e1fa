"""Runs the session on one connection: handshake, keep-alive, parts of frames that are too large, and the close."""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from mmplatform.accounts import NO_LIMIT, Account, network_of
from mmplatform.delivery.fragments import Assembler
from mmplatform.delivery.slices import encodings, sliced, weight
from mmplatform.delivery.wire import (
    MAX_FRAME,
    Again,
    Close,
    Frame,
    Packet,
    Part,
    Ping,
    Pong,
    decode_joined,
    decode_packet,
)  # fmt: skip
from mmplatform.errors import ProtocolError, RemoteError
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.ended import LinkEnded
from mmplatform.links.paths import cost_of
from mmplatform.links.round_trips import LinkTrips
from mmplatform.links.scheduler import Scheduler
from mmplatform.plugins.transport import LENGTH_LIMIT, Connection
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import Initiator, Responder
from mmplatform.session.session import Session
from mmplatform.text import escaped

HANDSHAKE_TIMEOUT: Final = 10.0  # seconds
KEEPALIVE: Final = 3.5  # seconds of silence after which the peer is asked whether it is there
SPARE_KEEPALIVE: Final = 15.0  # seconds of silence after which a link that is only kept warm asks the peer
MAX_HELD: Final = LENGTH_LIMIT + 4  # bytes held for a peer before it has proven who it is: one frame
SILENCES: Final = 3  # spans of silence, one after the other, that end the link
LINGER: Final = 5.0  # seconds a closed connection may take to send what is queued
YIELD: Final = 0.5  # seconds of them for one that gives way to others
BOX: Final = 16  # bytes that sealing adds to a packet
STEP: Final = 320  # weight of a stranger's frame that is worked on at a time
STEP_KNOWN: Final = 1024  # the same of a friend's or device's
PUT_BY: Final = 1024 * 1024  # bytes of a stranger's frames that wait here, when the connection cannot pause
PUT_BY_KNOWN: Final = 32 * 1024 * 1024  # the same of a friend or device
OVERLOADED: Final = "overloaded"  # why a link is closed: there is no room for what its peer has us hold

log = logging.getLogger("mmplatform.links")
_numbers = itertools.count(1)


class LinkEvents(Protocol):
    """Callbacks of a link."""

    def link_identified(self, link: "Link", peer: NodeInfo, resume: bytes) -> bytes:
        """Give our resume state for ``peer``, which dialled us and has proven its key. Raises ProtocolError to
        refuse."""
        ...

    def link_ready(self, link: "Link", peer: NodeInfo, resume: bytes) -> None: ...

    def frame_received(self, link: "Link", frame: Frame) -> None: ...

    def send_again(self, lane: int, epoch: int) -> None:
        """Send a stream again: the peer has left some of it with us."""

    def link_writable(self, link: "Link") -> None: ...

    def link_lost(self, link: "Link", error: Exception | None) -> None: ...


class Link:
    """Runs the session on one connection. ``error`` says why the link ended, once it has.

    ``dialled`` is True on the side that dialled, at ``dialled_at``. Of two links of one ``kind`` one is enough.
    ``paths.py`` weighs ``cost``, ``relayed``, ``trips``, ``suspect_until``. ``id`` is unique in this process.
    ``known``: a friend's or device's. Frames for which this turn of the loop has no time are put by; reading pauses.
    """

    def __init__(
        self,
        connection: Connection,
        machine: Initiator | Responder,
        owner: LinkEvents,
        now: Callable[[], float],
        above: Account,
        scheduler: Scheduler,
    ) -> None:
        self.id = next(_numbers)
        self.connection = connection
        self.dialled = isinstance(machine, Initiator)
        self.peer: NodeInfo | None = None
        self.epoch = 0  # the run of the peer's node that is at the other end; the owner sets it
        self.paused = False
        self.error: Exception | None = None
        self.rtt = 0.0  # seconds, of the last ping
        self.skew = 0.0  # seconds the peer's clock was ahead of ours when the link began; the owner sets it
        self.trips = LinkTrips()
        self.relayed = connection.relayed
        self.network = network_of(connection.address, self.relayed)  # where others are, too
        self.cost = cost_of(connection.address, connection.cost, self.relayed)
        self.kind = (connection.cost, connection.address if self.relayed else "")
        self.suspect_until = 0.0  # loop time before which the link is used only when there is no other one
        self.held_until = 0.0  # loop time before which the link is not gone back to for being better alone
        self.dialled_at = ""
        self.keepalive = KEEPALIVE  # seconds of silence after which the peer is asked
        self.owes_answer = False  # something that wants an answer went out after the last frame came in
        self.frames_awaiting_reply = 0  # frames sent so far that want an answer
        self.bytes_in = self.bytes_out = self.frames_in = 0
        self.known = False
        self.held_up = False  # whether nothing is read, as handlers have enough to do for the peer
        self.worked = inf  # of the scheduler: who comes anew waits behind those who are here
        self._scheduler = scheduler
        self._put_by: deque[bytes | Frame] = deque()  # what came and is still to be worked on
        self._put_by_bytes = 0
        self._waits = False  # whether the scheduler is to call
        self._ended: tuple[Exception | None] | None = None  # the end of the connection, which came behind these
        self._machine: Initiator | Responder | None = machine
        self.owner = owner
        self._now = now
        self._session: Session | None = None
        self.account = Account(MAX_HELD, above, self.give_way)  # of what is held for the peer until a frame is whole
        self.assembler = Assembler(self.account, lambda: MAX_FRAME)  # puts together frames that come in parts
        self._kept = 0  # bytes that the connection keeps for a frame that is not whole yet
        self._room = connection.max_frame - BOX
        self._logged = log.isEnabledFor(logging.DEBUG)  # whether each frame is logged
        self._heard = True
        self._silences = 0
        self._pings: dict[int, tuple[float, int, asyncio.Future[float] | None]] = {}
        self._ping_number = 0
        self._loop = asyncio.get_running_loop()
        self.opened = self._loop.time()
        self._asked = self.opened if self.dialled else 0.0  # when our last frame of the handshake went out
        self._timer = self._loop.call_later(
            HANDSHAKE_TIMEOUT, self._end, RemoteError("the handshake took too long"), True
        )
        if isinstance(machine, Initiator):
            self._shake(machine.hello())

    @property
    def ready(self) -> bool:
        """Whether the session is established and the connection is there."""
        return self._session is not None and self.error is None

    @property
    def min_rtt(self) -> float:
        """The shortest of the latest round trips, in seconds, without the time of queues; 0 when not measured."""
        return self.trips.shortest

    @property
    def scheme(self) -> str:
        """The scheme of the address, which names the transport."""
        return self.connection.address.partition(":")[0]

    @property
    def largest(self) -> int:
        """Bytes that one message may take of a frame: larger ones travel in pieces."""
        return self._room // 2

    def send(self, packet: Frame | Ping | Pong | Close | Again) -> None:
        """Seal and write one packet, in parts when it is larger than a frame."""
        session = self._session
        if session is None or self.error is not None:
            return
        before = self.bytes_out
        for data in encodings(packet, self._room):
            self.bytes_out += len(data)
            self.connection.write(session.seal(data))
        if self._logged:
            self._log_frame("out", type(packet).__name__, self.bytes_out - before)

    def keep(self, seconds: float) -> None:
        """Ask the peer whether it is there after ``seconds`` of silence, from now on."""
        sooner, self.keepalive = seconds < self.keepalive, seconds
        if sooner and self.ready:
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._tick)

    async def ping(self) -> float:
        """Measure the round trip, in seconds. Raises the error of the link when it ends first."""
        return await self.ask()

    def ask(self) -> asyncio.Future[float]:
        """As :meth:`ping`, without waiting. Once the future is done, all that was sent before has reached the peer."""
        future: asyncio.Future[float] = self._loop.create_future()
        if self.ready:
            self._ask(future)
        else:
            future.set_exception(RemoteError(f"the link ended: {self.error}"))
        return future

    def close(self, reason: str) -> None:
        """Tell the peer why, send what is queued and close."""
        if self.error is None:
            self.send(Close(reason))
            self._end(LinkEnded(reason))

    def give_way(self) -> None:
        """Close, and give back at once what is held for the peer: others have no room."""
        self.assembler.clear()
        self.holds(0)
        if self.error is None:
            self.send(Close(OVERLOADED))
            self._end(ProtocolError(OVERLOADED, "others had no room"), yielding=True)

    def frame_received(self, frame: memoryview) -> None:
        self._heard, self.owes_answer = True, False
        self.bytes_in += len(frame)
        scheduler = self._scheduler
        if self._waits or self.held_up or not scheduler.admits(self):
            self._put_by_frame(frame)
            return
        begun = scheduler.clock()
        self._take(frame)
        scheduler.charge(self, scheduler.clock() - begun)

    def work(self) -> bool:
        """Work on the first of what was put by; return whether there is more. The scheduler calls it."""
        if self._put_by and not self.held_up:
            first = self._put_by.popleft()
            self._put_by_bytes -= len(first) if isinstance(first, bytes) else 0
            self._take(first)
        self._waits = bool(self._put_by) and not self.held_up
        if self._ended is not None and not self._put_by:
            self._lost(*self._ended)
        elif self.error is None and not self._waits and not self.held_up:
            self.connection.resume_reading()
        return self._waits

    def holds(self, size: int) -> None:
        more = size - self._kept
        if more <= 0:
            self.account.credit(-more)
        else:
            try:
                self.account.charge(more)
            except ProtocolError as error:
                self._violated(error)
                return
        self._kept = size

    def connection_lost(self, error: Exception | None) -> None:
        if self._put_by and not self.held_up:
            self._ended = (error,)  # what came before the end is worked on before it
        else:
            self._lost(error)

    def hold_up(self) -> None:
        """Read nothing more for now, as handlers have enough to do; over a relay others come the same way."""
        if not self.held_up and self.error is None and self._ended is None:
            self.held_up = True
            if not self.relayed:
                self.connection.pause_reading()

    def go_on(self) -> None:
        """Read again, after :meth:`hold_up`."""
        if self.held_up and self.error is None:
            self.held_up = False
            if self._put_by:
                self._wait()
            elif not self._waits:
                self.connection.resume_reading()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.ready:
            self.owner.link_writable(self)

    def _put_by_frame(self, frame: memoryview) -> None:
        """Let a frame wait for its turn, and the connection with it; one that cannot wait is closed at some point."""
        if self.error is not None:
            return
        if self._put_by_bytes + len(frame) > (PUT_BY_KNOWN if self.known else PUT_BY):
            self._violated(ProtocolError(OVERLOADED, "frames come faster than they are worked on"))
            return
        self._put_by.append(bytes(frame))
        self._put_by_bytes += len(frame)
        self._wait()

    def _wait(self) -> None:
        """Have the scheduler call when there is time for what was put by."""
        if not self._waits and not self.held_up:
            self._waits = True
            self.connection.pause_reading()
            self._scheduler.wait(self)

    def _take(self, frame: memoryview | bytes | Frame) -> None:
        try:
            if isinstance(frame, Frame):
                self.owner.frame_received(self, frame)
            elif self._session is not None:
                self._packet(self._session.open(frame))
            elif self.error is None:
                self._handshake(bytes(frame))
        except ProtocolError as error:
            self._violated(error)
        except Exception:
            self._end(RemoteError("a frame could not be handled here"), at_once=True)
            raise

    def _lost(self, error: Exception | None) -> None:
        self._end(error or LinkEnded("lost", "closed by the peer", by_peer=True))
        self._timer.cancel()
        for _, _, answer in self._pings.values():
            if answer is not None and not answer.done():
                answer.set_exception(RemoteError(f"the link ended: {self.error}"))
        self._pings.clear()
        self.assembler.clear()
        self.holds(0)
        self.owner.link_lost(self, self.error)

    def _handshake(self, frame: bytes) -> None:
        machine = self._machine
        assert machine is not None
        now = self._loop.time()
        if self._asked:
            self.trips.add(now - self._asked)
        self._asked = now
        if self._logged:
            self._log_frame("in", "handshake", len(frame))
        for event in machine.receive(frame, self._now()):
            match event:
                case Send(frame=answer):
                    self._shake(answer)
                case Identified(peer=peer, resume=resume):
                    assert isinstance(machine, Responder)
                    ready, established = machine.accept(self.owner.link_identified(self, peer, resume))
                    assert isinstance(ready, Send)
                    self._shake(ready.frame)
                    assert isinstance(established, Established)
                    self._established(established)
                case Established():
                    self._established(event)

    def _shake(self, frame: bytes) -> None:
        """Write a frame of the handshake."""
        if self._logged:
            self._log_frame("out", "handshake", len(frame))
        self.connection.write(frame)

    def _established(self, event: Established) -> None:
        self._session, self.peer, self._machine = event.session, event.peer, None
        self.account.limit = NO_LIMIT
        self._timer.cancel()
        self._timer = self._loop.call_later(self.keepalive, self._tick)
        self.owner.link_ready(self, event.peer, event.resume)

    def _packet(self, data: bytearray) -> None:
        packet, size = decode_packet(data), len(data)
        if self._logged:
            self._log_frame("in", type(packet).__name__, size)
        if type(packet) is Part:
            size, whole = packet.total, self._joined(packet)
            if whole is None:
                return
            packet = whole
        match packet:
            case Frame() if self.error is None:
                self.frames_in += 1
                self._frame(packet, size)
            case Ping(id=number):
                if not self.paused:  # a peer that asks and never reads would fill the memory with answers
                    self.send(Pong(number))
            case Pong(id=number):
                self._answered(number)
            case Again(lane=lane, epoch=epoch):
                self.owner.send_again(lane, epoch)
            case Close(reason=reason):
                self._end(LinkEnded(reason, f"closed by the peer: {escaped(reason)}", by_peer=True))

    def _frame(self, frame: Frame, size: int) -> None:
        """Hand a frame to the owner, a large one in slices: the others wait, in front of all that came later."""
        step = STEP_KNOWN if self.known else STEP
        if 2 * size > step and weight(frame) > step:  # a byte weighs less than 2
            frame, *rest = sliced(frame, step)
            self._put_by.extendleft(reversed(rest))
            self._wait()
        self.owner.frame_received(self, frame)

    def _joined(self, part: Part) -> Packet | None:
        """The packet that ``part`` was the last part of; None while parts are missing."""
        whole = self.assembler.add(part.offset, part.total, part.data)
        if whole is None:
            return None
        packet = decode_joined(whole)
        if type(packet) is Part:
            raise ProtocolError("bad-packet", "a part inside parts")
        if self._logged:
            self._log_frame("in, whole", type(packet).__name__, len(whole))
        return packet

    def _violated(self, error: ProtocolError) -> None:
        """Tell the peer the reason word, if there is a session to say it in, and end the link."""
        if self.error is None:
            if self._session is not None and not self._session.dead:
                self.send(Close(error.reason))
            self._end(error)

    def _end(self, error: Exception, at_once: bool = False, yielding: bool = False) -> None:
        """Close the connection; one whose other end does not take what is queued is cut after LINGER seconds."""
        if self.error is None:
            self.error = error.with_traceback(None)  # whose frames hold the link, and what it was reading
            self._put_by.clear()
            self._timer.cancel()
            if self._session is not None:
                self._session.close()
            if at_once:
                self.connection.abort()
            else:
                self._timer = self._loop.call_later(YIELD if yielding else LINGER, self.connection.abort)
                self.connection.close()

    def _tick(self) -> None:
        """Answer silence by a question, then by the end. This is the one timer of a link."""
        self._logged = log.isEnabledFor(logging.DEBUG)
        if self._heard or self._waits or self.held_up:  # who is not read may well have spoken
            self._heard, self._silences = False, 0
        else:
            self._silences += 1
            if self._silences >= SILENCES:
                self._end(LinkEnded("silent", "the peer fell silent"), at_once=True)
                return
            self._pings = {n: ping for n, ping in self._pings.items() if ping[2] and not ping[2].done()}
            self._ask(None)
        self._timer = self._loop.call_later(self.keepalive, self._tick)

    def _log_frame(self, way: str, kind: str, size: int) -> None:
        """Log the kind and the bytes of a frame, and nothing of what is in it."""
        log.debug("link %d %s: %s, %d bytes", self.id, way, kind, size, extra={"link": self.id})

    def _answered(self, number: int) -> None:
        if number in self._pings:
            sent, before, answer = self._pings.pop(number)
            self.rtt = time.perf_counter() - sent
            self.trips.add(self.rtt, self.bytes_in + self.bytes_out - before)
            if answer is not None and not answer.done():
                answer.set_result(self.rtt)

    def _ask(self, answer: asyncio.Future[float] | None) -> None:
        self._ping_number += 1
        self._pings[self._ping_number] = (time.perf_counter(), self.bytes_in + self.bytes_out, answer)
        self.send(Ping(self._ping_number))
