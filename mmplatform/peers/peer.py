"""One remote peer: its links, and the loop that dials it while something waits."""

import asyncio
from typing import Any, Final, Protocol

from mmplatform.delivery.wire import Ack, Frame, decode_resume
from mmplatform.directory.directory import Directory
from mmplatform.errors import LocalError, MMError, NotRunning, ProtocolError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links import paths
from mmplatform.links.backoff import Backoff
from mmplatform.links.dialer import Dialer
from mmplatform.links.link import Link
from mmplatform.peers import exchange
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.link_monitor import SILENT
from mmplatform.peers.path_manager import LOST, REPLACED, PathManager

LIFETIME: Final = 3600.0  # seconds after which a link is replaced by a fresh one
RENEW_AGAIN: Final = 60.0  # seconds until a fresh link that could not be had is tried for again
STABLE: Final = 5.0  # a link that was lost sooner and brought nothing is not dialled again at once,
FLAPPING: Final = 2.0  # but after so many seconds at most: the peer is there
SOON: Final = 0.02  # seconds until a peer is dialled again that has just come
GLARE: Final = 10.0  # seconds between two links within which both ends may have dialled at once
LONGEST_TIMER: Final = 3600.0  # the wall clock may be set: look again at least this often
SLOW: Final = 2.0  # seconds of an attempt to reach the peer after which its mail does not wait for the end of it
NEVER: Final = 8e12  # Unix seconds: later than any message may expire
DUPLICATE: Final = "duplicate"  # reasons for closing a link
TAKEN_OVER: Final = "taken-over"
FIRST: Final = "first"  # why a link is used


class Node(exchange.Node, Protocol):
    """What a peer needs of the node it belongs to."""

    directory: Directory
    dialer: Dialer

    @property
    def sign_id(self) -> SignId: ...

    def random(self) -> float: ...

    def known(self, peer: str) -> bool: ...

    def connected(self, peer: "Peer") -> None: ...

    def disconnected(self, peer: "Peer", reason: str) -> None: ...

    def moved(self, peer: "Peer", link: Link, why: str) -> None: ...

    def unreachable(self, peer: "Peer", reason: str) -> None: ...

    def slow(self, peer: "Peer") -> None: ...

    def waiting(self, peer: "Peer") -> None: ...

    def release(self, peer: "Peer") -> None: ...

    def failed(self, error: Exception, topic: str = "") -> None: ...


class Peer:
    """``reason`` says why there is no link, as far as it is known."""

    def __init__(self, node: Node, sign_id: SignId) -> None:
        self.sign_id = sign_id
        self.reason = ""
        self.path_manager = PathManager(node, self)
        self.monitor = self.path_manager.monitor
        self.exchange = Exchange(node, sign_id, self.dial, self.monitor.request_sent)
        self.box = self.exchange.box
        self._links: list[Link] = []  # all that are ready
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._dialling: asyncio.Task[Any] | None = None
        self._nudge = asyncio.Event()
        self._backoff, self._flaps = Backoff(node.random), Backoff(node.random, FLAPPING)
        self._arrivals: list[asyncio.Future[Link]] = []
        self._introducing = self._present = False
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_due = NEVER
        self._renewal: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def link(self) -> Link | None:
        """The one in use."""
        return self.exchange.link

    @property
    def links(self) -> list[Link]:
        """All that are ready."""
        return [link for link in self._links if link.ready]

    @property
    def ranked(self) -> list[Link]:
        """All there are, the one in use first."""
        return sorted(self._links, key=lambda link: (link is not self.link, not link.ready, paths.weight(link)))

    @property
    def known(self) -> bool:
        """Whether it is a friend, a device, or somebody with a name here."""
        return self._node.known(self.sign_id)

    @property
    def wanted(self) -> bool:
        """Whether somebody here waits for the peer."""
        return not self.box.empty or bool(self._arrivals or self._introducing or self.exchange.pending.unanswered)

    @property
    def idle(self) -> bool:
        """Whether nothing here needs this object."""
        return self._dialling is None and not self._links and not self.wanted

    def wake(self) -> None:
        """Something durable waits."""
        self._watch_expiry()
        if self.link is not None:
            self.exchange.arm()
        else:
            self._node.waiting(self)
            self.dial()

    # Links.

    def dial(self, pause: float = 0.0) -> None:
        """Try to reach the peer, after ``pause`` seconds, and go on while something waits for it."""
        if self._dialling is None and self.link is None and not self._closed:
            self._dialling = self._loop.create_task(self._keep_dialling(pause), name=f"mm dial {self.sign_id}")

    def introduce(self) -> None:
        """Try to reach the peer until it was reached once: it cannot know where we are now."""
        self._introducing = True
        self.dial()

    def nudge(self) -> None:
        """There is news of the peer: do not wait for the next attempt."""
        self._backoff.reset()
        self._nudge.set()
        self.path_manager.peer_may_have_moved()

    def network_changed(self) -> None:
        """Our own addresses changed."""
        self._backoff.reset()
        self._nudge.set()
        self.path_manager.network_changed()

    def present(self) -> None:
        """It can be reached now. When that is heard while an attempt is just failing, the next one follows at once."""
        self._present = True
        self.nudge()

    async def connect(self, timeout: float) -> Link:
        """The link in use, dialled when there is none. Raises Unreachable with the reason."""
        tried = False  # and lost at once
        try:
            async with asyncio.timeout(timeout):
                while self.link is None or not self.link.ready:
                    if self._closed:
                        raise NotRunning("the platform is stopping")
                    arrival: asyncio.Future[Link] = self._loop.create_future()
                    self._arrivals.append(arrival)
                    self.nudge()
                    self.dial(self._flaps.next() if tried else 0.0)
                    tried = True
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
        await self.path_manager.close()
        self.exchange.flush()
        self.disconnect("stopping")
        error = NotRunning("the platform stopped")
        self.exchange.pending.close(error)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_exception(error)

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
        link.instance, link.skew = state.instance, state.now / 1000 - self._node.now()
        self._links.append(link)
        active = self.link
        if active is None:
            self.use(link, state.acks, FIRST)
            self._node.connected(self)
            return
        if active.instance != link.instance:
            self.use(link, state.acks, TAKEN_OVER)
            for other in self.links:
                if other.instance != link.instance:
                    other.close(TAKEN_OVER)
            return
        twin = next((other for other in self.links if other.way == link.way and other is not link), None)
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
        """Go on over ``link``; ``acks`` is what the peer said it has, what it lacks is sent again."""
        self.reason, self._introducing = "", False
        self.exchange.resume_over(link, acks)
        if why in (LOST, SILENT):
            self.exchange.announce_link()
        self._chosen(link, why)

    def move(self, link: Link, why: str) -> None:
        """Go on over ``link``, while the one in use, which is fine, delivers what went out over it."""
        old = self.link
        assert old is not None
        self.exchange.move(link)
        self.path_manager.drain(old)
        self._chosen(link, why)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        if link in self._links:
            self._links.remove(link)
        self.path_manager.lost(link)
        if link is not self.link:
            return
        self.exchange.pause()
        self._renew_after(None)
        other = paths.best(self.links, None, self._loop.time())
        if other is not None:
            self.use(other, [], LOST)
            self.monitor.ask_if_alive(other)
            return
        self.path_manager.stop()
        self.reason = str(error) if error is not None else "closed"
        self.exchange.discard_realtime(self.known)
        self._node.disconnected(self, self.reason)
        self._watch_expiry()
        self._backoff.reset()
        if self.exchange.useful or self._loop.time() - link.opened >= STABLE:
            self._flaps.reset()
        if self.reason.endswith(TAKEN_OVER):
            self._node.failed(LocalError(f"another node runs with this key: {self.sign_id} now talks to that one"))
        else:
            self._dial_again()

    def link_writable(self, link: Link) -> None:
        if link is self.link:
            self.exchange.flush()

    def frame_received(self, link: Link, frame: Frame) -> None:
        if link is not self.exchange.link or link is not self.monitor.incoming:
            self.monitor.frame_arrived(link)
        self.exchange.frame_received(frame)

    # Inside.

    def _supersedes(self, link: Link, old: Link) -> bool:
        """Of two links that both ends dialled at once, the one dialled by the smaller signId stays; else the newer."""
        if not old.ready or link.dialled == old.dialled or link.instance != old.instance:
            return True
        if link.opened - old.opened > GLARE:
            return True  # no coincidence: the other end has lost the old one
        return link.dialled == (self._node.sign_id < self.sign_id)

    def _chosen(self, link: Link, why: str) -> None:
        self._nudge.set()
        self._renew_after(LIFETIME if link.dialled else None)
        self.path_manager.chosen(link)
        self._node.moved(self, link, why)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(link)

    def _renew(self) -> None:
        """A fresh link has fresh keys; the old one closes when it is up, and nothing is lost between them."""
        if self._dialling is None:
            self._dialling = self._loop.create_task(self._dial_anew(), name=f"mm renew {self.sign_id}")
        else:
            self._renew_after(RENEW_AGAIN)

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
                if await self._dial_once() or not self.wanted:
                    break
                await self._rest(self._backoff.next())
        finally:
            self._dialling = None
        self._dial_again()  # the link may be lost by now

    def _dial_again(self) -> None:
        """The link was lost: try to reach the peer if something waits for it."""
        if self._dialling is None and self.link is None and self.wanted:
            self.dial(0.0 if self.exchange.useful or self._arrivals else self._flaps.next())

    async def _rest(self, seconds: float) -> None:
        """Wait, or less when there is news."""
        if self._present:
            seconds = min(seconds, SOON)
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            pass

    async def _dial_once(self) -> bool:
        self._present = False
        slow = self._loop.call_later(SLOW, self._still_dialling)
        try:
            addresses = await self._node.directory.locate(self.sign_id)
            if self.link is not None and self.link.dialled_at in addresses:
                addresses = (self.link.dialled_at,)  # a fresh one of the same kind
            if not addresses:
                raise Unreachable("no address of it is known; add its ticket, or run a service that finds it")
            await self._node.dialer.dial(self.sign_id, addresses, self.path_manager.failed)
        except MMError as error:
            self._node.directory.doubt(self.sign_id)
            if self.link is None:
                self.reason = str(error)
                self._node.unreachable(self, self.reason)
            return False
        finally:
            slow.cancel()
        return True

    def _still_dialling(self) -> None:
        if self.link is None:
            self._node.slow(self)

    def _watch_expiry(self) -> None:
        """One timer for all that waits."""
        due = self.exchange.next_expiry
        if self._closed or due >= self._expiry_due:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_due = due
        self._expiry = self._loop.call_later(min(max(due - self._node.now(), 0.0), LONGEST_TIMER), self._expire)

    def _expire(self) -> None:
        self._expiry, self._expiry_due = None, NEVER
        self.exchange.expire()
        self._watch_expiry()
