"""One remote peer: the links to it, which of them is in use, and what happens when one comes or goes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from mmplatform.accounts import Accounts
from mmplatform.contacts import Contacts
from mmplatform.delivery.wire import MAX_HEAD, TOO_LARGE, Ack, Frame, decode_resume
from mmplatform.directory.directory import Directory
from mmplatform.durable.handled import Handled
from mmplatform.durable.outbox import Outbox
from mmplatform.errors import LocalError, NotRunning, ProtocolError
from mmplatform.identity.keys import SignId
from mmplatform.links import paths
from mmplatform.links.dialer import Dialer
from mmplatform.links.ended import Disconnection, disconnection, kind_of
from mmplatform.links.link import Link
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.peers.dialling import Dialling
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.held import HeldByHandlers
from mmplatform.peers.link_log import LinkLog
from mmplatform.peers.path_manager import LOST, REPLACED, PathManager, answered
from mmplatform.peers.reception import Reception
from mmplatform.peers.reconnecting import Reconnector
from mmplatform.plugins.host import Failed

GLARE: Final = 10.0  # seconds between two links within which both ends may have dialled at once
DUPLICATE: Final = "duplicate"  # why a link is closed: both ends dialled at once, and the other link stays
TAKEN_OVER: Final = "taken-over"  # why a link is closed, and another used: another run of the node took over
FIRST: Final = "first"  # why a link is used: there was none


class PeerEvents(Protocol):
    """Callbacks of a peer, for those who watch all peers."""

    def reached(self, peer: SignId) -> None:
        """The first link to ``peer`` is up."""

    def lost(self, peer: SignId, reason: Disconnection) -> None:
        """The last link to ``peer`` is gone."""

    def moved(self, peer: SignId, link: Link, why: str) -> None:
        """Frames to ``peer`` go over ``link`` from now on."""

    def released(self, peer: SignId) -> None:
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
    accounts: Accounts


class Peer:
    """Keeps the links to one remote peer. ``reason`` says why there is no link, as far as that is known, ``ended``
    why the last one ended."""

    def __init__(
        self, sign_id: SignId, around: Surroundings, dialling: Dialling, events: PeerEvents, asked_before: int
    ) -> None:
        self.sign_id = sign_id
        self.reason = ""
        self.ended: Disconnection | None = None
        self.path_manager = PathManager(
            self, around.own, around.directory, around.dialer, around.random, partial(around.link_log.failed, sign_id)
        )
        self.monitor = self.path_manager.monitor
        self.reconnector = Reconnector(self, dialling, around.random)
        self.exchange = Exchange(
            sign_id, around.outbox, around.handled, around.dispatcher, around.reception, around.contacts.scope,
            around.now, partial(dialling.dial, sign_id), self._request_sent,
            HeldByHandlers(around.accounts.of(sign_id, "", around.contacts.known(sign_id)), self._read_on),
            asked_before,
        )  # fmt: skip
        self.queue = self.exchange.queue
        self._links: list[Link] = []  # links that became ready, until they are lost
        self._last: Link | None = None  # the link that was chosen last, while any is up
        self._around, self._dialling, self._events = around, dialling, events
        self._loop = asyncio.get_running_loop()
        self._closed = self._asked = False

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

    def largest_frame(self) -> int:
        """Return the bytes that a frame of the peer may have; whom we have asked may answer as largely as friends."""
        scope = "friends" if self.exchange.pending.asked else self._around.contacts.scope(self.sign_id)
        return self._around.dispatcher.largest(scope) + MAX_HEAD

    @property
    def hurried(self) -> bool:
        """Whether somebody here waits for a link or an answer right now."""
        return self.reconnector.awaited or bool(self.exchange.pending.unanswered)

    @property
    def wanted(self) -> bool:
        """Whether somebody here waits for the peer."""
        return not self.queue.empty or self.hurried

    @property
    def idle(self) -> bool:
        """Whether nothing here needs this object."""
        return not (self.sign_id in self._dialling or self._links or self.wanted)

    # Links.

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
        self.reconnector.close()
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
            self._events.released(self.sign_id)
            raise
        if self._closed:
            link.close("stopping")
            return
        link.epoch, link.skew = state.epoch, state.now / 1000 - self._around.now()
        self._take_up(link)
        active = self.link
        if active is None:
            self.use(link, state.acks, FIRST)
            self._events.reached(self.sign_id)
            return
        if active.epoch != link.epoch:
            self.use(link, state.acks, TAKEN_OVER)
            for other in self.links:
                if other.epoch != link.epoch:
                    other.close(TAKEN_OVER)
            return
        self._add_beside(link, active, state.acks)

    def not_reached(self, reason: str) -> None:
        """Note why an attempt to reach the peer failed; requests do not wait much longer."""
        self.reason = reason
        left = self.ended is not None and self.ended.left
        self.exchange.pending.not_reached(f"{self.sign_id}: {reason}", left)

    def use(self, link: Link, acks: list[Ack], why: str) -> None:
        """Go on over ``link``. ``acks`` says what the peer has; what the peer lacks is sent again."""
        self.reason, self.ended = "", None
        self.exchange.pending.reached()
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
        if str(error).endswith(TOO_LARGE):
            self.exchange.pending.refuse_largest(PUBLIC_SIZE)
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
        self.ended = ended = disconnection(error)
        self.reason = ended.text
        self.exchange.discard_realtime(self.known)
        self._events.lost(self.sign_id, ended)
        self.reconnector.last_link_lost(link)
        if ended.kind == TAKEN_OVER:
            self._around.failed(LocalError(f"another node runs with this key: {self.sign_id} now talks to that one"))
        else:
            self.reconnector.dial_again()

    def link_writable(self, link: Link) -> None:
        """Send what is queued: the connection of ``link`` takes more."""
        if link is self.link:
            self.exchange.flush()

    def send_again(self, lane: int, epoch: int) -> None:
        """Send a stream again: the peer has left some of it with us."""
        self.exchange.rewinds.ask(lane, epoch)

    def frame_received(self, link: Link, frame: Frame) -> None:
        """Take a frame that came in over ``link``, whether that is in use or not."""
        announced = frame.empty
        if announced or link is not self.exchange.link or link is not self.monitor.incoming:
            self.monitor.frame_arrived(link, announced)
        if announced:
            self.exchange.acks.retell()
        else:
            self.exchange.frame_received(frame)
            if self.exchange.held.crowded:
                link.hold_up()

    # Inside.

    def _request_sent(self) -> None:
        self.monitor.request_sent()
        if not self._asked:
            self._asked = True
            for link in self._links:
                self._expect_reply(link)

    def _expect_reply(self, link: Link) -> None:
        """Count what comes in parts over ``link`` as replies: they are as large as those of friends."""
        if not self.known:
            link.account.move(self._around.accounts.asked.of(self.sign_id))

    def _take_up(self, link: Link) -> None:
        """Count what comes over ``link`` where it is; read from it once it is known what was handled of the peer."""
        around = self._around
        self._links.append(link)
        if self._asked:
            self._expect_reply(link)
        self.exchange.held.move(around.accounts.of(self.sign_id, link.network, self.known))
        around.handled.locate(self.sign_id, link.network)
        if not around.handled.loaded(self.sign_id):
            link.hold_up()
            around.handled.load(self.sign_id, self._loaded)
        around.link_log.linked(self.sign_id, link)

    def _loaded(self) -> None:
        """Read from the peer, now that it is known what was handled of it."""
        self.exchange.acks.add_all()
        self._read_on()

    def _read_on(self) -> None:
        """Read from every link again: handlers have caught up."""
        for link in self._links:
            link.go_on()

    def _add_beside(self, link: Link, active: Link, acks: list[Ack]) -> None:
        """Take ``link``, which is up beside ``active``: one stays of those that go the same way."""
        twins = [other for other in self.links if other.kind == link.kind and other is not link]
        twin = active if active in twins else twins[-1] if twins else None
        if twin is not None and not self._supersedes(link, twin):
            twin.ask().add_done_callback(partial(_close_answered, link, DUPLICATE))
            for other in twins:
                if other is not twin:
                    other.close(DUPLICATE)
            return
        if active is twin or not active.ready:
            self.use(link, acks, DUPLICATE if _crossed(link, twin or active) else REPLACED)
        else:
            self.path_manager.joined(link)
        for other in twins:
            if other is not twin:
                other.close(REPLACED)  # a peer that answers over none of its links keeps few of them
        if twin is not None:
            why = REPLACED if twin.dialled == link.dialled else DUPLICATE
            link.ask().add_done_callback(partial(_close_answered, twin, why))

    def _supersedes(self, link: Link, old: Link) -> bool:
        """Whether ``link`` stays and ``old`` goes: of two links that both ends dialled at once, the one dialled by the
        smaller signId stays; else the newer."""
        if not old.ready or link.dialled == old.dialled or link.epoch != old.epoch:
            return True
        if not _crossed(link, old):
            return True  # the other end has lost the old one
        return link.dialled == (self._around.own < self.sign_id)

    def _chosen(self, link: Link, why: str) -> None:
        self.reconnector.link_chosen(link)
        self.path_manager.chosen(link)
        old, self._last = self._last, link
        self._around.link_log.moved(self.sign_id, link, old, why)
        if why != DUPLICATE:  # for the application it is the same way as before
            self._events.moved(self.sign_id, link, why)


def _crossed(link: Link, old: Link) -> bool:
    """Whether both ends have dialled at once: it is no coincidence when much time lies between. The other end may have
    closed the old link already."""
    there = old.ready or kind_of(old.error) == DUPLICATE
    return there and link.kind == old.kind and link.dialled != old.dialled and link.opened - old.opened <= GLARE


def _close_answered(old: Link, why: str, answer: asyncio.Future[float]) -> None:
    """Close ``old`` as the peer has answered over its successor: before, ``old`` may be the last link that the peer has
    ready, and the peer would be told that it is disconnected."""
    if answered(answer):
        old.close(why)
