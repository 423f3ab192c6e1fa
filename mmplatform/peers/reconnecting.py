"""Dials a peer while something waits for it, and renews a link that has become old."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from mmplatform.directory.directory import Directory
from mmplatform.errors import MMError, NotRunning, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links.backoff import Backoff
from mmplatform.links.dialer import Dialer
from mmplatform.links.link import Link
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.path_manager import PathManager
from mmplatform.peers.turns import Turns

LIFETIME: Final = 3600.0  # seconds after which a link is replaced by a fresh one
RENEW_AGAIN: Final = 60.0  # seconds after a renewal that failed until the next attempt
STABLE: Final = 5.0  # seconds: a link that was lost sooner and brought nothing is not dialled again at once
FLAPPING: Final = 2.0  # seconds, at most, until a link that was lost so soon is dialled again: the peer is there
SOON: Final = 0.02  # seconds until a peer that has just become reachable is dialled again
SLOW: Final = 2.0  # seconds of an attempt to reach the peer after which mail no longer waits for the end of the attempt


class DialledPeer(Protocol):
    """The peer that is dialled."""

    sign_id: SignId
    reason: str
    exchange: Exchange
    path_manager: PathManager

    @property
    def link(self) -> Link | None:
        """The link in use."""
        ...

    @property
    def wanted(self) -> bool:
        """Whether somebody here waits for the peer."""
        ...

    def unreachable(self, reason: str) -> None:
        """An attempt to reach the peer failed."""

    def slow_to_reach(self) -> None:
        """An attempt to reach the peer takes long."""


class Reconnector:
    """Gives ``peer`` a link when it needs one. ``turns`` are those of all peers; ``random()`` is 0 to 1."""

    def __init__(
        self, peer: DialledPeer, directory: Directory, dialer: Dialer, turns: Turns, random: Callable[[], float]
    ) -> None:
        self._peer, self._directory, self._dialer, self._turns = peer, directory, dialer, turns
        self._loop = asyncio.get_running_loop()
        self._dialling: asyncio.Task[Any] | None = None
        self._nudged = asyncio.Event()
        self._backoff, self._flaps = Backoff(random), Backoff(random, FLAPPING)
        self._arrivals: list[asyncio.Future[Link]] = []  # one for each caller of connect()
        self._introducing = self._present = False
        self._renewal: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def dialling(self) -> bool:
        """Whether the peer is being dialled, or soon will be again."""
        return self._dialling is not None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for nothing but a link."""
        return bool(self._arrivals) or self._introducing

    def dial(self, pause: float = 0.0) -> None:
        """Try to reach the peer, after ``pause`` seconds, and go on while something waits for it."""
        if self._dialling is None and self._peer.link is None and not self._closed:
            self._dialling = self._loop.create_task(self._keep_dialling(pause), name=f"mm dial {self._peer.sign_id}")

    def introduce(self) -> None:
        """Try to reach the peer until it was reached once: the peer cannot know where we are now."""
        self._introducing = True
        self.dial()

    def nudge(self) -> None:
        """Begin the next attempt at once: there is news of the peer, or of our own addresses."""
        self._backoff.reset()
        self._nudged.set()

    def present(self) -> None:
        """Begin the next attempt at once, also when one is just failing: the peer can be reached now."""
        self._present = True
        self.nudge()

    async def connect(self, timeout: float) -> Link:
        """The link in use, dialled when there is none. Raises Unreachable with the reason."""
        tried = False  # whether a link came up and was lost at once
        try:
            async with asyncio.timeout(timeout):
                while (link := self._peer.link) is None or not link.ready:
                    if self._closed:
                        raise NotRunning("the platform is stopping")
                    arrival: asyncio.Future[Link] = self._loop.create_future()
                    self._arrivals.append(arrival)
                    self.nudge()
                    self._peer.path_manager.peer_may_have_moved()
                    self.dial(self._flaps.next() if tried else 0.0)
                    tried = True
                    await arrival
        except TimeoutError:
            raise Unreachable(f"{self._peer.sign_id}: {self._peer.reason or 'no answer'}") from None
        finally:
            self._arrivals = [arrival for arrival in self._arrivals if not arrival.done()]
        return link

    def link_chosen(self, link: Link) -> None:
        """Give ``link``, which is in use now, to those who wait for a link; renew it when it is old."""
        self._introducing = False
        self._nudged.set()
        self._renew_after(LIFETIME if link.dialled else None)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(link)

    def link_lost(self) -> None:
        """Forget the renewal: the link in use is gone. Another one may follow."""
        self._renew_after(None)

    def last_link_lost(self, link: Link) -> None:
        """Begin with short delays again: ``link``, which was in use, is gone, and there is no other one."""
        self._backoff.reset()
        if self._peer.exchange.useful or self._loop.time() - link.opened >= STABLE:
            self._flaps.reset()

    def dial_again(self) -> None:
        """Try to reach the peer if something waits for it: the link was lost."""
        if self._dialling is None and self._peer.link is None and self._peer.wanted:
            self.dial(0.0 if self._peer.exchange.useful or self._arrivals else self._flaps.next())

    async def close(self) -> None:
        """End everything, and tell those in :meth:`connect`."""
        self._closed = True
        self._renew_after(None)
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_exception(NotRunning("the platform stopped"))

    async def _keep_dialling(self, pause: float) -> None:
        try:
            if pause:
                await self._rest(pause)
            while self._peer.link is None and not self._closed:
                if not self._hurried:
                    await self._turns.take()
                if await self._dial_once() or not self._peer.wanted:
                    break
                await self._rest(self._backoff.next())
        finally:
            self._dialling = None
        self.dial_again()  # the link may be lost by now

    @property
    def _hurried(self) -> bool:
        """Whether somebody waits for a link or an answer right now, or the peer has just become reachable."""
        return self._present or bool(self._arrivals) or bool(self._peer.exchange.pending.unanswered)

    async def _rest(self, seconds: float) -> None:
        """Wait for ``seconds``, less when there is news."""
        if self._present:
            seconds = min(seconds, SOON)
        self._nudged.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            pass

    async def _dial_once(self) -> bool:
        """Dial once; whether a link came up, or was made anew."""
        peer = self._peer
        self._present = False
        slow = self._loop.call_later(SLOW, self._still_dialling)
        try:
            addresses = await self._directory.locate(peer.sign_id)
            if peer.link is not None and peer.link.dialled_at in addresses:
                addresses = (peer.link.dialled_at,)  # a fresh link of the same kind
            if not addresses:
                raise Unreachable("no address of it is known; add its ticket, or run a service that finds it")
            await self._dialer.dial(peer.sign_id, addresses, peer.path_manager.failed)
        except MMError as error:
            self._directory.refresh(peer.sign_id)
            if peer.link is None:
                peer.unreachable(str(error))
            return False
        finally:
            slow.cancel()
        return True

    def _still_dialling(self) -> None:
        if self._peer.link is None:
            self._peer.slow_to_reach()

    # Renewing.

    def _renew_after(self, seconds: float | None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = self._loop.call_later(seconds, self._renew) if seconds is not None else None

    def _renew(self) -> None:
        """Dial a fresh link, which has fresh keys; the old one closes once the fresh one is up, and nothing is lost."""
        if self._dialling is None:
            self._dialling = self._loop.create_task(self._dial_anew(), name=f"mm renew {self._peer.sign_id}")
        else:
            self._renew_after(RENEW_AGAIN)

    async def _dial_anew(self) -> None:
        try:
            if not await self._dial_once() and self._peer.link is not None:
                self._renew_after(RENEW_AGAIN)
        finally:
            self._dialling = None
            if self._peer.wanted:
                self.dial()
