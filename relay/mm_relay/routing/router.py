"""The router: passes live frames between peers that are here, elsewhere in the cluster, or at other relays.

Read :meth:`Router.receive` first. Traffic from one key to another is a flow (flows.py); forwarding.py passes its items
on. The router keeps no state per link: Open fixes the flow's egress, later frames follow it, answers return by the
ingress.

Another relay is not believed about peers that are signed in here. It can claim to speak for any other peer; that is
noise to sessions, which are end to end, and it moves no link of another peer (``Forwarding.arrives``).
"""

import logging
from collections.abc import Callable
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.ports import Cluster, Federation, RelaySession
from mm_relay.routing.flows import THERE, Attachment, Bounds, Flow, NullSession
from mm_relay.routing.forwarding import Forwarding
from mm_relay.routing.presence import PresenceLookup
from mm_relay.routing.watches import Watches
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import (
    Closed,
    Data,
    Declined,
    Ended,
    Forwardable,
    Forwarded,
    Item,
    MailWaiting,
    Open,
    Pause,
    Present,
    Resume,
    RoomAgain,
    Stored,
)
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import sign_id_of

FROM_PEERS: Final = frozenset({"closed", "unknown", "denied"})  # reasons that a peer may give for closing a link
NOWHERE: Final = frozenset({"absent", "gone", "unreachable"})  # reasons that say that a peer is not there
LOOKED_FOR_AGAIN: Final = 4096  # peers that are looked for when the processes of a cluster hear each other again
_RELAYED: Final = (
    Stored,
    Declined,
    RoomAgain,
    Ended,
    MailWaiting,
)  # what the relay itself may say by way of another process

log = logging.getLogger("mm_relay.routing")


class Router:
    """The router of the relay with ``key``."""

    def __init__(
        self,
        key: bytes,
        federation: Federation | None,
        cluster: Cluster | None,
        metrics: Metrics,
        bounds: Bounds | None = None,
    ) -> None:
        self._key, self._federation, self._cluster, self._metrics = key, federation, cluster, metrics
        self._forwarding = Forwarding(metrics, bounds or Bounds())
        self._watches = Watches()
        self._presence: PresenceLookup | None = None
        if cluster is not None:
            self._presence = PresenceLookup(cluster, self._forwarding, self._is_absent, self._tell_present)
        self._own = Attachment(NullSession(), "own")  # the ingress of what the relay says itself
        self._here: dict[bytes, Attachment] = {}  # peers
        self._attachments: dict[RelaySession, Attachment] = {}  # peers, relays and federation links
        self._signed_in: list[Callable[[RelaySession], None]] = []
        self._signed_out: list[Callable[[RelaySession], None]] = []
        self._nudged: Callable[[Forwarded], None] = lambda forwarded: None

    def on_sign_in(self, signed_in: Callable[[RelaySession], None], signed_out: Callable[[RelaySession], None]) -> None:
        """Call these with every session that begins and ends, each once; a displaced one ends first."""
        self._signed_in.append(signed_in)
        self._signed_out.append(signed_out)

    def on_nudge(self, nudged: Callable[[Forwarded], None]) -> None:
        """Call ``nudged`` with each MailWaiting that another process sends."""
        self._nudged = nudged

    async def open(self) -> None:
        """Join the cluster. Raises StorageError."""
        if self._cluster is not None:
            self._cluster.on_back(self._back)
            await self._cluster.open(self._from_process, self._displaced)

    async def close(self) -> None:
        if self._presence is not None:
            await self._presence.close()

    # Who is here.

    def sign_in(self, session: RelaySession) -> None:
        """Begin a session: the newest of a peer displaces the one before; a relay may have several."""
        if session in self._attachments:
            return
        attachment = Attachment(session)
        if attachment.is_peer:
            self._displace(session.key, attachment)
        self._attachments[session] = attachment
        if attachment.is_peer:
            self._tell_present(session.key)
            if self._presence is not None:
                self._presence.here(session.key, attachment)
            if self._cluster is not None:
                self._cluster.here(session.key)
                self._cluster.publish(Forwarded(session.key, self._key, Present(session.key)))
        for callback in self._signed_in:
            callback(session)

    def sign_out(self, session: RelaySession) -> None:
        """End a session or a federation link; does nothing when a newer one has displaced it."""
        attachment = self._attachments.get(session)
        if attachment is None:
            return
        if attachment.is_peer:
            del self._here[session.key]
            if self._cluster is not None:
                self._cluster.gone(session.key)
        self._end(attachment)

    def present(self, key: bytes) -> bool:
        """Whether a peer is here, or known to be in the cluster."""
        return key in self._here or (self._presence is not None and self._presence.place(key) != "")

    def tell(self, key: bytes, item: Item) -> bool:
        """Tell a peer an item of the relay's own, here or in the cluster; return False when it is certainly absent."""
        attachment = self._here.get(key)
        if attachment is not None:
            if not isinstance(item, MailWaiting):
                self._forwarding.note(attachment, item)
            return True
        if self._presence is None or not isinstance(item, _RELAYED):
            return False
        place = self._presence.attachment(key)
        if place is None:
            return False
        if place.is_null:
            self._forwarding.send(self._forwarding.find(self._own, self._key, key, place), item)
        else:
            self._forwarding.say(place, self._key, key, item)
        return True

    # What they say.

    def receive(self, session: RelaySession, item: Item) -> None:
        """Handle a live item, which belongs to the router from now on. Raises ProtocolError to end the session."""
        attachment = self._attachments.get(session)
        if attachment is None:
            self._metrics.dropped["late"] += 1  # displaced, or signed out
        elif type(item) is Data and attachment.is_peer:
            flow = attachment.flows.get(item.peer)
            if flow is None or attachment.by_link:
                self._frame(attachment, attachment.key, item.peer, item)
                return
            item.peer = attachment.key
            self._forwarding.send(flow, item)
        elif attachment.is_peer:
            self._peer_said(attachment, item)
        elif type(item) is Forwarded:
            self._forwarded(attachment, item)
        else:
            raise ProtocolError("bad-item", f"{type(item).__name__} from a relay")

    def writable(self, session: RelaySession) -> None:
        """Send what waits for ``session``, which was full and is no more."""
        attachment = self._attachments.get(session)
        if attachment is not None:
            self._forwarding.drain(attachment)

    def _peer_said(self, attachment: Attachment, item: Item) -> None:
        match item:
            case Open():
                self._open(attachment, attachment.key, item.peer, item)
            case Closed():
                if item.reason not in FROM_PEERS:
                    item.reason = "closed"
                self._frame(attachment, attachment.key, item.peer, item)
            case Pause() | Resume():
                self._metrics.dropped["forbidden"] += 1  # only the relay may say so
            case _:
                raise ProtocolError("bad-item", f"{type(item).__name__} from a peer")

    def _open(self, attachment: Attachment, source: bytes, target: bytes, item: Open) -> None:
        if target == source or target == self._key:
            self._refuse(attachment, source, target, item.link, "denied")
            return
        key = attachment.key_to(source, target)
        usual = attachment.flows.get(key)
        if usual is not None and usual.egress.process and self._presence is not None and not usual.paused & THERE:
            self._presence.lost(target)  # dialled again: perhaps the peer is no longer there
        via = item.via if attachment.is_peer and relay_key(item.via) != self._key else ""
        egress = self._way(attachment, target, via)
        if egress is None:
            self._refuse(attachment, source, target, item.link, "unreachable" if via else "absent")
            return
        if usual is not None and usual.egress.process and usual.egress is not egress and _proven(egress):
            self._forwarding.reroute(usual, egress)
        way = usual.egress if usual is not None else attachment.heard.get(key)
        if way is None or way is egress:
            flow = usual or self._forwarding.flow(attachment, source, target, egress)
        else:
            flow = self._forwarding.detour(attachment, key, item.link, egress, attachment, (source, target))
        flow.chosen = attachment.is_peer
        if not egress.is_null:
            self._forwarding.arrives(flow, item.link)
        item.peer, item.via = source, ""
        self._forwarding.send(flow, item)

    def _way(self, attachment: Attachment, target: bytes, via: str) -> Attachment | None:
        """Return the attachment by which a new link leaves; what other processes bring is for peers here only."""
        here = self._here.get(target)
        if here is not None or attachment.process:
            return here
        if via:
            return self._federation_link(via, attachment.session.place)
        return self._presence.attachment(target) if self._presence is not None else None

    def _frame(self, attachment: Attachment, source: bytes, target: bytes, item: Data | Closed) -> None:
        """Pass on what follows an Open, or answers one."""
        key = attachment.key_to(source, target)
        detour = attachment.by_link.get((key, item.link)) if attachment.by_link else None
        flow = detour[0] if detour is not None else attachment.flows.get(key)
        if flow is None:
            egress = attachment.heard.get(key) or self._here.get(target)
            if egress is None and self._presence is not None and not attachment.process and type(item) is Data:
                egress = self._presence.attachment(target)
            if egress is None or target == source:
                if type(item) is Data:
                    self._refuse(attachment, source, target, item.link, "gone")
                return
            flow = self._forwarding.flow(attachment, source, target, egress)
        item.peer = source
        self._forwarding.send(flow, item)
        if detour is not None and type(item) is Closed:
            self._forwarding.straighten(attachment, key, item.link)

    def _refuse(self, attachment: Attachment, source: bytes, target: bytes, link: int, reason: str) -> None:
        self._metrics.dropped[reason] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("a link of %s to %s is refused: %s", sign_id_of(source), sign_id_of(target), reason)
        self._forwarding.say(attachment, target, source, Closed(target, link, reason))
        if reason == "absent" and not attachment.process:
            self._watch(attachment, source, target)

    def _watch(self, attachment: Attachment, source: bytes, target: bytes) -> None:
        if self.present(target):  # the target has come meanwhile
            self._forwarding.say(attachment, target, source, Present(target))
        else:
            self._watches.add(attachment, source, target)

    # Other relays and processes.

    def _forwarded(self, attachment: Attachment, forwarded: Forwarded) -> None:
        source, target, inner = forwarded.source, forwarded.target, forwarded.inner
        if not attachment.process and (source in self._here or source == self._key):
            self._metrics.dropped["forged"] += 1
            return
        match inner:
            case Data():
                self._frame(attachment, source, target, inner)
            case Open():
                self._open(attachment, source, target, inner)
            case Closed():
                self._far_closed(attachment, source, target, inner)
            case Pause():
                if flow := self._leaving(attachment, target, source):
                    self._forwarding.pause(flow, THERE)
            case Resume():
                if flow := self._leaving(attachment, target, source):
                    self._forwarding.resume(flow, THERE)
            case Present():
                self._far_present(attachment, source, target)
            case _:
                self._own_said(attachment, forwarded, inner)

    def _leaving(self, attachment: Attachment, source: bytes, target: bytes) -> Flow | None:
        """Return the flow from ``source`` to ``target`` that leaves by ``attachment``, or None."""
        ingress = self._here.get(source) or attachment.heard.get(attachment.key_to(target, source))
        return attachment.incoming.get((ingress, source, target)) if ingress is not None else None

    def _far_closed(self, attachment: Attachment, source: bytes, target: bytes, item: Closed) -> None:
        """Handle Closed of another relay or process; it may end only links that lead there."""
        back = self._leaving(attachment, target, source)
        asker = back.ingress if back is not None else self._here.get(target)
        if item.link and item.reason == "absent" and asker is not None:
            self._forwarding.say(asker, source, target, item)  # no frame precedes it, and Present may follow
        elif item.link:
            self._frame(attachment, source, target, item)
        elif flow := attachment.flows.get((source, target)):
            self._forwarding.end_links(flow, item.reason)
        elif back is not None and self._forwarding.decides(back):
            self._forwarding.say(back.ingress, source, target, item)
        else:
            self._metrics.dropped["stray"] += 1
            return
        if item.reason in NOWHERE:
            self._not_there(attachment, source, target, item, back)

    def _not_there(self, attachment: Attachment, source: bytes, target: bytes, item: Closed, back: Flow | None) -> None:
        if attachment.process and self._presence is not None:
            self._presence.lost(source, attachment.process)
        asker = back.ingress if back is not None else self._here.get(target)
        if attachment.process and item.reason == "absent" and asker is not None:
            self._watch(asker, target, source)
        if back is not None:
            self._forwarding.forget(back)
        if item.link == 0 and (flow := attachment.flows.get((source, target))):
            self._forwarding.part(flow)

    def _far_present(self, attachment: Attachment, source: bytes, target: bytes) -> None:
        here = self._here.get(target)
        if attachment.process and target == source == self._key:
            self._look_again()
        elif attachment.process and target == self._key and self._presence is not None:
            self._presence.found(source, attachment.process)
            self._tell_present(source)
        elif here is not None:
            self._forwarding.say(here, source, target, Present(source))

    def _own_said(self, attachment: Attachment, forwarded: Forwarded, inner: Forwardable) -> None:
        here = self._here.get(forwarded.target)
        if not attachment.process or forwarded.source != self._key:
            self._metrics.dropped["forbidden"] += 1
        elif isinstance(inner, MailWaiting):
            self._nudged(forwarded)
        elif here is not None:
            self._forwarding.note(here, inner)

    def _from_process(self, name: str, forwarded: Forwarded) -> None:
        if self._presence is not None:
            self._forwarded(self._presence.process(name), forwarded)

    def _federation_link(self, address: str, place: bytes) -> Attachment | None:
        session = self._federation.link(address, place) if self._federation is not None else None
        if session is None:
            return None
        attachment = self._attachments.get(session)
        if attachment is None:
            attachment = self._attachments[session] = Attachment(session)
            attachment.is_federation_link = True
        return attachment

    # Coming and going.

    def _back(self) -> None:
        """Tell the other processes that this one hears them again; and look for whom is waited for, as they do."""
        if self._cluster is not None:
            self._cluster.publish(Forwarded(self._key, self._key, Present(self._key)))
        self._look_again()

    def _look_again(self) -> None:
        """Look for peers that are waited for: they may have been absent because their process was not heard."""
        if self._presence is not None:
            for target in self._watches.targets(LOOKED_FOR_AGAIN):
                self._presence.attachment(target)

    def _tell_present(self, key: bytes) -> None:
        for attachment, source in self._watches.take(key):
            self._forwarding.say(attachment, key, source, Present(key))

    def _is_absent(self, flow: Flow, reason: str) -> None:
        """Refuse the links whose first items waited while their target, which is nowhere, was looked up."""
        links = {item.link: item for item in reversed(flow.items) if isinstance(item, (Open, Data))}
        self._forwarding.forget(flow)
        if flow.ingress is self._own:
            return
        for link, item in links.items():
            word = reason if isinstance(item, Open) else "gone"
            self._refuse(flow.ingress, flow.source, flow.target, link, word)

    def _displace(self, key: bytes, newer: Attachment | None) -> None:
        older = self._here.pop(key, None)
        if newer is not None:
            self._here[key] = newer
        if older is not None:
            self._end(older)
            older.session.end("taken-over")

    def _displaced(self, key: bytes) -> None:
        """End the session of ``key``, which has signed in at another process."""
        self._displace(key, None)

    def _end(self, attachment: Attachment) -> None:
        del self._attachments[attachment.session]
        self._watches.leave(attachment)
        self._forwarding.leave(attachment, "unreachable" if attachment.is_federation_link else "gone")
        if not attachment.is_federation_link:
            for callback in self._signed_out:
                callback(attachment.session)


def _proven(attachment: Attachment) -> bool:
    """Whether the peer itself, or the cluster, says that the peer is there."""
    return attachment.is_peer or attachment.process != ""
