"""Passes items on: straight to their session, or by a queue; with pauses, overflows and goodbyes.

This file knows flows and attachments; the router (router.py) knows who is where.
"""

import logging
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.routing.flows import HERE, THERE, Attachment, Bounds, Flow, Key, NullSession, Queues
from mm_transports.relay.protocol.items import Closed, Data, Forwardable, Forwarded, Item, Open, Pause, Resume
from mmplatform.identity.keys import sign_id_of

MAX_UNREAD: Final = 1024  # items of the relay's own that a connection may leave unread; one more ends it
MAX_FLOWS: Final = 1024  # flows of a peer; beyond, the oldest idle one is forgotten, and its target hears no "gone"
MAX_FORWARDED: Final = 16_384  # flows of another relay: the routes learned from it
MAX_OF_PROCESS: Final = 262_144  # flows of a process of the cluster
FEW_LINKS: Final = 16  # links that are closed one by one; more are closed all at once
MAX_DETOURS: Final = 1024  # links that take another way because of one attachment

log = logging.getLogger("mm_relay.routing")


class Forwarding:
    """The flows of one router, and how items pass over them."""

    def __init__(self, metrics: Metrics, bounds: Bounds) -> None:
        self._metrics = metrics
        self._queues = Queues(bounds)
        self._left = Attachment(NullSession(), "left")  # the ingress of items whose source has left

    # Items.

    def send(self, flow: Flow, item: Forwardable) -> None:
        """Pass an item on, behind all earlier ones of its flow."""
        egress = flow.egress
        if egress.active or egress.session.full:
            self._queue(flow, item)
        else:
            self._tell(flow, item)

    def say(self, attachment: Attachment, about: bytes, to: bytes, item: Forwardable) -> None:
        """Tell an attachment an item of the relay's own, past all queues: from ``about`` to ``to``."""
        self.note(attachment, item if attachment.is_peer else Forwarded(about, to, item))

    def note(self, attachment: Attachment, item: Item) -> None:
        """Tell an attachment an item as it is, past all queues; end a connection that leaves too many unread."""
        if attachment.over or attachment.is_null:
            return
        if attachment.session.full:
            attachment.unread += 1
            if attachment.unread > MAX_UNREAD:
                self._metrics.dropped["unread"] += 1
                if attachment.unread == MAX_UNREAD + 1:
                    attachment.session.end("slow")
                return
        attachment.session.tell(item)

    def drain(self, attachment: Attachment) -> None:
        """Send what waits for an attachment whose connection is writable, flow by flow, until it is full again."""
        attachment.unread = 0
        session, active, queues = attachment.session, attachment.active, self._queues
        while active and not session.full:
            flow, item = queues.take(attachment)
            self._tell(flow, item)
            if flow.paused & HERE and flow.size <= flow.resume_at:
                self.resume(flow, HERE)
            if not flow.items and not flow.uses:
                self._detach(flow)
        self._gauge()

    def pause(self, flow: Flow, who: int) -> None:
        """Tell the source of a flow to write no more, until each ``who`` that asked for a pause has ended it."""
        if not self.decides(flow):
            return
        if not flow.paused:
            self._answer(flow, Pause(flow.target))
        flow.paused |= who
        if who == HERE:
            flow.resume_at = min(flow.size, self._queues.bounds.pause) // 4

    def resume(self, flow: Flow, who: int) -> None:
        was, flow.paused = flow.paused, flow.paused & ~who
        if was and not flow.paused:
            self._answer(flow, Resume(flow.target))

    # Flows.

    def flow(self, attachment: Attachment, source: bytes, target: bytes, egress: Attachment) -> Flow:
        """Return the flow that ``attachment`` brings from ``source`` to ``target``; it leaves by ``egress``."""
        flow = self.find(attachment, source, target, egress)
        key = attachment.key_to(source, target)
        if key not in attachment.flows:
            self._make_room(attachment)
            attachment.flows[key] = flow
            flow.uses += 1
        return flow

    def find(self, attachment: Attachment, source: bytes, target: bytes, egress: Attachment) -> Flow:
        """Return the one flow of these four, with what its source said before it left and came back, in order."""
        flow = egress.incoming.get((attachment, source, target))
        if flow is None:
            flow = egress.incoming.get((self._left, source, target))
            if flow is not None:
                self._queues.move(flow, attachment, egress)
            else:
                flow = Flow(source, target, attachment, egress)
                egress.incoming[attachment, source, target] = flow
        return flow

    def reroute(self, flow: Flow, egress: Attachment) -> None:
        """Let a flow leave by another egress from now on, with its waiting items."""
        self._unhear(flow)
        self._queues.move(flow, flow.ingress, egress)
        self.resume(flow, THERE)  # the old egress will not resume it any more
        if not egress.is_null:
            for item in flow.items:
                if isinstance(item, Open):
                    self.arrives(flow, item.link)
            self.drain(egress)

    def detour(
        self,
        attachment: Attachment,
        key: Key,
        link: int,
        egress: Attachment,
        cause: Attachment,
        ends: tuple[bytes, bytes],
    ) -> Flow:
        """Let one link of ``attachment`` leave by ``egress``, because of ``cause``; ``ends`` are source and target."""
        self.straighten(attachment, key, link)
        while len(cause.detours) >= MAX_DETOURS:
            other, (its_key, its_link) = next(iter(cause.detours))
            self.straighten(other, its_key, its_link)
        flow = self.find(attachment, *ends, egress)
        flow.uses += 1
        attachment.by_link[key, link] = flow, cause
        cause.detours[attachment, (key, link)] = None
        usual = attachment.flows.get(key)
        if usual is not None and usual.paused and not self.decides(usual):
            self.resume(usual, usual.paused)
        return flow

    def decides(self, flow: Flow) -> bool:
        """Whether the far side of a flow may stop, or end, all links between its ends.

        It may when the source chose the flow, the target is proven to be there, or there is no other way; otherwise a
        relay that falsely claims to speak for the target could.
        """
        ingress, egress = flow.ingress, flow.egress
        if flow.chosen or egress.is_peer or egress.process:
            return True
        return self._only(ingress, ingress.key_to(flow.source, flow.target), egress)

    def end_links(self, flow: Flow, reason: str) -> None:
        """Tell the target of a flow, whose source is gone, that the links that went this way are over."""
        ingress, egress = flow.ingress, flow.egress
        key = egress.key_to(flow.target, flow.source)
        back = ingress.incoming.get((egress, flow.target, flow.source))
        if ingress.is_peer or ingress.process or (back is not None and back.chosen) or self._only(egress, key, ingress):
            self.send(flow, Closed(flow.source, 0, reason))
            return
        for (its_key, link), (its_pair, _) in list(egress.by_link.items()):
            if its_key == key and its_pair is back:
                self.send(flow, Closed(flow.source, link, reason))

    def _only(self, attachment: Attachment, key: Key, way: Attachment) -> bool:
        """Whether all that ``attachment`` says to ``key`` leaves by one session, or by others of the same relay."""
        usual = attachment.flows.get(key)
        egress = usual.egress if usual is not None else attachment.heard.get(key, way)
        return egress.key == way.key and all(
            its_key != key or flow.egress.key == way.key for (its_key, _), (flow, _) in attachment.by_link.items()
        )

    def straighten(self, attachment: Attachment, key: Key, link: int) -> None:
        """End the detour of a link that is over, or that takes the way of the others now."""
        flow, cause = attachment.by_link.pop((key, link), (None, attachment))
        if flow is not None:
            del cause.detours[attachment, (key, link)]
            flow.uses -= 1
            if not flow.uses and not flow.items:
                self._detach(flow)

    def arrives(self, flow: Flow, link: int) -> None:
        """Prepare the way back of a link that is opened over ``flow``: answers return the way the link came.

        No other link changes its way because of it, as a relay can claim to speak for anybody.
        """
        egress, ingress = flow.egress, flow.ingress
        back = egress.key_to(flow.target, flow.source)
        known = egress.flows.get(back)
        way = known.egress if known is not None else egress.heard.setdefault(back, ingress)
        if way is ingress:
            return
        if way.process and ingress.process:  # the peer has moved within the cluster, which is trusted
            self._moved(flow, way, known, back)
        else:
            self.detour(egress, back, link, ingress, ingress, (flow.target, flow.source))

    def forget(self, flow: Flow) -> None:
        """Drop a flow with its waiting items; its source may write again."""
        self._queues.clear(flow)
        self.resume(flow, flow.paused)
        self._disuse(flow)
        self._detach(flow)
        self._gauge()

    def close(self, flow: Flow, reason: str) -> None:
        """Forget a flow and tell its source that its links are over."""
        decides = self.decides(flow)
        self.forget(flow)
        if decides:
            self.say(flow.ingress, flow.target, flow.source, Closed(flow.target, 0, reason))

    def leave(self, attachment: Attachment, reason: str) -> None:
        """Take out an attachment that has ended; its correspondents are told, behind the last frames it sent."""
        attachment.over = True
        own = dict.fromkeys([*attachment.flows.values(), *(flow for flow, _ in attachment.by_link.values())])
        for flow in list(attachment.incoming.values()):
            if flow.uses and not flow.ingress.is_null:
                own[self.find(attachment, flow.target, flow.source, flow.ingress)] = None
        for flow in own:
            if not flow.egress.is_null:
                self.end_links(flow, reason)
        for flow in list(attachment.incoming.values()):
            self.forget(flow)
        for other, (key, link) in list(attachment.detours):
            self.straighten(other, key, link)
        for key, link in list(attachment.by_link):
            self.straighten(attachment, key, link)
        for flow in own:
            self.part(flow)
        attachment.heard.clear()

    def part(self, flow: Flow) -> None:
        """Take the source, which has left, out of a flow; its waiting items still go out."""
        self._disuse(flow)
        egress, flow.paused = flow.egress, 0
        if not flow.items or egress.is_null or (self._left, flow.source, flow.target) in egress.incoming:
            self._queues.clear(flow)
            self._detach(flow)
            self._gauge()
        else:
            self._unhear(flow)
            self._queues.move(flow, self._left, egress)

    def _disuse(self, flow: Flow) -> None:
        ingress, key = flow.ingress, flow.ingress.key_to(flow.source, flow.target)
        if ingress.flows.get(key) is flow:
            del ingress.flows[key]
            flow.uses -= 1
        if flow.uses:
            for its_key, link in [each for each, (its_pair, _) in ingress.by_link.items() if its_pair is flow]:
                self.straighten(ingress, its_key, link)

    def _moved(self, flow: Flow, way: Attachment, known: Flow | None, back: Key) -> None:
        old = way.flows.get(way.key_to(flow.source, flow.target))
        if old is not None:
            self.forget(old)
        flow.egress.heard[back] = flow.ingress
        if not way.is_null:
            self.send(flow, Closed(flow.source, 0, "gone"))  # ends the links from before the move
        if known is not None:
            self.resume(known, known.paused)
            self.reroute(known, flow.ingress)

    def _make_room(self, attachment: Attachment) -> None:
        if len(attachment.flows) < (
            MAX_OF_PROCESS if attachment.process else MAX_FLOWS if attachment.is_peer else MAX_FORWARDED
        ):
            return
        idle = next((flow for flow in attachment.flows.values() if not flow.items), None)
        if idle is not None:
            self.forget(idle)
        else:
            self.close(next(iter(attachment.flows.values())), "overflow")

    def _detach(self, flow: Flow) -> None:
        self._unhear(flow)
        flow.egress.incoming.pop((flow.ingress, flow.source, flow.target), None)

    def _unhear(self, flow: Flow) -> None:
        egress, back = flow.egress, flow.egress.key_to(flow.target, flow.source)
        if egress.heard.get(back) is flow.ingress:
            del egress.heard[back]

    # Queues.

    def _tell(self, flow: Flow, item: Forwardable) -> None:
        if isinstance(item, (Data, Open)):
            self._metrics.frames += 1
            self._metrics.frame_bytes += len(item.data)
        flow.egress.session.tell(flow.wrap(item))

    def _queue(self, flow: Flow, item: Forwardable) -> None:
        for each in self._queues.put(flow, item):
            self._overflow(each)
        if flow.items and not flow.paused & HERE and self._queues.crowded(flow):
            self.pause(flow, HERE)
        self._gauge()

    def _overflow(self, flow: Flow) -> None:
        """Drop the items of a flow whose source ignored the pause, and end the links that lost some."""
        dropped = self._queues.clear(flow)
        if log.isEnabledFor(logging.DEBUG):
            text = "%s does not take what %s sends: %d items are dropped, and their links end"
            log.debug(text, sign_id_of(flow.target), sign_id_of(flow.source), len(dropped))
        self._metrics.dropped["overflow"] += len(dropped)
        self.resume(flow, flow.paused)
        links = list({item.link: None for item in dropped if isinstance(item, (Open, Data, Closed))})
        if len(links) > FEW_LINKS:
            links = [0] if self.decides(flow) else links[:FEW_LINKS]
        for link in links:
            self._answer(flow, Closed(flow.target, link, "overflow"))
            self._queues.put(flow, Closed(flow.source, link, "overflow"))

    def _answer(self, flow: Flow, item: Forwardable) -> None:
        """Tell the source an item, in the name of the target."""
        if flow.uses:
            self.say(flow.ingress, flow.target, flow.source, item)

    def _gauge(self) -> None:
        self._metrics.queued_frames, self._metrics.queued_bytes = self._queues.count, self._queues.size
