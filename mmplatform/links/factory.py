"""Makes links, in both directions: runs the handshakes and hands each link to the peer it proved to be with."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from mmplatform.accounts import Account, Accounts, network_of
from mmplatform.delivery.fragments import Assembler
from mmplatform.delivery.wire import Frame
from mmplatform.errors import MMError, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.free_memory import FreeMemory
from mmplatform.links.link import Link
from mmplatform.links.places import Places
from mmplatform.links.scheduler import Scheduler
from mmplatform.logs import LineLimit
from mmplatform.plugins.transport import Connection
from mmplatform.session.cookies import CookieJar
from mmplatform.session.handshake import Initiator, OutdatedRecord, Responder
from mmplatform.text import escaped

MAX_UNPROVEN: Final = 256  # connections whose other end has not yet proved who it is
MAX_STRANGERS: Final = 2048  # connections of strangers that have, and at most half of the file descriptors
MIN_SHARE: Final = 64  # of them one network has an eighth, or as many as these; all who use one relay have half
RESERVE: Final = 128  # file descriptors, or a quarter, for everything else: strangers give way before they are taken
DESCRIPTORS: Final = 1024  # of a process, until the node starts and has asked
CLOSING: Final = 1.0  # seconds that connections have to send their last frames when the node stops

log = logging.getLogger("mmplatform.links")


class LinkOwner(Protocol):
    """The peer that a link belongs to, once the other end has proven its key."""

    @property
    def known(self) -> bool: ...

    def largest_frame(self) -> int:
        """Return the bytes that a frame may have which comes in parts."""
        ...

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
        accounts: Accounts,
    ) -> None:
        self._identity, self._node_info = identity, node_info
        self._peer_of, self._resume, self._now, self._random = peer_of, resume, now, random
        self._jar = CookieJar(random)
        self._accounts = accounts
        self._unproven: Places[Link] = Places(MAX_UNPROVEN)  # links that others dialled
        self._strangers: Places[Link] = Places(0)  # links that strangers dialled
        self._dialled: dict[Link, asyncio.Future[Link]] = {}
        self._open: set[Link] = set()
        self._scheduler = Scheduler()
        self._leaving: set[Link] = set()  # those of them that are being closed to make room
        self._gone = asyncio.Event()
        self._free_memory = FreeMemory()
        self.started = False  # set once applications have subscribed: before, nobody is let in
        self._past: tuple[Counter[str], Counter[str]] = (Counter(), Counter())  # bytes in and out of links that ended
        self._refusals = LineLimit(log, lines=0)
        self.refused = 0  # connections cut because too many were unproven
        self.outdated = 0  # connections cut because the other end showed a record that has expired by our clock
        self.gave_way = 0  # links of strangers that were closed for others
        self.descriptors = DESCRIPTORS

    def accept(self, connection: Connection) -> Link:
        """Begin the handshake on a connection that somebody dialled to us. When too many are unproven, the oldest of
        the network with most gives way: connections that are held open and never used keep nobody out."""
        machine = Responder(self._identity, self._node_info, self._jar, self._random)
        link = Link(connection, machine, self, self._now, self._unknown(connection), self._scheduler)
        self._open.add(link)
        log.debug("link %d accepted from %s", link.id, escaped(connection.address), extra={"link": link.id})
        if len(self._open) - len(self._leaving) > self._descriptors - min(RESERVE, self._descriptors // 4):
            self._make_room()
        self._cut(self._unproven.take(link, self._unproven.limit))
        return link

    def dialled(self, connection: Connection, peer: SignId, opened: asyncio.Future[Link]) -> Link:
        """Begin the handshake on a connection that we dialled; ``opened`` gets the link when the handshake is through,
        or the error that ended it."""
        machine = Initiator(self._identity, self._node_info(), peer, partial(self._resume, peer), self._random)
        link = Link(connection, machine, self, self._now, self._unknown(connection), self._scheduler)
        self._open.add(link)
        self._dialled[link] = opened
        return link

    @property
    def descriptors(self) -> int:
        """How many file descriptors the process may have: the places of strangers depend on it."""
        return self._descriptors

    @descriptors.setter
    def descriptors(self, number: int) -> None:
        self._descriptors = number
        limit = min(MAX_STRANGERS, number // 2)
        self._strangers.limit, self._unproven.limit = limit, min(MAX_UNPROVEN, number // 4)

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
        self._free_memory.close()

    def link_identified(self, link: Link, peer: NodeInfo, resume: bytes) -> bytes:
        if peer.sign_id == self._identity.sign_id:
            raise ProtocolError("own-key", "the other end has our own key")
        if not self.started:
            raise ProtocolError("starting", "this node is not ready yet")
        return self._resume(peer.sign_id)

    def link_ready(self, link: Link, peer: NodeInfo, resume: bytes) -> None:
        owner = self._peer_of(peer, link)
        link.known = owner.known
        if link.known:
            link.worked = 0.0
        link.account.move(self._accounts.of(peer.sign_id, link.network, link.known))
        owner.link_ready(link, resume)
        link.owner = _Owned(owner, self)
        link.assembler = Assembler(link.account, owner.largest_frame)
        self._unproven.leave(link)
        opened = self._dialled.pop(link, None)
        if opened is not None and not opened.done():
            opened.set_result(link)
        if not (link.known or link.dialled):
            self._let_go(self._strangers.take(link, self._share(link)))

    def link_lost(self, link: Link, error: Exception | None) -> None:
        """End the attempt: ``link`` was lost before its handshake was through."""
        self._unproven.leave(link)
        opened = self._dialled.pop(link, None)
        if isinstance(error, OutdatedRecord):
            self.outdated += 1
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
        self._strangers.leave(link)
        self._leaving.discard(link)
        if link in self._open:
            self._open.discard(link)
            _add(link, self._past)
        self._gone.set()
        self._free_memory.look_soon()

    def _unknown(self, connection: Connection) -> Account:
        """The account of whoever is at the other end of ``connection``, in a network where others are, too."""
        return self._accounts.of("", network_of(connection.address, connection.relayed), known=False)

    def _make_room(self) -> None:
        """Close one connection of a stranger, or of who has not said who it is: file descriptors are short."""
        stranger = self._strangers.idlest()
        if stranger is not None:
            self._strangers.leave(stranger)
            self._let_go(stranger)
        else:
            unproven = self._unproven.idlest()
            if unproven is not None:
                self._unproven.leave(unproven)
            self._cut(unproven)

    def _share(self, link: Link) -> int:
        """How many strangers may have links from where that of ``link`` is."""
        limit = self._strangers.limit
        return limit // 2 if link.relayed else max(MIN_SHARE, limit // 8)

    def _let_go(self, link: Link | None) -> None:
        """Close the link of a stranger that lost its place; one who is known by now has no need of places."""
        if link is not None and not (isinstance(link.owner, _Owned) and link.owner.known):
            self.gave_way += 1
            self._leaving.add(link)
            link.give_way()

    def _cut(self, link: Link | None) -> None:
        """End a connection that lost its place before anybody said who it is."""
        if link is not None:
            self.refused += 1
            self._leaving.add(link)
            link.connection.abort()

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

    @property
    def known(self) -> bool:
        """Whether the peer is a friend, a device, or somebody with a name here, by now."""
        return self._peer.known

    def link_identified(self, link: Link, peer: NodeInfo, resume: bytes) -> bytes:
        raise ProtocolError("wrong-state", "the link is identified already")

    def link_ready(self, link: Link, peer: NodeInfo, resume: bytes) -> None:
        raise ProtocolError("wrong-state", "the link is ready already")

    def link_lost(self, link: Link, error: Exception | None) -> None:
        self._links.forget(link)
        self._peer.link_lost(link, error)
