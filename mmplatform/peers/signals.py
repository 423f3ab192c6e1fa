"""Carries the signals by which transports of two nodes agree to meet elsewhere, as realtime messages.

Signals ride on any session that is up, so their sender has proven its key, and nobody between reads or changes them.
Nothing is stored or sent again: a signal that is late is of no use.
"""

from collections.abc import Callable, Mapping
from typing import Final

from mmplatform.delivery.wire import Event
from mmplatform.identity.keys import SignId
from mmplatform.message import Scope
from mmplatform.messaging.internal import InternalHandler
from mmplatform.messaging.results import HoldCount
from mmplatform.peers.peer import Peer
from mmplatform.plugins.signalling import SIGNAL_LIMIT, SignallingTransport
from mmplatform.plugins.transport import Transport

PROTOCOL: Final = "rtc"  # name of the protocol of signals, whose topics are schemes of transports


class Signals(InternalHandler):
    """Handles the protocol of signals. ``peer`` gives the object of a peer, when there is one."""

    protocol: Final = PROTOCOL

    def __init__(self, transports: Mapping[str, Transport], peer: Callable[[str], Peer | None]) -> None:
        self._transports, self._peer = transports, peer

    def send(self, peer: SignId, scheme: str, data: bytes) -> bool:
        """Send ``data`` to the transport of ``scheme`` at ``peer``; False when no link to the peer is up."""
        there = self._peer(peer)
        if there is None or there.link is None or len(data) > SIGNAL_LIMIT:
            return False
        return there.exchange.send_event(Event(scheme, PROTOCOL, data), len(data) + len(scheme) + 8)

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Give a signal of the sender's transport ``topic`` to ours. The dispatcher reports errors of the transport."""
        transport = self._transports.get(topic)
        if isinstance(transport, SignallingTransport) and len(payload) <= SIGNAL_LIMIT:
            transport.signalled(SignId(sender), payload)

    def listens(self, scope: Scope, topic: str) -> bool:
        """Whether durable signals are taken: never."""
        return False
