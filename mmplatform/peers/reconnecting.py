"""Gives a link to those who wait for one, dials again when it was lost, and renews one that has become old."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from mmplatform.errors import NotRunning, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links.backoff import Backoff
from mmplatform.links.link import Link
from mmplatform.peers.dialling import Dialling
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.path_manager import PathManager

LIFETIME: Final = 3600.0  # seconds after which a link is replaced by a fresh one
RENEW_AGAIN: Final = 60.0  # seconds after a renewal that failed until the next attempt
STABLE: Final = 5.0  # seconds: a link that was lost sooner and brought nothing is not dialled again at once
FLAPPING: Final = 2.0  # seconds, at most, until a link that was lost so soon is dialled again: the peer is there


class ConnectedPeer(Protocol):
    """The peer that is dialled again."""

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


class Reconnector:
    """Has ``peer`` dialled when somebody needs a link; ``random()`` is 0 to 1."""

    def __init__(self, peer: ConnectedPeer, dialling: Dialling, random: Callable[[], float]) -> None:
        self._peer, self._dialling = peer, dialling
        self._loop = asyncio.get_running_loop()
        self._flaps = Backoff(random, FLAPPING)
        self._arrivals: list[asyncio.Future[Link]] = []  # one for each caller of connect()
        self._renewal: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for nothing but a link."""
        return bool(self._arrivals)

    async def connect(self, timeout: float) -> Link:
        """The link in use, dialled when there is none. Raises Unreachable with the reason."""
        peer = self._peer
        tried = False  # whether a link came up and was lost at once
        try:
            async with asyncio.timeout(timeout):
                while (link := peer.link) is None or not link.ready:
                    if self._closed:
                        raise NotRunning("the platform is stopping")
                    arrival: asyncio.Future[Link] = self._loop.create_future()
                    self._arrivals.append(arrival)
                    self._dialling.nudge(peer.sign_id)
                    peer.path_manager.peer_may_have_moved()
                    self._dialling.dial(peer.sign_id, self._flaps.next() if tried else 0.0)
                    tried = True
                    await arrival
        except TimeoutError:
            raise Unreachable(f"{peer.sign_id}: {peer.reason or 'no answer'}") from None
        finally:
            self._arrivals = [arrival for arrival in self._arrivals if not arrival.done()]
        return link

    def link_chosen(self, link: Link) -> None:
        """Give ``link``, which is in use now, to those who wait for a link; renew it when it is old."""
        self._renew_after(LIFETIME if link.dialled else None)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(link)

    def link_lost(self) -> None:
        """Forget the renewal: the link in use is gone. Another one may follow."""
        self._renew_after(None)

    def last_link_lost(self, link: Link) -> None:
        """Begin with short pauses again: ``link``, which was in use, is gone, and there is no other one."""
        if self._peer.exchange.useful or self._loop.time() - link.opened >= STABLE:
            self._flaps.reset()

    def dial_again(self) -> None:
        """Try to reach the peer if something waits for it: the link was lost."""
        peer = self._peer
        if peer.link is None and peer.wanted and peer.sign_id not in self._dialling:
            pause = 0.0 if peer.exchange.useful or self._arrivals else self._flaps.next()
            self._dialling.dial(peer.sign_id, pause)

    def dialled(self, up: bool) -> None:
        """Go on after attempts to reach the peer, which brought a link when ``up``: it may be lost by now."""
        link = self._peer.link
        if link is None:
            self.dial_again()
        elif not up and link.dialled and self._renewal is None:
            self._renew_after(RENEW_AGAIN)

    def close(self) -> None:
        """End everything, and tell those in :meth:`connect`."""
        self._closed = True
        self._renew_after(None)
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_exception(NotRunning("the platform stopped"))

    def _renew_after(self, seconds: float | None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = self._loop.call_later(seconds, self._renew) if seconds is not None else None

    def _renew(self) -> None:
        """Dial a fresh link, which has fresh keys; the old one closes once the fresh one is up, and nothing is lost."""
        self._renewal = None
        if not self._dialling.renew(self._peer.sign_id):
            self._renew_after(RENEW_AGAIN)
