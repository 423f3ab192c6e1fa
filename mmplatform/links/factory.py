"""Makes links, in both directions: runs the handshakes and hands each link to the peer it proved to be with."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from mmplatform.delivery.fragments import KNOWN, STRANGERS, Assembler, Budget
from mmplatform.delivery.wire import MAX_FRAME, Frame
from mmplatform.errors import MMError, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.link import Link
from mmplatform.logs import LineLimit, escaped
from mmplatform.plugins.transport import Connection
from mmplatform.session.cookies import CookieJar
from mmplatform.session.handshake import Initiator, Responder

MAX_UNPROVEN: Final = 256  # connections whose other end has not yet proved who it is
CLOSING: Final = 1.0  # seconds that connections have to send their last frames when the node stops

log = logging.getLogger("mmplatform.links")


class LinkOwner(Protocol):
    """The peer that a link belongs to, once the other end has proven its key."""

    @property
    def known(self) -> bool: ...

    def link_ready(self, link: Link, resume: bytes) -> None: ...

    def link_lost(self, link: Link, error: Exception | None) -> None: ...

    def send_again(self, lane: int, epoch: int) -> None: ...

    def link_writable(self, link: Link) -> None: ...

    def frame_received(self, link: Link, frame: Frame) -> None: ...


class LinkFactory:
    """Runs the handshakes of a node, and counts its open connections.

    ``peer_of`` gives the peer of a key that a link has proven; ``resume`` gives the resume state that a handshake
    carries to a peer: which of the peer's messages we have.
    """

    def __init__(
        self,
        identity: Identity,
        node_info: Callable[[], bytes],
        peer_of: Callable[[NodeInfo, Link], LinkOwner],
        resume: Callable[[SignId], bytes],
        now: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._identity, self._node_info = identity, node_info
        self._peer_of, self._resume, self._now, self._random = peer_of, resume, now, random
        self._jar = CookieJar(random)
        self._known_budget, self._budget = Budget(KNOWN), Budget(STRANGERS)
        self._unproven: dict[Link, None] = {}  # links that others dialled, oldest first
        self._dialled: dict[Link, asyncio.Future[Link]] = {}
        self._open: set[Link] = set()
        self._gone = asyncio.Event()
        self.started = False  # set once applications have subscribed: before, nobody is let in
        self._past: tuple[Counter[str], Counter[str]] = (Counter(), Counter())  # bytes in and out of links that ended
        self._refusals = LineLimit(log, lines=0)
        self.refused = 0  # connections cut because too many were unproven

    def accept(self, connection: Connection) -> Link:
        """Begin the handshake on a connection that somebody dialled to us. When too many are unproven, the oldest gives
        way: connections that are held open and never used keep nobody out."""
        machine = Responder(self._identity, self._node_info, self._jar, self._random)
        link = Link(connection, machine, self, self._now, Assembler(self._budget, MAX_FRAME))
        self._open.add(link)
        log.debug("link %d accepted from %s", link.id, escaped(connection.address), extra={"link": link.id})
        if len(self._unproven) >= MAX_UNPROVEN:
            oldest = next(iter(self._unproven))
            del self._unproven[oldest]
            self.refused += 1
            oldest.connection.abort()
        self._unproven[link] = None
        return link

    def dialled(self, connection: Connection, peer: SignId, opened: asyncio.Future[Link]) -> Link:
        """Begin the handshake on a connection that we dialled; ``opened`` gets the link when the handshake is through,
        or the error that ended it."""
        machine = Initiator(self._identity, self._node_info(), peer, partial(self._resume, peer), self._random)
        link = Link(connection, machine, self, self._now, Assembler(self._budget, MAX_FRAME))
        self._open.add(link)
        self._dialled[link] = opened
        return link

    def traffic(self) -> tuple[Counter[str], Counter[str]]:
        """Bytes in and out so far, by scheme."""
        found = self._past[0].copy(), self._past[1].copy()
        for link in self._open:
            _add(link, found)
        return found

    async def close(self) -> None:
        """Abort connections without a session, and wait until every other one is gone."""
        self._refusals.close()
        for link in [*self._unproven, *self._dialled]:
            link.connection.abort()
        if not await self._all_gone():
            for link in list(self._open):
                link.connection.abort()
            await self._all_gone()

    def link_identified(self, link: Link, peer: NodeInfo, resume: bytes) -> bytes:
        if peer.sign_id == self._identity.sign_id:
            raise ProtocolError("own-key", "the other end has our own key")
        if not self.started:
            raise ProtocolError("starting", "this node is not ready yet")
        return self._resume(peer.sign_id)

    def link_ready(self, link: Link, peer: NodeInfo, resume: bytes) -> None:
        owner = self._peer_of(peer, link)
        owner.link_ready(link, resume)
        link.owner = _Owned(owner, self)
        if owner.known:
            link.assembler = Assembler(self._known_budget, MAX_FRAME)
        self._unproven.pop(link, None)
        opened = self._dialled.pop(link, None)
        if opened is not None and not opened.done():
            opened.set_result(link)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        """End the attempt: ``link`` was lost before its handshake was through."""
        self._unproven.pop(link, None)
        opened = self._dialled.pop(link, None)
        if opened is None:
            self._log_refusal(link, error)
        self.forget(link)
        if opened is not None and not opened.done():
            opened.set_exception(error if isinstance(error, MMError) else Unreachable(str(error)))

    def send_again(self, lane: int, epoch: int) -> None:
        """Nothing went out over a link without a session."""

    def link_writable(self, link: Link) -> None:
        """Nothing is queued for a link without a session."""

    def frame_received(self, link: Link, frame: Frame) -> None:
        """A link without a session has no frames."""

    def forget(self, link: Link) -> None:
        """Count the bytes of ``link``, whose connection is gone, among those of the past."""
        if link in self._open:
            self._open.discard(link)
            _add(link, self._past)
        self._gone.set()

    def _log_refusal(self, link: Link, error: Exception | None) -> None:
        """Log that ``link``, which somebody dialled, came to nothing; at INFO the counts alone: anybody can do that."""
        word = f" ({error.reason})" if isinstance(error, ProtocolError) else ""
        self._refusals.info(
            "", f"handshakes refused{word}", "link %d from %s refused: %s",
            link.id, escaped(link.connection.address), escaped(error), link=link.id,
        )  # fmt: skip

    async def _all_gone(self) -> bool:
        try:
            async with asyncio.timeout(CLOSING):
                while self._open:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            return False
        return True


def _add(link: Link, traffic: tuple[Counter[str], Counter[str]]) -> None:
    traffic[0][link.scheme] += link.bytes_in
    traffic[1][link.scheme] += link.bytes_out


class _Owned:
    """Passes the callbacks of a link on to its peer, and tells the factory when the connection is gone."""

    def __init__(self, peer: LinkOwner, links: LinkFactory) -> None:
        self.frame_received = peer.frame_received
        self.link_writable, self.send_again = peer.link_writable, peer.send_again
        self._peer = peer
        self._links = links

    def link_identified(self, link: Link, peer: NodeInfo, resume: bytes) -> bytes:
        raise ProtocolError("wrong-state", "the link is identified already")

    def link_ready(self, link: Link, peer: NodeInfo, resume: bytes) -> None:
        raise ProtocolError("wrong-state", "the link is ready already")

    def link_lost(self, link: Link, error: Exception | None) -> None:
        self._links.forget(link)
        self._peer.link_lost(link, error)
