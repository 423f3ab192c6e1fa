"""One remote peer: its links, what is queued for it, and the loop that dials it while something waits.

What is queued in one turn of the event loop leaves in one frame, one box and one write; 64 KiB leave at once.
"""

import asyncio
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from mmplatform.delivery.inbox import Inbox
from mmplatform.delivery.outbox import Outbox
from mmplatform.delivery.receiver import Stream
from mmplatform.delivery.wire import (
    OK,
    Ack,
    Batch,
    Event,
    Frame,
    Record,
    Reply,
    Request,
    Resume,
    decode_resume,
    encode_packet,
)  # fmt: skip
from mmplatform.errors import (
    InvalidPayload,
    LocalError,
    MMError,
    NotRunning,
    ProtocolError,
    QueueFull,
    Refused,
    Unreachable,
)
from mmplatform.identity.keys import SignId
from mmplatform.message import MAX_PAYLOAD, SENT, Delivery
from mmplatform.network.dialer import Backoff, Dialer
from mmplatform.network.directory import Directory
from mmplatform.network.gate import Gate
from mmplatform.network.link import Link
from mmplatform.network.requests import UNFINISHED, Answered, Asked, failure, nobody
from mmplatform.subscriber import NOBODY, Result

FULL: Final = 64 * 1024  # bytes queued that leave at once
EAGER: Final = 32  # requests or replies that leave at once: the other side works while this one goes on
LIFETIME: Final = 3600.0  # seconds after which a link is replaced by a fresh one
RENEW_AGAIN: Final = 60.0  # seconds until a fresh link that could not be had is tried for again
STABLE: Final = 5.0  # a link that was lost sooner and brought nothing is not dialled again at once,
FLAPPING: Final = 2.0  # but after so many seconds at most: the peer is there
GLARE: Final = 10.0  # seconds between two links within which both ends may have dialled at once
PORTION: Final = 1024 * 1024  # of a larger queue, bytes that one frame carries
BACKLOG: Final = 64 * 1024 * 1024  # bytes of replies for a peer that asks and does not read
LONGEST_TIMER: Final = 3600.0  # the wall clock may be set: look again at least this often
DUPLICATE: Final = "duplicate"  # reasons for closing a link
REPLACED: Final = "replaced"
TAKEN_OVER: Final = "taken-over"

Queued = TypeVar("Queued", Event, Request, Reply)


class Node(Protocol):
    """What a peer needs of the node it belongs to."""

    instance: int
    outbox: Outbox
    inbox: Inbox
    directory: Directory
    dialer: Dialer
    gate: Gate

    @property
    def sign_id(self) -> SignId: ...

    def now(self) -> float: ...

    def random(self) -> float: ...

    def scope(self, peer: SignId) -> str: ...

    def known(self, peer: str) -> bool: ...

    def connected(self, peer: "Peer") -> None: ...

    def disconnected(self, peer: "Peer", reason: str) -> None: ...

    def unreachable(self, peer: "Peer", reason: str) -> None: ...

    def release(self, peer: "Peer") -> None: ...

    def failed(self, error: Exception, topic: str = "") -> None: ...


class Peer:
    """``reason`` says why there is no link, as far as it is known."""

    def __init__(self, node: Node, sign_id: SignId) -> None:
        self.sign_id = sign_id
        self.link: Link | None = None  # the one in use
        self.reason = ""
        self.box = node.outbox.box(sign_id)
        self._links: list[Link] = []  # all that are ready
        self._receiver = node.inbox.receiver(sign_id)
        self._node = node
        self._sender = self.box.sender
        self._loop = asyncio.get_running_loop()
        self._acks: dict[tuple[int, int], Ack] = {}
        self._events: list[Event] = []
        self._requests: list[Request] = []
        self._replies: list[Reply] = []
        self._queued = 0  # bytes of the three
        self.busy = False  # a frame's worth was queued: senders should pass through room()
        self.sent = Delivery(sign_id)  # what every realtime message that was queued became
        self.sent.settle(SENT)
        self._armed = False
        self._room: asyncio.Future[None] | None = None
        self._asked = Asked()
        self._answered = Answered()
        self._dialling: asyncio.Task[Any] | None = None
        self._nudge = asyncio.Event()
        self._backoff, self._flaps = Backoff(node.random), Backoff(node.random, FLAPPING)
        self._arrivals: list[asyncio.Future[Link]] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._useful = False  # the link in use brought acknowledgements
        self._closed = False

    # What goes out.

    def send_event(self, event: Event, size: int) -> bool:
        """Queue a realtime message; False when no link is up."""
        if self.link is None:
            self.dial()
            return False
        self._events.append(event)
        self._queued = queued = self._queued + size
        if queued >= FULL:
            self.busy = True
            self._flush()
        elif not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)
        return True

    def request(self, topic: str, protocol: str, payload: bytes, timeout: float) -> asyncio.Future[bytes]:
        """Ask; the payload of the reply, or RequestTimeout, RequestFailed or NoResponders."""
        request, future = self._asked.ask(topic, protocol, payload, timeout)
        if self.link is not None:
            self._requests.append(request)
            size = len(payload) + len(topic) + 16
            if len(self._requests) >= EAGER or self._asked.alone:
                self._queued += size
                self._flush()
            else:
                self._queue(size)
        else:
            self.dial()
        return future

    @property
    def known(self) -> bool:
        """Whether it is a friend, a device, or somebody with a name here."""
        return self._node.known(self.sign_id)

    @property
    def wanted(self) -> bool:
        """Whether somebody here waits for the peer."""
        return not self.box.empty or bool(self._arrivals or self._asked.unanswered)

    @property
    def idle(self) -> bool:
        """Whether nothing here needs this object."""
        return self._dialling is None and not self._links and not self.wanted

    async def room(self) -> None:
        """Wait until the link has taken what is queued; returns at once when there is no link."""
        self.busy = False
        await asyncio.sleep(0)  # a sender in a loop must not keep everybody else from running
        while self._queued >= FULL and self.link is not None:
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def wake(self) -> None:
        """Something durable waits."""
        if self.link is not None:
            self._arm()
        else:
            self._watch_expiry()
            self.dial()

    def acknowledge(self, acks: list[Ack]) -> None:
        """These are saved: they may be told."""
        for ack in acks:
            self._acks[ack.lane, ack.epoch] = ack
        self._arm()

    # Links.

    def dial(self, pause: float = 0.0) -> None:
        """Try to reach the peer, after ``pause`` seconds, and go on while something waits for it."""
        if self._dialling is None and self.link is None and not self._closed:
            self._dialling = self._loop.create_task(self._keep_dialling(pause), name=f"mm dial {self.sign_id}")

    def nudge(self) -> None:
        """There is news of the peer: do not wait for the next attempt."""
        self._backoff.reset()
        self._nudge.set()

    async def connect(self, timeout: float) -> Link:
        """The link in use, dialled when there is none. Raises Unreachable with the reason."""
        try:
            async with asyncio.timeout(timeout):
                while self.link is None or not self.link.ready:
                    if self._closed:
                        raise NotRunning("the platform is stopping")
                    arrival: asyncio.Future[Link] = self._loop.create_future()
                    self._arrivals.append(arrival)
                    self.nudge()
                    self.dial()
                    await arrival
        except TimeoutError:
            raise Unreachable(f"{self.sign_id}: {self.reason or 'no answer'}") from None
        finally:
            self._arrivals = [arrival for arrival in self._arrivals if not arrival.done()]
        return self.link

    def disconnect(self, reason: str) -> None:
        """Close every link; what waits is sent when the peer is next connected or written to."""
        for link in list(self._links):
            link.close(reason)

    async def close(self) -> None:
        """End everything; what waits is on disk."""
        self._closed = True
        for timer in (self._expiry, self._renewal):
            if timer is not None:
                timer.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        self._flush()
        self.disconnect("stopping")
        error = NotRunning("the platform stopped")
        self._asked.close(error)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_exception(error)

    def resume(self) -> bytes:
        """What a handshake tells the peer about what we have."""
        return encode_packet(Resume(self._node.instance, int(self._node.now() * 1000), self._receiver.acks()))

    def link_ready(self, link: Link, resume: bytes) -> None:
        """A link is up: use it, unless it is the lesser of two that both ends dialled at once."""
        try:
            state = decode_resume(resume)
        except ProtocolError:
            self._node.release(self)
            raise
        if self._closed:
            link.close("stopping")
            return
        link.instance = state.instance
        self._links.append(link)
        old = self.link
        if old is not None and not self._supersedes(link, old):
            link.close(DUPLICATE)
            return
        self._answered.begin(state.instance)
        self._use(link, state.acks)
        if old is not None:
            old.close(_why_closed(old, link))
        else:
            self._node.connected(self)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        if link in self._links:
            self._links.remove(link)
        if link is not self.link:
            return
        self.link, self.box.linked = None, False
        self._renew_after(None)
        self._sender.link_down()
        other = next((other for other in reversed(self._links) if other.ready), None)
        if other is not None:
            self._use(other, [])
            return
        self.reason = str(error) if error is not None else "closed"
        self._events, self._requests, self._replies, self._acks, self._queued = [], [], [], {}, 0
        self._make_room()
        self._node.disconnected(self, self.reason)
        self._watch_expiry()
        self._backoff.reset()
        if self._useful or self._loop.time() - link.opened >= STABLE:
            self._flaps.reset()
        if self.reason.endswith(TAKEN_OVER):
            self._node.failed(LocalError(f"another node runs with this key: {self.sign_id} now talks to that one"))
        elif self.wanted:
            self.dial(0.0 if self._useful or self._arrivals else self._flaps.next())

    def link_writable(self, link: Link) -> None:
        if link is self.link:
            self._flush()

    # What comes in.

    def frame_received(self, link: Link, frame: Frame) -> None:
        for ack in frame.acks:
            settled = self._sender.acknowledge(ack)
            if settled is not None:
                self._node.outbox.settle(self.sign_id, settled)
        self._useful = True
        if frame.acks:
            self._node.outbox.refill(self.sign_id)
        node, me = self._node, self.sign_id
        scope = node.scope(me)
        for batch in frame.batches:
            self._take_in(batch, frame.now, scope)
        if frame.events:
            node.gate.events(scope, me, frame.events)
        if frame.requests:
            self._answered.forget(frame.floor)
            for request in frame.requests:
                self._serve(request, scope)
        for reply in frame.replies:
            self._asked.answered(reply)
        self._flush()

    def _take_in(self, batch: Batch, sender_now: int, scope: str) -> None:
        stream, ready = self._receiver.accept(batch, int(self._node.now() * 1000))
        begun = 0  # the first of a run of messages that were handled without further ado
        seq = 0
        for record in ready:
            seq = record.seq
            reason = self._hand_over(record, sender_now, scope, stream)
            if reason == "":
                begun = begun or seq
                continue
            if begun:
                stream.finish_run(begun, seq - 1)
                begun = 0
            if reason is not None:
                stream.finish(seq, reason)
        if begun:
            stream.finish_run(begun, seq)
        if stream.dirty:
            self._node.inbox.save(self.sign_id, self._receiver)
        if stream.stale:
            self.acknowledge(self._receiver.reminders())

    def _hand_over(self, record: Record, sender_now: int, scope: str, stream: Stream) -> str | None:
        """The outcome's reason word, "" when simply handled; None while handlers are at work."""
        if not record.topic:
            return ""
        if record.expires <= sender_now:
            return "expired"
        result = self._node.gate.message(
            scope,
            self.sign_id,
            record.topic,
            record.protocol,
            record.payload,
            partial(self._handled, stream, record.seq),
        )
        return None if result is None else _reason(result)

    def _handled(self, stream: Stream, seq: int, result: Result) -> None:
        stream.finish(seq, _reason(result))
        self._node.inbox.save(self.sign_id, self._receiver)

    def _serve(self, request: Request, scope: str) -> None:
        if len(self._replies) >= UNFINISHED or self._queued > BACKLOG:
            raise ProtocolError("not-reading", "it asks on and does not read the replies")
        seen = self._answered.seen(request)
        if seen is not False:
            if seen is not True:
                self._replies.append(seen)
                self._queued += len(seen.payload) + 16
            return
        finished = partial(self._answer, request, self._answered.instance)
        result = self._node.gate.request(
            scope, self.sign_id, request.topic, request.protocol, request.payload, finished
        )
        if result is None:
            self._answered.begun(request)
        else:
            self._answer(request, self._answered.instance, result)

    def _answer(self, request: Request, instance: int, result: bytes | Result) -> None:
        if type(result) is bytes and len(result) <= MAX_PAYLOAD:
            reply = Reply(request.id, OK, result)
        elif result is NOBODY:
            reply = nobody(request)
        else:
            error = result.error if isinstance(result, Result) else None
            reply = failure(request, error or InvalidPayload(f"the reply is not bytes, or more than {MAX_PAYLOAD}"))
        if self._answered.reply(instance, reply) and self.link is not None:
            self._replies.append(reply)
            self._queue(len(reply.payload) + 16)
            if len(self._replies) >= EAGER:
                self._flush()

    # Inside.

    def _queue(self, size: int) -> None:
        self._queued += size
        if self._queued >= FULL:
            self.busy = True
            self._flush()
        elif not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False
        self._flush()

    def _flush(self) -> None:
        """Send what is queued and what the window allows, as long as the connection takes it."""
        link, sender = self.link, self._sender
        if link is None or link.error is not None:
            return
        while not link.paused and (self._queued or sender.ready or self._acks):
            now_ms = int(self._node.now() * 1000)
            if self._queued > PORTION:
                link.send(self._portion(now_ms))
                continue
            batches: list[Batch] = []
            if sender.ready:
                batches, expired = sender.take(max(FULL - self._queued, FULL // 8), link.largest, now_ms)
                for settled in expired:
                    self._node.outbox.settle(self.sign_id, settled)
                if not (batches or self._queued or self._acks):
                    return
            acks, events, requests, replies = list(self._acks.values()), self._events, self._requests, self._replies
            self._acks, self._events, self._requests, self._replies, self._queued = {}, [], [], [], 0
            link.send(Frame(now_ms, self._asked.floor, acks, batches, events, requests, replies))
            if self._room is not None:
                self._make_room()

    def _portion(self, now_ms: int) -> Frame:
        """Some of a queue that outgrew one frame, in order; the largest message still has a frame of its own."""
        room = PORTION
        events, room = _take(self._events, room)
        requests, room = _take(self._requests, room)
        replies, room = _take(self._replies, room)
        left = self._events or self._requests or self._replies
        self._queued = max(self._queued - PORTION + room, 1) if left else 0
        return Frame(now_ms, self._asked.floor, [], [], events, requests, replies)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _supersedes(self, link: Link, old: Link) -> bool:
        """Of two links that both ends dialled at once, the one dialled by the smaller signId stays; else the newer."""
        if not old.ready or link.dialled == old.dialled or link.instance != old.instance:
            return True
        if link.opened - old.opened > GLARE:
            return True  # no coincidence: the other end has lost the old one
        return link.dialled == (self._node.sign_id < self.sign_id)

    def _use(self, link: Link, acks: list[Ack]) -> None:
        self.link, self.box.linked, self.reason = link, True, ""
        for settled in self._sender.link_up(acks):
            self._node.outbox.settle(self.sign_id, settled)
        self._requests = self._asked.unanswered
        self._queued += sum(len(request.payload) + len(request.topic) + 16 for request in self._requests)
        self._useful = False
        self._nudge.set()
        self._node.outbox.refill(self.sign_id)
        self._renew_after(LIFETIME if link.dialled else None)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(link)
        self._arm()

    def _renew(self) -> None:
        """A fresh link has fresh keys; the old one closes when it is up, and nothing is lost between them."""
        if self._dialling is None:
            self._dialling = self._loop.create_task(self._dial_anew(), name=f"mm renew {self.sign_id}")

    def _renew_after(self, seconds: float | None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = self._loop.call_later(seconds, self._renew) if seconds is not None else None

    async def _dial_anew(self) -> None:
        try:
            if not await self._dial_once() and self.link is not None:
                self._renew_after(RENEW_AGAIN)
        finally:
            self._dialling = None
            if self.wanted:
                self.dial()

    async def _keep_dialling(self, pause: float) -> None:
        try:
            if pause:
                await self._rest(pause)
            while self.link is None and not self._closed:
                opened = await self._dial_once()
                if self.link is not None or not self.wanted:
                    return
                await self._rest(self._flaps.next() if opened else self._backoff.next())
        finally:
            self._dialling = None

    async def _rest(self, seconds: float) -> None:
        """Wait, or less when there is news."""
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            pass

    async def _dial_once(self) -> bool:
        try:
            info = await self._node.directory.find(self.sign_id)
            if info is None:
                raise Unreachable("no address of it is known; add its ticket, or run a service that finds it")
            await self._node.dialer.dial(self.sign_id, info.connection_info)
        except MMError as error:
            if self.link is None:
                self.reason = str(error)
                self._node.unreachable(self, self.reason)
            return False
        return True

    def _watch_expiry(self) -> None:
        """One timer for all that waits for an absent peer."""
        if self._closed:
            return
        due = self._sender.next_expiry / 1000 - self._node.now()
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_later(min(max(due, 0.0), LONGEST_TIMER), self._expire) if due < 1e9 else None

    def _expire(self) -> None:
        self._expiry = None
        for settled in self._sender.expire(int(self._node.now() * 1000)):
            self._node.outbox.settle(self.sign_id, settled)
        self._node.outbox.refill(self.sign_id)
        if self.link is None:
            self._watch_expiry()


def _take(queue: list[Queued], room: int) -> tuple[list[Queued], int]:
    """The first of ``queue`` that fit into ``room`` bytes, at least one when nothing was taken before."""
    count = 0
    for item in queue:
        size = len(item.payload) + 16
        if room < PORTION and size > room:
            break
        room -= size
        count += 1
    taken = queue[:count]
    del queue[:count]
    return taken, room


def _why_closed(old: Link, link: Link) -> str:
    """What the end of the link that gives way is told."""
    if old.instance != link.instance:
        return TAKEN_OVER
    return REPLACED if old.dialled == link.dialled else DUPLICATE


def _reason(result: Result) -> str:
    """What the sender is told of a result; an exception in a handler is this node's affair and counts as handled."""
    if result is NOBODY:
        return "unhandled"
    return (
        str(result.error)[:200].encode(errors="replace").decode()
        if isinstance(result.error, QueueFull | Refused)
        else ""
    )
