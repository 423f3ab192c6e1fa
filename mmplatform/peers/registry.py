"""The remote peers of a node: one object each, made when it is needed and released when nothing wants it any more."""

import asyncio
from typing import Protocol

from mmplatform.delivery.wire import Ack, Resumption, encode_packet
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.link import Link
from mmplatform.peers.peer import Peer, PeerEvents, Surroundings
from mmplatform.peers.status import PeerStatus, status_of


class PeerWatcher(PeerEvents, Protocol):
    """Callbacks for what happens to every peer."""

    def found(self, peer: Peer) -> None:
        """There is news of where ``peer`` is."""

    def wants_again(self, peer: str | None) -> None:
        """What was left with ``peer``, or with anybody, can be taken in now."""

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """The messages that ``acks`` names are handled and on disk."""


class Peers:
    """Makes and releases peers; ``by_id`` holds them.

    ``running`` is set while the node runs: before, nobody is dialled.
    """

    def __init__(self, around: Surroundings, epoch: int) -> None:
        self.by_id: dict[str, Peer] = {}
        self.running = False
        self._around, self._epoch = around, epoch
        self._watchers: list[PeerWatcher] = []

    def watch(self, watcher: PeerWatcher) -> None:
        """Tell ``watcher`` what happens to peers, in the order in which watchers came."""
        self._watchers.append(watcher)

    def peer(self, sign_id: SignId) -> Peer:
        """The object of one remote peer, made when there is none. Raises LocalError for our own key."""
        peer = self.by_id.get(sign_id)
        if peer is None:
            if sign_id == self._around.own:
                raise LocalError("this is our own key; send to it is local")
            peer = self.by_id[sign_id] = Peer(sign_id, self._around, self)
        return peer

    async def close(self) -> None:
        """End every link; messages that wait are on disk."""
        await asyncio.gather(*(peer.close() for peer in list(self.by_id.values())))

    # What is asked of all peers.

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        return peer in self.by_id and self.by_id[peer].link is not None

    def links(self) -> list[tuple[SignId, Link]]:
        """Every link that is up, with the peer at its other end."""
        return [(peer.sign_id, link) for peer in self.by_id.values() for link in peer.links]

    def statuses(self) -> list[PeerStatus]:
        """The status of everybody known or connected."""
        around = self._around
        contacts, directory = around.contacts, around.directory
        keys = dict.fromkeys([*contacts.friends, *contacts.devices, *directory.peers(), *map(SignId, self.by_id)])
        return [
            status_of(key, self.by_id.get(key), contacts, directory, around.outbox) for key in keys if key != around.own
        ]

    # What happens around peers.

    def wake(self, peer: str) -> None:
        """Send the durable messages that wait for ``peer``, or dial."""
        if self.running:
            self.peer(SignId(peer)).wake()

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """Acknowledge to ``peer`` the messages that ``acks`` names: they are handled and on disk."""
        if peer in self.by_id:
            self.by_id[peer].exchange.acknowledge(acks)
        for watcher in self._watchers:
            watcher.saved(peer, acks)

    def want_again(self, peer: str | None) -> None:
        """Ask ``peer``, or everybody, for the messages that were left with them."""
        peers = list(self.by_id.values()) if peer is None else [self.by_id[peer]] if peer in self.by_id else []
        for each in peers:
            each.exchange.left_again()
        for watcher in self._watchers:
            watcher.wants_again(peer)

    def give_way(self, peer: str) -> None:
        """Close every link to ``peer``: what it had us hold made room for others."""
        if peer in self.by_id:
            self.by_id[peer].give_way()

    def found(self, peer: SignId) -> None:
        """Begin the next attempt to reach ``peer`` at once: there is news of where it is."""
        if peer in self.by_id:
            self.by_id[peer].nudge()
            for watcher in self._watchers:
                watcher.found(self.by_id[peer])

    def present(self, peer: SignId) -> None:
        """Begin the next attempt to reach ``peer`` at once: it can be reached now."""
        if peer in self.by_id:
            self.by_id[peer].present()

    def network_changed(self) -> None:
        """Have every peer look at its links: our own addresses changed."""
        for peer in self.by_id.values():
            peer.network_changed()

    # What links ask (links/factory.py).

    def identified(self, info: NodeInfo) -> Peer:
        """The peer that proved to be at the other end of a new link."""
        self._around.directory.put(info, "handshake")
        return self.peer(info.sign_id)

    def resume(self, peer: SignId) -> bytes:
        """The resume state that a handshake carries to ``peer``: which of the peer's messages we have."""
        around = self._around
        return encode_packet(Resumption(self._epoch, int(around.now() * 1000), around.handled.receiver(peer).acks()))

    # What peers tell (PeerEvents).

    def reached(self, peer: Peer) -> None:
        for watcher in self._watchers:
            watcher.reached(peer)

    def lost(self, peer: Peer, reason: str) -> None:
        for watcher in self._watchers:
            watcher.lost(peer, reason)
        self.released(peer)

    def moved(self, peer: Peer, link: Link, why: str) -> None:
        for watcher in self._watchers:
            watcher.moved(peer, link, why)

    def unreachable(self, peer: Peer, reason: str) -> None:
        for watcher in self._watchers:
            watcher.unreachable(peer, reason)

    def slow(self, peer: Peer) -> None:
        for watcher in self._watchers:
            watcher.slow(peer)

    def waiting(self, peer: Peer) -> None:
        for watcher in self._watchers:
            watcher.waiting(peer)

    def released(self, peer: Peer) -> None:
        """Forget a stranger of whom nothing is wanted."""
        if peer.idle and not self._around.contacts.known(peer.sign_id):
            self.by_id.pop(peer.sign_id, None)
            for watcher in self._watchers:
                watcher.released(peer)
            self._around.outbox.release(peer.sign_id)
