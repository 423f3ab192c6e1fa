"""One remote peer: the links to it, which of them is in use, and what happens when one comes or goes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mmplatform.contacts import Contacts
from mmplatform.delivery.wire import Ack, Frame, decode_resume
from mmplatform.directory.directory import Directory
from mmplatform.durable.handled import Handled
from mmplatform.durable.outbox import Outbox
from mmplatform.errors import LocalError, NotRunning, ProtocolError
from mmplatform.identity.keys import SignId
from mmplatform.links import paths
from mmplatform.links.dialer import Dialer
from mmplatform.links.link import Link
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.link_log import LinkLog
from mmplatform.peers.path_manager import LOST, REPLACED, PathManager
from mmplatform.peers.reception import Reception
from mmplatform.peers.reconnecting import Reconnector
from mmplatform.peers.turns import Turns
from mmplatform.plugins.host import Failed

GLARE: Final = 10.0  # seconds between two links within which both ends may have dialled at once
SHORTEST_TIMER: Final = 0.01  # seconds until messages are looked at that expire now: others that are due soon share it
LONGEST_TIMER: Final = 3600.0  # seconds between two looks at the wall clock, at most: it may be set
NEVER: Final = 8e12  # Unix seconds: later than any message may expire
DUPLICATE: Final = "duplicate"  # why a link is closed: both ends dialled at once, and the other link stays
TAKEN_OVER: Final = "taken-over"  # why a link is closed, and another used: another run of the node took over
FIRST: Final = "first"  # why a link is used: there was none


class PeerEvents(Protocol):
    """Callbacks of a peer, for those who watch all peers."""

    def reached(self, peer: "Peer") -> None:
        """The first link to ``peer`` is up."""

    def lost(self, peer: "Peer", reason: str) -> None:
        """The last link to ``peer`` is gone."""

    def moved(self, peer: "Peer", link: Link, why: str) -> None:
        """Frames to ``peer`` go over ``link`` from now on."""

    def unreachable(self, peer: "Peer", reason: str) -> None:
        """An attempt to reach ``peer`` failed."""

    def slow(self, peer: "Peer") -> None:
        """An attempt to reach ``peer`` takes long."""

    def waiting(self, peer: "Peer") -> None:
        """Something waits for ``peer``, and there is no link."""

    def released(self, peer: "Peer") -> None:
        """Nothing is wanted of ``peer`` any more."""


@dataclass(frozen=True)
class Surroundings:
    """The parts of a node that every peer works with; ``now`` in Unix seconds, ``random`` from 0 to 1."""

    own: SignId
    contacts: Contacts
    directory: Directory
    dialer: Dialer
    outbox: Outbox
    handled: Handled
    dispatcher: Dispatcher
    reception: Reception
    now: Callable[[], float]
    random: Callable[[], float]
    failed: Failed
    link_log: LinkLog
    turns: Turns


class Peer:
    """Keeps the links to one remote peer. ``reason`` says why there is no link, as far as that is known."""

    def __init__(self, sign_id: SignId, around: Surroundings, events: PeerEvents) -> None:
        self.sign_id = sign_id
        self.reason = ""
        self.path_manager = PathManager(self, around.own, around.directory, around.dialer, around.random)
        self.monitor = self.path_manager.monitor
        self.reconnector = Reconnector(self, around.directory, around.dialer, around.turns, around.random)
        self.exchange = Exchange(
            sign_id, around.outbox, around.handled, around.dispatcher, around.reception, around.contacts.scope,
            around.now, self.reconnector.dial, self.monitor.request_sent,
        )  # fmt: skip
        self.queue = self.exchange.queue
        self._links: list[Link] = []  # links that became ready, until they are lost
        self._last: Link | None = None  # the link that was chosen last, while any is up
        self._around, self._events = around, events
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_due = NEVER
        self._closed = False

    @property
    def link(self) -> Link | None:
        """The link in use."""
        return self.exchange.link

    @property
    def links(self) -> list[Link]:
        """All links that are ready."""
        return [link for link in self._links if link.ready]

    @property
    def ranked(self) -> list[Link]:
        """All links: the one in use, then the others from best to worst, then those that are closing."""
        return sorted(self._links, key=lambda link: (link is not self.link, not link.ready, paths.weight(link)))

    @property
    def known(self) -> bool:
        """Whether the peer is a friend, a device, or somebody with a name here."""
        return self._around.contacts.known(self.sign_id)

    @property
    def wanted(self) -> bool:
        """Whether somebody here waits for the peer."""
        return not self.queue.empty or self.reconnector.awaited or bool(self.exchange.pending.unanswered)

    @property
    def idle(self) -> bool:
        """Whether nothing here needs this object."""
        return not (self.reconnector.dialling or self._links or self.wanted)

    def wake(self) -> None:
        """Send the durable messages that wait, or dial."""
        self._watch_expiry()
        if self.link is not None:
            self.exchange.arm()
        else:
            self._events.waiting(self)
            self.reconnector.dial()

    # Links.

    def dial(self) -> None:
        """Try to reach the peer, and go on while something waits for it."""
        self.reconnector.dial()

    def introduce(self) -> None:
        """Try to reach the peer until it was reached once: the peer cannot know where we are now."""
        self.reconnector.introduce()

    def nudge(self) -> None:
        """Begin the next attempt at once: there is news of the peer."""
        self.reconnector.nudge()
        self.path_manager.peer_may_have_moved()

    def network_changed(self) -> None:
        """Begin the next attempt at once, and look at all links: our own addresses changed."""
        self.reconnector.nudge()
        self.path_manager.network_changed()

    def present(self) -> None:
        """Begin the next attempt at once: the peer can be reached now."""
        self.reconnector.present()
        self.path_manager.peer_may_have_moved()

    async def connect(self, timeout: float) -> Link:
        """The link in use, dialled when there is none. Raises Unreachable with the reason after ``timeout`` seconds."""
        return await self.reconnector.connect(timeout)

    def disconnect(self, reason: str) -> None:
        """Close every link; messages that wait are sent when the peer is next connected or written to."""
        for link in list(self._links):
            link.close(reason)

    def give_way(self) -> None:
        """Close every link: what the peer had us hold made room for others, and has to come again."""
        for link in list(self._links):
            link.give_way()

    async def close(self) -> None:
        """End everything; messages that wait are on disk."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        await self.reconnector.close()
        await self.path_manager.close()
        self.exchange.flush()
        self.disconnect("stopping")
        self.exchange.pending.close(NotRunning("the platform stopped"))

    def link_ready(self, link: Link, resume: bytes) -> None:
        """Use ``link``, which is up, or keep it beside a better one; close it if it is the lesser of two that both ends
        dialled at once."""
        try:
            state = decode_resume(resume)
        except ProtocolError:
            self._events.released(self)
            raise
        if self._closed:
            link.close("stopping")
            return
        link.epoch, link.skew = state.epoch, state.now / 1000 - self._around.now()
        self._links.append(link)
        self._around.handled.locate(self.sign_id, link.network)
        self._around.link_log.linked(self.sign_id, link)
        active = self.link
        if active is None:
            self.use(link, state.acks, FIRST)
            self._events.reached(self)
            return
        if active.epoch != link.epoch:
            self.use(link, state.acks, TAKEN_OVER)
            for other in self.links:
                if other.epoch != link.epoch:
                    other.close(TAKEN_OVER)
            return
        twin = next((other for other in self.links if other.kind == link.kind and other is not link), None)
        if twin is not None and not self._supersedes(link, twin):
            link.close(DUPLICATE)
            return
        if active is twin or not active.ready:
            self.use(link, state.acks, REPLACED)
        else:
            self.path_manager.joined(link)
        if twin is not None:
            twin.close(REPLACED if twin.dialled == link.dialled else DUPLICATE)

    def use(self, link: Link, acks: list[Ack], why: str) -> None:
        """Go on over ``link``. ``acks`` says what the peer has; what the peer lacks is sent again."""
        self.reason = ""
        self.exchange.resume_over(link, acks)
        self._chosen(link, why)

    def move(self, link: Link, why: str) -> None:
        """Go on over ``link``, while the old link, which is fine, delivers what went out over it."""
        old = self.link
        assert old is not None
        self.exchange.move(link)
        self.path_manager.drain(old)
        self._chosen(link, why)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        """Go on over another link that is up, as ``link`` is gone; else dial while something waits."""
        if link in self._links:
            self._links.remove(link)
            self._around.link_log.lost(self.sign_id, link, len(self.links))
        self.path_manager.lost(link)
        if link is not self.link:
            return
        self.exchange.pause()
        self.reconnector.link_lost()
        other = paths.best(self.links, None, self._loop.time())
        if other is not None:
            self.use(other, [], LOST)
            self.monitor.ask_if_alive(other)
            return
        self._last = None
        self.path_manager.stop()
        self.reason = str(error) if error is not None else "closed"
        self.exchange.discard_realtime(self.known)
        self._events.lost(self, self.reason)
        self._watch_expiry()
        self.reconnector.last_link_lost(link)
        if self.reason.endswith(TAKEN_OVER):
            self._around.failed(LocalError(f"another node runs with this key: {self.sign_id} now talks to that one"))
        else:
            self.reconnector.dial_again()

    def link_writable(self, link: Link) -> None:
        """Send what is queued: the connection of ``link`` takes more."""
        if link is self.link:
            self.exchange.flush()

    def send_again(self, lane: int, epoch: int) -> None:
        """Send a stream again: the peer has left some of it with us."""
        self.exchange.send_again(lane, epoch)

    def frame_received(self, link: Link, frame: Frame) -> None:
        """Take a frame that came in over ``link``, whether that is in use or not."""
        announced = frame.empty
        if announced or link is not self.exchange.link or link is not self.monitor.incoming:
            self.monitor.frame_arrived(link, announced)
        if not announced:
            self.exchange.frame_received(frame)

    # Called by the reconnector.

    def unreachable(self, reason: str) -> None:
        """Tell that an attempt to reach the peer failed, and there is no link."""
        self.reason = reason
        self._around.link_log.unreachable(self.sign_id, reason)
        self._events.unreachable(self, reason)

    def slow_to_reach(self) -> None:
        """Tell that an attempt to reach the peer takes long, and there is no link."""
        self._events.slow(self)

    # Inside.

    def _supersedes(self, link: Link, old: Link) -> bool:
        """Whether ``link`` stays and ``old`` goes: of two links that both ends dialled at once, the one dialled by the
        smaller signId stays; else the newer."""
        if not old.ready or link.dialled == old.dialled or link.epoch != old.epoch:
            return True
        if link.opened - old.opened > GLARE:
            return True  # no coincidence: the other end has lost the old one
        return link.dialled == (self._around.own < self.sign_id)

    def _chosen(self, link: Link, why: str) -> None:
        self.reconnector.link_chosen(link)
        self.path_manager.chosen(link)
        old, self._last = self._last, link
        self._around.link_log.moved(self.sign_id, link, old, why)
        self._events.moved(self, link, why)

    def _watch_expiry(self) -> None:
        """Set the one timer for all messages that wait."""
        due = self.exchange.next_expiry
        if self._closed or due >= self._expiry_due:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_due = due
        wait = min(max(due - self._around.now(), SHORTEST_TIMER), LONGEST_TIMER)
        self._expiry = self._loop.call_later(wait, self._expire)

    def _expire(self) -> None:
        self._expiry, self._expiry_due = None, NEVER
        self.exchange.expire()
        self._watch_expiry()
