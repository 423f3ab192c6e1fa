"""Tells applications (events) and services (the local bus) what happens to peers."""

from mmplatform.delivery.wire import Ack
from mmplatform.events import Events
from mmplatform.identity.keys import SignId
from mmplatform.links.ended import Disconnection
from mmplatform.links.link import Link
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics


class Announcements:
    """Watches all peers of the node with the key ``own``."""

    def __init__(self, events: Events, bus: Bus, own: SignId) -> None:
        self._events, self._bus, self._own = events, bus, own

    def reached(self, peer: SignId) -> None:
        self._events.emit("connection", peer)
        self._say(topics.ONLINE, peer)

    def lost(self, peer: SignId, reason: Disconnection) -> None:
        self._events.emit("disconnected", peer, reason)
        self._say(topics.OFFLINE, peer)

    def moved(self, peer: SignId, link: Link, why: str) -> None:
        self._events.emit("path", peer, link.connection.address, link.min_rtt, why)

    def unreachable(self, peer: SignId, reason: str) -> None:
        self._say(topics.FAILED, peer)

    def slow(self, peer: SignId) -> None:
        """Say nothing: the attempt goes on, and its end will be told."""

    def waiting(self, peer: SignId) -> None:
        """Say nothing: applications know what they sent."""

    def found(self, peer: SignId) -> None:
        """Say nothing: services brought the news."""

    def wants_again(self, peer: str | None) -> None:
        """Say nothing: only the senders are told."""

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """Say nothing: only the senders are told."""

    def released(self, peer: SignId) -> None:
        """Say nothing: the loss of the last link was told before."""

    def _say(self, topic: str, peer: SignId) -> None:
        self._bus.emit("self", topic, self._own, peer)
