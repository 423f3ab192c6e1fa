"""Notices that the link in use has fallen silent, and leaves it for another one.

A link is watched only while something on it wants an answer: an idle peer costs no timer.
"""

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from mmplatform.delivery.wire import Ack
from mmplatform.identity.keys import SignId
from mmplatform.links import link as links
from mmplatform.links import paths
from mmplatform.links.link import Link
from mmplatform.peers import liveness
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.liveness import FailureDetector, quarantine
from mmplatform.peers.timers import Timers

LOOK: Final = 0.2  # seconds between two looks at a link that owes an answer
ANSWER: Final = 1.0  # seconds a link has to answer that it is there; four round trips when those take longer
SAMPLE: Final = 1.0  # seconds between two measurements of all links, while something on them wants an answer
SUSPECT_LOOK: Final = 1.0  # seconds between two questions to a link that fell silent

SILENT: Final = "silent"  # why another link is used

log = logging.getLogger("mmplatform.peers")


class PeerLinks(Protocol):
    """The links to one peer."""

    sign_id: SignId
    exchange: Exchange

    @property
    def known(self) -> bool: ...

    @property
    def link(self) -> Link | None:
        """The link in use."""
        ...

    @property
    def links(self) -> list[Link]:
        """All links that are up."""
        ...

    def use(self, link: Link, acks: list[Ack], why: str) -> None:
        """Go on over ``link``: what is not acknowledged is sent again."""

    def move(self, link: Link, why: str) -> None:
        """Go on over ``link``, while the old link delivers what went out over it."""


class LinkMonitor:
    """Watches the link in use with ``peer``.

    ``rescue(link, also)`` is called when ``link`` is silent and no other one is up: it dials candidates unlike
    ``link``, and with ``also`` those like ``link``. ``replan(seconds)`` asks for another look at all links.
    """

    def __init__(self, peer: PeerLinks, rescue: Callable[[Link, bool], None], replan: Callable[[float], None]) -> None:
        self.incoming: Link | None = None  # the link that the last frame came in over
        self._peer, self._rescue, self._replan = peer, rescue, replan
        self._loop = asyncio.get_running_loop()
        self._detector = FailureDetector()
        self._failures: dict[tuple[int, str], int] = {}  # how often links of each kind fell silent
        self._suspects: dict[Link, int] = {}  # silent links, with the bytes that had come in over each
        self._confirmed = -1  # frames_awaiting_reply of the link in use when it was last asked whether all has come
        self._sampled = 0.0  # when all links were last measured
        self._timers = Timers()

    @property
    def has_suspects(self) -> bool:
        """Whether a link that fell silent has not been heard since."""
        return bool(self._suspects)

    def chosen(self) -> None:
        """Watch from the beginning: another link is in use."""
        self.links_changed()
        self._confirmed = -1

    def links_changed(self) -> None:
        """Count anew: a link came or went, so the bytes counted over other links cannot be compared any more."""
        self._detector = FailureDetector()

    def lost(self, link: Link) -> None:
        """Forget ``link``, which is gone."""
        self.links_changed()
        self._suspects.pop(link, None)

    def request_sent(self) -> None:
        """Watch the link in use: something that wants an answer went out."""
        self._peer.exchange.watched = True
        self._timers.set("look", LOOK, self._look)

    def frame_arrived(self, link: Link, announced: bool) -> None:
        """Watch the link in use, and ask again: a frame came in over a link that is not in use here, or not over the
        link of the last frame, or the peer ``announced`` that it goes on over ``link``. The peer may have left a dead
        link, and replies may have been lost before it did."""
        active = self._peer.link
        if active is not None and active is not link:
            active.owes_answer = True
            if not self._peer.exchange.watched:
                self.request_sent()
        if announced or link is not self.incoming:
            self.incoming = link
            if "ask" not in self._timers and self._peer.exchange.pending.unanswered:
                self._timers.set("ask", LOOK, self._ask_again)

    def ask_if_alive(self, link: Link) -> None:
        """Ask ``link`` whether it is there; suspect it if no answer comes and it is in use."""
        self._loop.call_later(max(ANSWER, 4 * link.min_rtt, 2 * link.trips.p95), self._no_answer, link, ask(link))

    def review_suspects(self, now: float) -> None:
        """Let links that were heard again be used again, after a while; ask the others whether they are there."""
        for link, bytes_in in list(self._suspects.items()):
            if link.bytes_in != bytes_in:
                del self._suspects[link]
                link.suspect_until = now + quarantine(self._failures[link.kind])
            else:
                ask(link)

    def sample(self, every: float) -> None:
        """Measure all links, unless that was done ``every`` seconds ago, and compare them soon.

        Long ways that are hardly known are measured at each look.
        """
        up, now = self._peer.links, self._loop.time()
        if len(up) > 1 and now - self._sampled >= (LOOK if any(map(paths.unproven, up)) else every):
            self._sampled = now
            for link in up:
                ask(link)
            self._replan(SAMPLE)

    def stop(self) -> None:
        """Watch nothing: no link is up."""
        self._timers.clear()
        self._suspects.clear()
        self.incoming = None
        self._peer.exchange.watched = False

    def _look(self) -> None:
        active = self._peer.link
        if active is None:
            self._peer.exchange.watched = False
            return
        self.sample(SAMPLE)
        others_in = sum(link.bytes_in for link in self._peer.links if link is not active)
        verdict = self._detector.look(
            self._loop.time(), active.bytes_in, active.bytes_out, active.owes_answer, others_in, active.trips.p95
        )
        if verdict == liveness.IDLE and not self._must_ask_again(active):
            self._peer.exchange.watched = False
            return
        if verdict == liveness.PROBE:
            for link in self._peer.links:
                ask(link)
        elif verdict == liveness.SWITCH:
            self._suspect(active)
        elif verdict == liveness.DIAL:
            self._rescue(active, False)
        self._timers.set("look", LOOK, self._look)

    def _must_ask_again(self, active: Link) -> bool:
        """Ask once whether all has come, as long as something is not acknowledged: the last frame that came in may have
        left the peer before our last frame arrived there."""
        exchange = self._peer.exchange
        if active.frames_awaiting_reply == self._confirmed or (
            exchange.queue.empty and not exchange.pending.unanswered
        ):
            return False
        self._confirmed = active.frames_awaiting_reply
        ask(active)
        active.owes_answer = True
        return True

    def _suspect(self, link: Link) -> None:
        """Leave a silent link: use another one, if there is, else dial."""
        peer = self._peer.sign_id
        log.debug("link %d with %s is silent", link.id, peer, extra={"link": link.id, "peer": peer})
        self._failures[link.kind] = self._failures.get(link.kind, 0) + 1
        link.suspect_until, self._suspects[link] = inf, link.bytes_in
        other = paths.best([other for other in self._peer.links if other is not link], None, self._loop.time())
        if other is not None:
            self._peer.use(other, [], SILENT)
            link.keep(links.KEEPALIVE)
        else:
            self._rescue(link, True)
            self._replan(SUSPECT_LOOK)

    def _no_answer(self, link: Link, answer: asyncio.Future[float]) -> None:
        if link.ready and not answer.done() and link is self._peer.link:
            self._suspect(link)

    def _ask_again(self) -> None:
        if self._peer.link is not None:
            self._peer.exchange.ask_again()


def ask(link: Link) -> asyncio.Future[float]:
    """Ask ``link`` whether it is there; nobody need look at the answer."""
    answer = link.ask()
    answer.add_done_callback(_seen)
    return answer


def _seen(answer: asyncio.Future[float]) -> None:
    if not answer.cancelled():
        answer.exception()
