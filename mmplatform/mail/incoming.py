"""Opens mail for us, hands its messages on as if they came over a link, and gives each envelope back to its relay once
its messages are saved and its sender can know.

Envelopes are opened one a loop turn, so that a full mailbox keeps nobody waiting. An envelope that cannot be handled
yet (an earlier message is missing, or the handlers are too far behind) is held, within bounds, and tried again when
there is progress; one that is held too long goes back, and its sender mails the messages anew.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from mmplatform.contacts import Contacts
from mmplatform.delivery.wire import Ack, Frame, Packet, decode_mail
from mmplatform.directory.directory import Directory
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId
from mmplatform.logs import LineLimit
from mmplatform.mail.acknowledgements import Done, MailedAcks
from mmplatform.peers.registry import Peers
from mmplatform.session.envelope import open_envelope
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

HELD_BYTES: Final = 64 * 1024 * 1024  # bytes of envelopes that are not yet given back
STRANGERS_BYTES: Final = 8 * 1024 * 1024  # bytes of held envelopes from all strangers together
PEER_BYTES: Final = 16 * 1024 * 1024  # bytes of held envelopes from one peer
PATIENCE: Final = 60.0  # seconds without progress after which a held envelope goes back
LATER: Final = ("window", "overloaded")  # reasons of a ProtocolError after which an envelope is tried again

log = logging.getLogger("mmplatform.mail")


class Arrival:
    """One opened envelope that is not given back. ``missing``: its streams that are not all handled and saved."""

    __slots__ = ("done", "frame", "handed", "missing", "peer", "progress", "size", "stranger", "tried")

    def __init__(self, peer: SignId, frame: Frame, size: int, done: Done, stranger: bool, now: float) -> None:
        self.peer, self.frame, self.size, self.done, self.stranger = peer, frame, size, done, stranger
        self.tried = now
        self.progress: list[tuple[int, int]] | None = None  # of the streams of the envelope, when it was last tried
        self.handed = False
        self.missing = {
            (batch.lane, batch.epoch): (batch.records[0].seq, batch.records[-1].seq)
            for batch in frame.batches
            if batch.records
        }

    def waits_for(self, frame: Frame) -> bool:
        """Whether this envelope is held, and ``frame`` has earlier messages of one of its streams."""
        return not self.handed and any(
            batch.records and self.missing.get((batch.lane, batch.epoch), (0, 0))[0] > batch.records[0].seq
            for batch in frame.batches
        )

    def saved(self, ack: Ack) -> None:
        """Take note that all messages in ``ack`` are handled and saved."""
        bounds = self.missing.get((ack.lane, ack.epoch))
        if bounds is not None:
            first = max(bounds[0], ack.upto + 1)
            for low, high in ack.ranges:
                if low <= first <= high:
                    first = high + 1
            if first > bounds[1]:
                del self.missing[ack.lane, ack.epoch]


class Incoming:
    """The envelopes for us that are not yet given back. ``secrets()`` gives the keys that mail may be sealed to."""

    def __init__(
        self,
        identity: Identity,
        storage: Storage,
        directory: Directory,
        contacts: Contacts,
        peers: Peers,
        secrets: Callable[[], Iterable[bytes]],
        acks: MailedAcks,
        now: Callable[[], float],
        lines: LineLimit,
    ) -> None:
        self._identity, self._storage, self._directory, self._contacts = identity, storage, directory, contacts
        self._peers, self._secrets, self._acks, self._now, self._lines = peers, secrets, acks, now, lines
        self._queue: deque[tuple[bytes, Done]] = deque()
        self._arrivals: dict[SignId, list[Arrival]] = {}  # of each sender, in the order of their arrival
        self._bytes = self._strangers_bytes = 0
        self._loop: asyncio.AbstractEventLoop
        self._sweep: asyncio.TimerHandle | None = None
        self._begun = self._closed = False

    def begin(self) -> None:
        """Handle what has come so far, and what comes from now on: the handlers are there."""
        self._loop, self._begun = asyncio.get_running_loop(), True
        if self._queue:
            self._loop.call_soon(self._next)

    def received(self, envelope: bytes, done: Done) -> None:
        """Take in an envelope for us; ``done(False)`` is called at once when too much is held, and others wait to be
        opened: a single one may have the messages for which what is held waits."""
        if self._closed:
            return
        if self._queue and self._bytes + len(envelope) > HELD_BYTES:
            done(False)
            return
        self._bytes += len(envelope)
        self._queue.append((envelope, done))
        if self._begun and len(self._queue) == 1:
            self._loop.call_soon(self._next)

    def saved(self, peer: SignId, acks: list[Ack]) -> None:
        """Give back the envelopes of ``peer`` whose messages, as ``acks`` says, are all handled and on disk."""
        arrivals = self._arrivals.get(peer)
        if not arrivals:
            return
        self._acks.changed(peer, acks)
        for arrival in list(arrivals):
            for ack in acks:
                arrival.saved(ack)
            if not arrival.missing:
                self._finish(arrival)
        self._try_again(peer)

    def linked(self, peer: SignId) -> None:
        """Use the link to ``peer`` that came up: it carries the acknowledgements, and may bring missing messages."""
        self._acks.linked(peer)
        self._try_again(peer)

    def wants_again(self, peer: str | None) -> None:
        """Try again the envelopes of ``peer``, or of everybody, some of whose messages were left."""
        for sender in [SignId(peer)] if peer is not None else list(self._arrivals):
            for arrival in self._arrivals.get(sender, []):
                arrival.progress = None
            self._try_again(sender)

    def close(self) -> None:
        """Stop; an envelope that is not given back comes again after the next sign-in."""
        self._closed = True
        self._queue.clear()
        if self._sweep is not None:
            self._sweep.cancel()

    def _next(self) -> None:
        """Open one envelope."""
        if self._closed or not self._queue:
            return
        envelope, done = self._queue.popleft()
        if self._queue:
            self._loop.call_soon(self._next)
        self._bytes -= len(envelope)
        try:
            peer, frame = self._open(envelope)
        except ProtocolError as error:
            log.debug("mail of %d bytes is given back: %s", len(envelope), escaped(error))
            done(False)
            return
        self._peers.load(peer, partial(self._opened, peer, frame, len(envelope), done))

    def _opened(self, peer: SignId, frame: Frame, size: int, done: Done) -> None:
        """Take the frame of an envelope, once it is known what was handled of its sender."""
        if self._closed:
            return
        if not frame.batches:
            self._peers.peer(peer).exchange.mail_received(frame)
            self._peers.released(peer)
            self._loop.call_soon(self._settled, done)
        elif self._admit(peer, frame, size):
            stranger = not self._contacts.known(peer)
            self._take_in(Arrival(peer, frame, size, done, stranger, self._loop.time()))
        else:
            done(False)

    def _open(self, envelope: bytes) -> tuple[SignId, Frame]:
        opened = open_envelope(envelope, self._identity, self._secrets(), self._now())
        peer = opened.sender.sign_id
        if peer == self._identity.sign_id:
            raise ProtocolError("own-key", "mail from ourselves")
        if peer in self._contacts.blocked:
            raise ProtocolError("blocked", "mail of somebody who is blocked")
        frame = decode_mail(opened.content)
        if not _is_mail(frame):
            raise ProtocolError("bad-packet", "mail has messages in order and acknowledgements, nothing else")
        if opened.current:
            self._directory.put(opened.sender, "mail")
        assert isinstance(frame, Frame)
        return peer, frame

    def _admit(self, peer: SignId, frame: Frame, size: int) -> bool:
        """Make room for ``frame``: held envelopes with later messages give way. Return whether there is room."""
        while not self._has_room(peer, size):
            later = next((a for a in reversed(self._arrivals.get(peer, [])) if a.waits_for(frame)), None)
            if later is None:
                return False
            self._give_up(later)
        return True

    def _has_room(self, peer: SignId, size: int) -> bool:
        held = sum(arrival.size for arrival in self._arrivals.get(peer, ()))
        if held + size > PEER_BYTES or self._bytes + size > HELD_BYTES:
            return False
        return self._contacts.known(peer) or self._strangers_bytes + size <= STRANGERS_BYTES

    def _take_in(self, arrival: Arrival) -> None:
        self._count(arrival, arrival.size)
        arrivals = self._arrivals.setdefault(arrival.peer, [])
        arrivals.append(arrival)
        self._try(arrival, arrivals)
        if not arrival.handed and self._sweep is None:
            self._sweep = self._loop.call_later(PATIENCE, self._sweep_up)

    def _try_again(self, peer: SignId) -> None:
        arrivals = self._arrivals.get(peer, [])
        exchange = self._peers.peer(peer).exchange if arrivals else None
        for arrival in list(arrivals):
            if not arrival.handed and exchange is not None:
                if all(map(exchange.handed, arrival.frame.batches)):
                    arrival.handed = True
                elif arrival.progress != exchange.progress(arrival.frame):
                    self._try(arrival, arrivals)

    def _try(self, arrival: Arrival, arrivals: list[Arrival]) -> None:
        """Hand an envelope over, unless an earlier one must go first: runs of a sender do not overtake each other."""
        streams = {batch.lane: batch.epoch for batch in arrival.frame.batches}
        for earlier in arrivals[: arrivals.index(arrival)]:
            if not earlier.handed and any(streams.get(b.lane, b.epoch) != b.epoch for b in earlier.frame.batches):
                return
        exchange = self._peers.peer(arrival.peer).exchange
        try:
            exchange.mail_received(arrival.frame)
        except ProtocolError as error:
            if error.reason not in LATER:
                self._give_up(arrival)
                return
        arrival.handed = all(map(exchange.handed, arrival.frame.batches))
        arrival.progress, arrival.tried = exchange.progress(arrival.frame), self._loop.time()

    def _finish(self, arrival: Arrival) -> None:
        """Acknowledge an envelope whose messages are all handled and saved."""
        self._lines.info(
            "" if arrival.stranger else arrival.peer, "letters taken", "mail of %s, %d bytes, is taken",
            arrival.peer, arrival.size, peer=arrival.peer,
        )  # fmt: skip
        self._remove(arrival)
        self._acks.owe(arrival.peer, arrival.done)

    def _give_up(self, arrival: Arrival) -> None:
        """Give back an envelope that cannot be handled; the relay tells its sender."""
        log.debug("mail of %s, %d bytes, is given back", arrival.peer, arrival.size, extra={"peer": arrival.peer})
        self._remove(arrival)
        if arrival.peer not in self._arrivals:
            self._acks.forget(arrival.peer)
        arrival.done(False)

    def _remove(self, arrival: Arrival) -> None:
        arrivals = self._arrivals[arrival.peer]
        arrivals.remove(arrival)
        self._count(arrival, -arrival.size)
        if not arrivals:
            del self._arrivals[arrival.peer]
            self._peers.released(arrival.peer)

    def _count(self, arrival: Arrival, size: int) -> None:
        self._bytes += size
        if arrival.stranger:
            self._strangers_bytes += size

    def _settled(self, done: Done) -> None:
        """Give back an envelope of acknowledgements once the deletion of the messages they settled is written."""
        if not self._closed:
            saved = self._storage.write([], sync=False)
            saved.add_done_callback(lambda write: done(True) if not (write.cancelled() or write.exception()) else None)

    def _sweep_up(self) -> None:
        self._sweep = None
        now = self._loop.time()
        held = [a for arrivals in self._arrivals.values() for a in arrivals if not a.handed]
        for arrival in held:
            if now - arrival.tried >= PATIENCE:
                self._give_up(arrival)
        if any(not arrival.handed for arrivals in self._arrivals.values() for arrival in arrivals):
            self._sweep = self._loop.call_later(PATIENCE, self._sweep_up)


def _is_mail(frame: Packet) -> bool:
    return (
        isinstance(frame, Frame)
        and not (frame.events or frame.requests or frame.replies)
        and not any(batch.pieces for batch in frame.batches)
        and len({(batch.lane, batch.epoch) for batch in frame.batches}) == len(frame.batches)
    )
