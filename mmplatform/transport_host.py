"""Answers what transports and carriers ask of their node: implements
:class:`mmplatform.plugins.transport.TransportHost` and :class:`mmplatform.plugins.mail_carrier.MailHost`."""

import random
from collections.abc import Awaitable, Callable, Sequence

from mmplatform.addresses import Reach
from mmplatform.identity.keys import Identity, SignId
from mmplatform.mail.mailer import Mailer
from mmplatform.peers.registry import Peers
from mmplatform.peers.signals import Signals
from mmplatform.plugins.host import Failed


class NodeTransportHost:
    """The host that all transports and carriers of a node share."""

    def __init__(
        self,
        identity: Identity,
        peers: Peers,
        mailer: Mailer,
        signals: Signals,
        reach: Callable[[SignId], Reach],
        advertise: Callable[[str, Sequence[str]], Awaitable[None]],
        now: Callable[[], float],
        failed: Failed,
        stun: Sequence[str],
        turn: Sequence[tuple[str, str, str]],
        proxy: str | None,
    ) -> None:
        self.identity, self.stun, self.turn, self.proxy = identity, stun, turn, proxy
        self.now, self.random, self.failed = now, random.random, failed
        self.present, self.linked, self.signal = peers.present, peers.linked, signals.send
        self.reach = reach
        self.mail_received, self.mail_welcome = mailer.received, mailer.nudge
        self._peers, self._mailer, self._advertise = peers, mailer, advertise

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        await self._advertise(owner, addresses)

    def mail_finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        self._mailer.finished(peer, mail_id, state)
        self._peers.found(peer)  # the peer was there a moment ago
