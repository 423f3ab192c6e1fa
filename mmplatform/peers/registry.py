"""The remote peers of a node: one object each, made when a link is up or waited for, not while one is just dialled."""

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from mmplatform import interfaces
from mmplatform.addresses import neighbourhood
from mmplatform.delivery.wire import Ack, Resumption, encode_packet
from mmplatform.errors import InvalidKey, LocalError, ProtocolError
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.ended import MOST_SAID, Disconnection
from mmplatform.links.link import Link
from mmplatform.message import Scope
from mmplatform.peers.dialling import Dialling
from mmplatform.peers.peer import Peer, PeerEvents, Surroundings
from mmplatform.peers.status import PeerStatus, status_of
from mmplatform.text import escaped, quoted


class PeerWatcher(PeerEvents, Protocol):
    """Callbacks for what happens to every peer."""

    def unreachable(self, peer: SignId, reason: str) -> None:
        """An attempt to reach ``peer`` failed."""

    def slow(self, peer: SignId) -> None:
        """An attempt to reach ``peer`` takes long."""

    def waiting(self, peer: SignId) -> None:
        """Something waits for ``peer``, and there is no link."""

    def found(self, peer: SignId) -> None:
        """There is news of where ``peer`` is."""

    def wants_again(self, peer: str | None) -> None:
        """What was left with ``peer``, or with anybody, can be taken in now."""

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """The messages that ``acks`` names are handled and on disk."""


class Peers:
    """Makes and releases peers; ``by_id`` holds them. ``dialling`` dials them, and those of whom there is no object.

    ``running`` is set while the node runs: before, nobody is dialled.
    """

    def __init__(self, around: Surroundings, epoch: int) -> None:
        self.by_id: dict[str, Peer] = {}
        self.running = False
        self.dialling = Dialling(self, around.directory, around.dialer, around.random)
        self._around, self._epoch = around, epoch
        self._asked = 0  # the highest number of a request to those who are forgotten
        self._reasons: dict[str, str] = {}  # why those of whom there is no object could not be reached
        self._watchers: list[PeerWatcher] = []

    def watch(self, watcher: PeerWatcher) -> None:
        """Tell ``watcher`` what happens to peers, in the order in which watchers came."""
        self._watchers.append(watcher)

    def destination(self, text: str, topic: str = "") -> SignId:
        """Return the key of the remote peer with the name or the signId ``text``, to whom ``topic`` shall go.

        Raises InvalidKey, or LocalError for our own key and that of somebody who is blocked.
        """
        contacts = self._around.contacts
        try:
            sign_id = contacts.resolve(text)
        except InvalidKey as error:
            if topic and contacts.is_destination(topic):
                raise InvalidKey(f"{error}; {quoted(topic)} is one: the topic comes first, then the peer") from None
            raise
        if sign_id == self._around.own:
            raise LocalError("this is our own key; send to it is local")
        if sign_id in contacts.blocked:
            raise LocalError(f"{contacts.name(sign_id) or text} is blocked; unblock it first")
        return sign_id

    def destinations(self, group: str) -> list[SignId]:
        """Return the keys of those to whom a message to a list or a circle goes. Raises InvalidKey or LocalError."""
        return self._around.contacts.members(group)

    def peer(self, sign_id: SignId) -> Peer:
        """The object of one remote peer, made when there is none. Raises LocalError for our own key."""
        peer = self.by_id.get(sign_id)
        if peer is None:
            peer = Peer(self.destination(sign_id), self._around, self.dialling, self, self._asked)
            self.by_id[sign_id] = peer
            peer.reason = self._reasons.pop(sign_id, "")
            for address, reason in self.dialling.troubles.get(sign_id, {}).items():
                peer.path_manager.failed(address, reason)
        return peer

    async def close(self) -> None:
        """End every link; messages that wait are on disk."""
        await self.dialling.close()
        await asyncio.gather(*(peer.close() for peer in list(self.by_id.values())))

    # What is asked of all peers.

    def link(self, peer: str) -> Link | None:
        """The link to ``peer`` that is in use."""
        return self.by_id[peer].link if peer in self.by_id else None

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        return self.link(peer) is not None

    def reason(self, peer: str) -> str:
        """Why there is no link to ``peer``, as far as that is known."""
        return self.by_id[peer].reason if peer in self.by_id else self._reasons.get(peer, "")

    def links(self) -> list[tuple[SignId, Link]]:
        """Every link that is up, with the peer at its other end."""
        return [(peer.sign_id, link) for peer in self.by_id.values() for link in peer.links]

    def statuses(self) -> list[PeerStatus]:
        """The status of everybody known or connected."""
        around = self._around
        contacts = around.contacts
        known = [*contacts.friends, *contacts.devices, *contacts.blocked, *around.directory.peers()]
        keys = dict.fromkeys([*known, *self.dialling.peers(), *map(SignId, self.by_id)])
        return [self._status(key) for key in keys if key != around.own]

    # What happens around peers.

    def wake(self, peer: str) -> None:
        """Send the durable messages that wait for ``peer``, or dial."""
        if not self.running or peer in self._around.contacts.blocked:
            return
        there = self.by_id.get(peer)
        if there is not None and there.link is not None:
            there.exchange.arm()
        else:
            for watcher in self._watchers:
                watcher.waiting(SignId(peer))
            self.dialling.dial(SignId(peer))

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """Acknowledge to ``peer`` the messages that ``acks`` names: they are handled and on disk."""
        if peer in self.by_id:
            exchange = self.by_id[peer].exchange
            exchange.held.saved()
            exchange.acks.add(acks)
        for watcher in self._watchers:
            watcher.saved(peer, acks)

    def want_again(self, peer: str | None) -> None:
        """Ask ``peer``, or everybody, for the messages that were left with them."""
        peers = list(self.by_id.values()) if peer is None else [self.by_id[peer]] if peer in self.by_id else []
        for each in peers:
            each.exchange.left_again()
        for watcher in self._watchers:
            watcher.wants_again(peer)

    def rescope(self, peer: str, scope: Scope, reason: str) -> None:
        """Take what comes of ``peer`` as that of ``scope`` from now on, and close every link to it for ``reason``."""
        there = self.by_id.get(peer)
        if there is not None:
            there.exchange.rescope(scope)
            there.disconnect(reason)

    def give_way(self, peer: str) -> None:
        """Close every link to ``peer``: what it had us hold made room for others."""
        if peer in self.by_id:
            self.by_id[peer].give_way()

    def found(self, peer: SignId) -> None:
        """Begin the next attempt to reach ``peer`` at once: there is news of where it is."""
        self.dialling.nudge(peer)
        if peer in self.by_id:
            self.by_id[peer].path_manager.peer_may_have_moved()
        for watcher in self._watchers:
            watcher.found(peer)

    def present(self, peer: SignId) -> None:
        """Begin the next attempt to reach ``peer`` at once: it can be reached now."""
        self.dialling.present(peer)
        if peer in self.by_id:
            self.by_id[peer].path_manager.peer_may_have_moved()

    def network_changed(self) -> None:
        """Begin all attempts anew, and have every peer look at its links: our own addresses changed."""
        for peer in self.dialling.peers():
            self.dialling.nudge(peer)
        for there in self.by_id.values():
            there.path_manager.network_changed()

    # What links ask (links/factory.py).

    def identified(self, info: NodeInfo, link: Link) -> Peer:
        """The peer that proved to be at the other end of ``link``, which is new."""
        came_from = "" if link.dialled or link.relayed else _host(link.connection.address)
        heard_on = neighbourhood(came_from, interfaces.here()) if came_from else ()
        self._around.directory.put(info, "handshake", heard_on)
        return self.peer(info.sign_id)

    def load(self, peer: SignId, then: Callable[[], None]) -> None:
        """Call ``then`` once it is known what was handled of ``peer`` before."""
        self._around.handled.load(peer, then)

    def resume(self, peer: SignId) -> bytes:
        """The resume state that a handshake carries to ``peer``: which of the peer's messages we have.

        Raises ProtocolError for somebody who is blocked.
        """
        around = self._around
        if peer in around.contacts.blocked:
            raise ProtocolError("blocked", "it is blocked here")
        return encode_packet(Resumption(self._epoch, int(around.now() * 1000), around.handled.receiver(peer).acks()))

    # What peers tell (PeerEvents).

    def reached(self, peer: SignId) -> None:
        self.dialling.reached(peer)
        for watcher in self._watchers:
            watcher.reached(peer)

    def lost(self, peer: SignId, reason: Disconnection) -> None:
        for watcher in self._watchers:
            watcher.lost(peer, reason)
        self.released(peer)

    def moved(self, peer: SignId, link: Link, why: str) -> None:
        for watcher in self._watchers:
            watcher.moved(peer, link, why)

    def released(self, peer: SignId) -> None:
        """Forget a stranger of whom nothing is wanted."""
        there = self.by_id.get(peer)
        busy = there is not None and not there.idle
        if not (busy or peer in self.dialling or self._around.contacts.known(peer)):
            if there is not None:
                del self.by_id[peer]
                self._asked = max(self._asked, there.exchange.pending.number)
                there.exchange.reply_cache.close()  # now, not once the collector finds the circle that the peer is in
            self._reasons.pop(peer, None)
            for watcher in self._watchers:
                watcher.released(peer)
            self._around.outbox.release(peer)
            self._around.handled.release(peer)

    # What is asked and told by who dials (DialledPeers).

    def wanted(self, peer: SignId) -> bool:
        return self._around.outbox.waits(peer) or self.hurried(peer)

    def hurried(self, peer: SignId) -> bool:
        return peer in self.by_id and self.by_id[peer].hurried

    def address_failed(self, peer: SignId, address: str, reason: str) -> None:
        if peer in self.by_id:
            self.by_id[peer].path_manager.failed(address, reason)

    def unreachable(self, peer: SignId, reason: str) -> None:
        reason = escaped(reason, MOST_SAID)
        self._around.link_log.unreachable(peer, reason)
        if peer in self.by_id:
            self.by_id[peer].not_reached(reason)
        else:
            self._reasons[peer] = reason
        for watcher in self._watchers:
            watcher.unreachable(peer, reason)

    def slow(self, peer: SignId) -> None:
        for watcher in self._watchers:
            watcher.slow(peer)

    def dialled(self, peer: SignId, up: bool) -> None:
        if peer in self.by_id:
            self.by_id[peer].reconnector.dialled(up)
        else:
            self.released(peer)

    # Inside.

    def _status(self, peer: SignId) -> PeerStatus:
        around, there = self._around, self.by_id.get(peer)
        troubles = there.path_manager.troubles if there is not None else self.dialling.troubles.get(peer, {})
        return status_of(peer, there, self.reason(peer), troubles, around.contacts, around.directory, around.outbox)


def _host(address: str) -> str:
    """The host that the address of a connection names, or ""."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
