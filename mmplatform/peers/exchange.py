"""Exchanges frames with one peer over the link in use: queues, frames out, frames in.

All that is queued in one turn of the event loop leaves in one frame, one box and one write; 64 KiB leave at once.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.wire import (
    OK,
    TAKEN,
    Ack,
    Again,
    Batch,
    End,
    Ending,
    Event,
    Frame,
    Record,
    Reply,
    Request,
)  # fmt: skip
from mmplatform.durable.handled import Handled
from mmplatform.durable.handled_log import LOGGED, STREAM
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import InvalidPayload, ProtocolError
from mmplatform.home import check_loop
from mmplatform.identity.keys import SignId
from mmplatform.links.link import Link
from mmplatform.message import MAX_PAYLOAD, SENT, Delivery, Scope
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers.held import HeldByHandlers
from mmplatform.peers.in_hand import InHand, RequestInHand
from mmplatform.peers.owed_acks import OwedAcks
from mmplatform.peers.realtime_queue import EXTRA, PORTION, RealtimeQueue
from mmplatform.peers.reception import Reception, told_of
from mmplatform.peers.requests import PendingRequests, ReplyCache, failure, nobody
from mmplatform.peers.rewinds import AGAIN_EVERY, Rewinds

FULL: Final = 64 * 1024  # bytes queued that leave at once
EAGER: Final = 32  # requests or replies queued that leave at once: the peer works on them while this side goes on
EXPIRED: Final[Ending] = (End.EXPIRED, "")
NO_EVENTS: Final[list[Event]] = []


class Exchange:
    """Sends to ``peer``, and takes what comes from it. ``link`` is the link in use, None while there is none.

    ``dial`` is called when a link is needed. ``on_request_sent`` is called for the first frame that expects an answer,
    and again only after ``watched`` is cleared.
    """

    def __init__(
        self,
        peer: SignId,
        outbox: Outbox,
        handled: Handled,
        dispatcher: Dispatcher,
        reception: Reception,
        scope: Callable[[str], Scope],
        now: Callable[[], float],
        dial: Callable[[], None],
        on_request_sent: Callable[[], None],
        held: HeldByHandlers,
        asked_before: int,
    ) -> None:
        self.link: Link | None = None
        self.queue: PeerQueue = outbox.queue(peer)
        self.busy = False  # a frame's worth was queued: senders should pass through room()
        self.useful = False  # the link in use brought something
        self.sent = Delivery(peer)  # shared by all realtime messages that were queued
        self.sent.settle(SENT)
        self._realtime = realtime = RealtimeQueue()
        self._outbox, self._handled, self._dispatcher, self._scope, self.now = outbox, handled, dispatcher, scope, now
        self.scope: Scope = scope(peer)  # that of the frame in hand
        self.peer, self._dial, self._on_request_sent = peer, dial, on_request_sent
        self._sender, self._receiver, self.reply_cache = self.queue.sender, handled.receiver(peer), ReplyCache()
        self.held, self._reception, self._held = held, reception, reception.inbox.topics
        self.acks = OwedAcks(self._receiver, self.arm)
        self.rewinds = Rewinds(self._sender, self.flush)
        self.pending = PendingRequests(self._realtime.withdraw, asked_before)
        self.watched, self._armed, self._events, self.clogged = False, False, NO_EVENTS, realtime.clogged
        self._loop = asyncio.get_running_loop()

    # What goes out.

    def send_event(self, event: Event, size: int) -> bool:
        """Queue a realtime message; False when no link is up."""
        if self.link is None:
            self._dial()
            return False
        realtime = self._realtime
        realtime.events.append(event)
        realtime.bytes += size
        if realtime.bytes >= FULL or not self._armed:
            self._enqueued(0)  # for small messages a call each would count
        return True

    def request(self, topic: str, protocol: str, payload: bytes, timeout: float, patience: float) -> Future[bytes]:
        """Send a request; the future gets the reply's payload, or RequestTimeout, RequestFailed or NoResponders."""
        request, future = self.pending.ask(topic, protocol, payload, timeout, patience)
        if self.link is not None:
            realtime = self._realtime
            realtime.requests.append(request)
            size = len(payload) + len(topic) + EXTRA
            if len(realtime.requests) >= EAGER or self.pending.alone:
                realtime.bytes += size
                self.flush()
            else:
                self._enqueued(size)
        else:
            self._dial()
        return future

    async def room(self) -> None:
        """Wait until the link has taken what is queued; returns at once when there is no link."""
        self.busy = False
        await asyncio.sleep(0)  # a sender in a loop must not keep everybody else from running
        while self._realtime.bytes >= FULL and self.link is not None:
            await self._realtime.shrunk()

    def resume_over(self, link: Link, acks: list[Ack]) -> None:
        """Go on over ``link``. ``acks`` says what the peer has; what the peer lacks is sent again.

        An empty frame tells the peer so: it may miss replies that went out over another link, and asks again.
        """
        self.link, self.queue.linked, self.useful = link, True, False
        link.send(Frame(int(self.now() * 1000), self.pending.floor, [], [], [], [], []))
        self.reply_cache.begin(link.epoch, link.known)
        self._sender.link_up(())
        self._receiver.retell()
        for ack in acks:
            self._outbox.acknowledge(self.peer, ack)
        self.ask_again()
        self._outbox.refill(self.peer)
        self.acks.add_all()

    def move(self, link: Link) -> None:
        """Go on over ``link``, while the old link delivers what went out over it: nothing of that is sent again."""
        old, self.link = self.link, link
        assert old is not None
        self._sender.hand_over(old.largest)
        self._receiver.retell()
        self.arm()

    def ask_again(self) -> None:
        """Send all unanswered requests again: replies may have been lost."""
        self._realtime.ask_again(self.pending.unanswered)
        self.arm()

    def pause(self) -> None:
        """Stop sending: the link is gone. Durable messages and requests wait for the next link."""
        self.link, self.queue.linked = None, False
        self._sender.link_down()
        self._outbox.expiry.watch(self.queue)

    def discard_realtime(self, known: bool) -> None:
        """Drop realtime messages and replies: there is no other link.

        Parts of unfinished messages are dropped too when memory is short, or the peer is not ``known``.
        """
        if not known or self._receiver.short_of_memory:
            self._receiver.close()
        self._realtime.discard()
        self.acks.forget()

    # What comes in.

    def frame_received(self, frame: Frame) -> None:
        """Take one frame of the peer: acknowledgements first, then messages, requests and replies."""
        for ack in frame.acks:
            self._outbox.acknowledge(self.peer, ack)
        self.useful = True
        if frame.acks:
            self._outbox.refill(self.peer)
        if self._reception.ending:
            return
        me = self.peer
        self.scope = self._scope(me)
        for batch in frame.batches:
            self._take_in(batch, frame.now)
        if frame.events:
            self._events = frame.events
            self._dispatcher.events(self.scope, me, frame.events, self.held)
            self._events = NO_EVENTS
        if frame.requests:
            self.reply_cache.forget(frame.floor)
            for request in frame.requests:
                self._serve(request, self.scope)
        for reply in frame.replies:
            self.pending.resolve(reply)
        self.flush()
        if self.held.overloaded:
            raise ProtocolError("overloaded", "too much of this peer waits for handlers")

    def rescope(self, scope: Scope) -> None:
        """Take what is left of the frame in hand as that of ``scope``, and none of its realtime messages."""
        self.scope = scope
        self._events.clear()

    def mail_received(self, frame: Frame) -> None:
        """Take the acknowledgements and messages of a frame that came by mail; all messages are acknowledged again,
        even if they came before. Raises ProtocolError, "window" or "overloaded" when to try again later."""
        for ack in frame.acks:
            self._outbox.acknowledge(self.peer, ack)
        if frame.acks:
            self._outbox.refill(self.peer)
        if self._reception.ending:
            return
        self.scope = self._scope(self.peer)
        # The sender's clock has moved on since the frame was sealed; our clock is the best guess by how much.
        now = max(frame.now, int(self.now() * 1000))
        for batch in frame.batches:
            self._take_in(batch, now)
            if self.handed(batch):
                self._receiver.owe(batch.lane, batch.epoch)
                self._handled.save(self.peer, self._receiver)

    def handed(self, batch: Batch) -> bool:
        """Whether handlers have got every message of ``batch``."""
        return not batch.records or self._receiver.progress(batch.lane, batch.epoch)[0] >= batch.records[-1].seq

    def progress(self, frame: Frame) -> list[tuple[int, int]]:
        """How far the streams of ``frame`` are: while that stays the same, mail that is held need not be tried."""
        return [self._receiver.progress(batch.lane, batch.epoch) for batch in frame.batches]

    def _take_in(self, batch: Batch, sender_now: int) -> None:
        now_ms = int(self.now() * 1000)
        stream, ready = self._receiver.accept(batch, now_ms)
        ahead = now_ms - sender_now  # of our clock: messages expire by the clock of their sender
        self._handled.note_gathered()
        begun = 0  # the first of a run of messages that were handled without further ado
        seq = 0
        for record in ready:
            seq = record.seq
            ending = self._hand_over(record, ahead, now_ms, self.scope, stream)
            if ending is TAKEN:
                begun = begun or seq
                if seq - begun < LOGGED - 1:
                    continue
                self._taken(stream, begun, seq)
                begun = 0
                continue
            if begun:
                self._taken(stream, begun, seq - 1)
                begun = 0
            if ending is not None:
                self.held.hold_ending()
                stream.finish(seq, ending)
        if begun:
            self._taken(stream, begun, seq)
        if stream.dirty:
            self._handled.save(self.peer, self._receiver)
        if stream.stale:
            self.acks.remind()
        if stream.torn:
            self._ask_again_later(stream)

    def _taken(self, stream: Stream, low: int, high: int) -> None:
        """Note a run of messages that were handled at once."""
        self._handled.note(STREAM, self.peer, stream.lane, stream.epoch, low, high)
        stream.finish_run(low, high)

    def _hand_over(self, record: Record, ahead: int, now_ms: int, scope: Scope, stream: Stream) -> Ending | None:
        """Give ``record`` to its handlers: its ending, None while they are at work, or when it is left behind."""
        if not record.topic:
            return TAKEN
        expires = record.expires + ahead
        if expires <= now_ms:
            return EXPIRED
        if stream.left.numbers and stream.must_leave(record):
            stream.leave(record)
            return None
        if self._held and (self.peer, record.protocol, record.topic) in self._held:
            return self._reception.unheard(self.peer, scope, stream, record, expires)  # behind those that are kept
        finished = InHand(self, stream, record, scope, expires)
        result = self._dispatcher.message(scope, self.peer, record.topic, record.protocol, record.payload, finished)
        if result is DONE:
            if record.protocol not in self._dispatcher.internal:
                return TAKEN
            stream.finish(record.seq)  # without a note: what came of it is a row of its own, which is yet to be saved
            return None
        if result is None:
            finished.counted = True
            self.held.hold(len(record.payload))
            return None
        if result.rows:
            self.finished(finished, result)  # not to be noted as handled before these are saved
            return None
        return self._ending(finished, result)

    def finished(self, message: "InHand", result: Result) -> None:
        """Note the end of a message whose handlers were at work."""
        if message.counted:
            self.held.free(len(message.record.payload))
        ending = self._ending(message, result)
        if ending is None:
            return
        stream, seq = message.stream, message.record.seq
        if ending is TAKEN and not result.rows and message.record.protocol not in self._dispatcher.internal:
            self._handled.note(STREAM, self.peer, stream.lane, stream.epoch, seq, seq)
        if ending is not TAKEN:
            self.held.hold_ending()
        stream.finish(seq, ending)
        self._handled.save(self.peer, self._receiver)

    def _ending(self, message: "InHand", result: Result) -> Ending | None:
        """Return how a message ends whose handlers gave ``result``; None when it is left with its sender."""
        place = self.peer, message.scope, message.stream, message.record, message.expires
        if result is NOBODY:
            return self._reception.unheard(*place)
        ending = self._reception.ended(result, message.scope)
        if ending is not None:
            if result.rows:
                self._handled.attach(self._reception.kept.stage(result.rows))
            return ending
        assert result.error is not None
        return self._reception.failed(*place, result.error)

    def left_again(self) -> None:
        """Ask the peer for the messages that were left with it."""
        if self.link is not None:
            for lane, epoch in self._receiver.left():
                self.link.send(Again(lane, epoch))

    def _ask_again_later(self, stream: Stream) -> None:
        """Ask in a while for what was left: the rest of a large message came whose beginning is forgotten."""
        stream.torn = False
        if not self.rewinds.asking:
            self.rewinds.asking = True
            self._loop.call_later(AGAIN_EVERY, self._ask_again)

    def _ask_again(self) -> None:
        self.rewinds.asking = False
        self.left_again()

    def _serve(self, request: Request, scope: Scope) -> None:
        realtime = self._realtime
        if realtime.bytes > FULL and realtime.clogged(scope):
            raise ProtocolError("not-reading", "it asks on and does not read the replies")
        seen = self.reply_cache.seen(request)
        if seen is not False:
            if seen is not True:
                realtime.replies.append(seen)
                realtime.bytes += len(seen.payload) + EXTRA
            return
        asked = RequestInHand(self, request, scope, self.reply_cache.epoch)
        result = self._dispatcher.request(scope, self.peer, request.topic, request.protocol, request.payload, asked)
        if result is None or (result is NOBODY and self._reception.park(asked)):
            self.reply_cache.begun(request)
            asked.counted = True
            self.held.hold(len(request.payload))
        else:
            self.answer(asked, result)

    def serve_again(self, asked: "RequestInHand") -> bool:
        """Ask the handlers of a request that waited for them; return False when there are still none."""
        request = asked.request
        if not self.awaits(asked):
            self.answer(asked, NOBODY)  # nobody hears it; what the request held is free
            return True
        result = self._dispatcher.request(
            self._scope(self.peer), self.peer, request.topic, request.protocol, request.payload, asked
        )
        if result is NOBODY:
            return False
        if result is not None:
            self.answer(asked, result)
        return True

    def awaits(self, asked: "RequestInHand") -> bool:
        """Whether the peer still waits for the reply to a request."""
        return self.reply_cache.awaited(asked.epoch, asked.request.id)

    def answer(self, asked: "RequestInHand", result: bytes | Result) -> None:
        """Reply to a request, with what its handlers gave."""
        request = asked.request
        if asked.counted:
            asked.counted = False
            self.held.free(len(request.payload))
        if type(result) is bytes and len(result) <= MAX_PAYLOAD:
            reply = Reply(request.id, OK, result)
        elif result is NOBODY:
            reply = nobody(request)
        else:
            error = result.error if isinstance(result, Result) else None
            error = error or InvalidPayload(f"the reply is not bytes, or more than {MAX_PAYLOAD}")
            reply = failure(request, told_of(error, asked.scope))
        if self.reply_cache.reply(asked.epoch, reply) and self.link is not None:
            self._realtime.replies.append(reply)
            self._enqueued(len(reply.payload) + EXTRA)
            if len(self._realtime.replies) >= EAGER:
                self.flush()

    # Inside.

    def _enqueued(self, size: int) -> None:
        self._realtime.bytes += size
        if self._realtime.bytes >= FULL:
            self.busy = True
            self.flush()
        elif not self._armed:
            self.arm()

    def arm(self) -> None:
        """Send what is queued at the end of this loop turn."""
        if not self._armed:
            check_loop(self._loop)
            self._armed = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False
        self.flush()

    def flush(self) -> None:
        """Send what is queued and what the window allows, as long as the connection takes it."""
        link, sender, realtime = self.link, self._sender, self._realtime
        if link is None or link.error is not None:
            return
        while not link.paused and (realtime.bytes or sender.ready or self.acks.waiting):
            now_ms = int(self.now() * 1000)
            if realtime.bytes > PORTION:
                link.send(Frame(now_ms, self.pending.floor, [], [], *realtime.portion()))
                continue
            batches: list[Batch] = []
            if sender.ready:
                ends, room = int(self._outbox.now() * 1000), max(FULL - realtime.bytes, FULL // 8)
                batches, expired = sender.take(room, link.largest, ends)
                for settled in expired:
                    self._outbox.settle(self.peer, settled)
                if not (batches or realtime.bytes or self.acks.waiting):
                    return
            # Empty the queue here, not in a method: often a frame is one request, and one more call would count.
            acks = self.acks.take() if self.acks.waiting else []
            events, requests, replies = realtime.events, realtime.requests, realtime.replies
            realtime.events, realtime.requests, realtime.replies, realtime.bytes = [], [], [], 0
            link.send(Frame(now_ms, self.pending.floor, acks, batches, events, requests, replies))
            if batches or requests or events or replies:
                link.owes_answer = True
                link.frames_awaiting_reply += 1
                if not self.watched:
                    self._on_request_sent()
            if realtime.waiter is not None:
                realtime.wake()
