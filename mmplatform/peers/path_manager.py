"""Keeps the best link to a peer in use: asks ``links/paths.py`` what to do, and when, and does it.

While a link is up, better ones are dialled in the background, one is kept warm, the rest are closed.
``link_monitor.py`` notices when the link in use no longer works.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Final

from mmplatform.directory.directory import Directory
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId
from mmplatform.links import link as links
from mmplatform.links import paths
from mmplatform.links.dialer import Dialer
from mmplatform.links.ended import disconnection
from mmplatform.links.link import Link
from mmplatform.links.paths import Candidate
from mmplatform.peers.link_monitor import LOOK, SILENT, SUSPECT_LOOK, LinkMonitor, PeerLinks
from mmplatform.peers.timers import Timers
from mmplatform.plugins.signalling import SignallingTransport

DRAIN: Final = 0.3  # seconds a link that was moved away from has to deliver what went out, beyond two round trips
WARM_LOOK: Final = 15.0  # seconds between two comparisons of links that are up
LIFETIME: Final = 3600.0  # seconds after which a link that is kept warm is made anew
SETTLED: Final = 0.02  # seconds a new link has for what it was made for, before better ones are dialled
PREPARE: Final = 0.2  # seconds in use after which a relayed link serves more than one message
STABLE: Final = 5.0  # seconds: a link that is lost sooner is not made again at once

BETTER: Final = "better"  # why another link is used: it is better
LOST: Final = "lost"  # why another link is used: the one in use was lost
REPLACED: Final = "replaced"  # why a link is closed: another one makes it needless
CLOSED: Final = "closed"  # why a link is closed: the application said so
RENEWED: Final = "renewed"  # why a link is closed: it is old


class PathManager:
    """Decides which link to ``peer`` is used, which is kept warm and what is dialled beside them.

    ``troubles`` says why addresses failed, by address; ``noted(address, reason)`` is called for each that is new.
    ``monitor`` watches the link in use.
    """

    def __init__(
        self,
        peer: PeerLinks,
        own: SignId,
        directory: Directory,
        dialer: Dialer,
        random: Callable[[], float],
        noted: Callable[[str, str], None],
    ) -> None:
        self.troubles: dict[str, str] = {}
        self.monitor = LinkMonitor(peer, self._rescue, self._plan_in)
        self._peer, self._own, self._directory, self._dialer = peer, own, directory, dialer
        self._noted = noted
        self._loop = asyncio.get_running_loop()
        self._retries = paths.Retries(random)
        self._draining: dict[Link, asyncio.TimerHandle] = {}
        self._needless: dict[Link, tuple[float, int]] = {}  # since when, with the frames that had come in
        self._timers = Timers()
        self._dialling: asyncio.Task[Any] | None = None
        self._addresses: tuple[str, ...] = ()
        self._moved = 0.0  # when the link in use was chosen
        self._single = 0  # the epoch of the peer that keeps one link only
        self._given_up: dict[tuple[int, str], tuple[int, float]] = {}  # kind of link -> how often, until when

    # What the peer tells.

    def chosen(self, link: Link) -> None:
        """Make better links: ``link`` is in use now."""
        self._moved = self._loop.time()
        self.monitor.chosen()
        for other in self._peer.links:
            other.keep(links.KEEPALIVE if other is link else links.SPARE_KEEPALIVE)
        self._forget_failures(link)
        self._plan_in(SETTLED)
        if link.relayed:
            self._timers.set("prepare", PREPARE, self._prepare)

    def joined(self, link: Link) -> None:
        """Compare ``link``, which is up, with the one in use."""
        self.monitor.links_changed()
        link.held_until = self._given_up.get(link.kind, (0, 0.0))[1]
        link.keep(links.SPARE_KEEPALIVE)
        self._forget_failures(link)
        self._plan()

    def lost(self, link: Link) -> None:
        """Forget ``link``, which is gone, whether it was in use or not."""
        self.monitor.lost(link)
        ended = disconnection(link.error)
        if ended.kind == CLOSED:
            self._retries.reset()  # whoever connects again wants the best link again, at once
        else:
            self._retries.ended(link.cost, self._loop.time() - link.opened >= STABLE, self._loop.time())
        self._needless.pop(link, None)
        others = self._peer.links
        if ended.by_peer and ended.kind == REPLACED and len(others) == 1 and others[0].kind != link.kind:
            self._single = link.epoch
        draining = self._draining.pop(link, None)
        if draining is not None:
            draining.cancel()
        active = self._peer.link
        if active is None or active is link:
            return
        if draining is not None:
            self._restart()
        elif link.frames_in:
            self._peer.exchange.ask_again()  # replies may have been lost with the link
        self._plan_in(0.0)

    def failed(self, address: str, reason: str) -> None:
        """Note that ``address`` was dialled in vain."""
        if self.troubles.get(address) != reason:
            self._noted(address, reason)
        self.troubles[address] = reason
        for candidate in self._dialer.candidates([address]):
            self._retries.failed(candidate, self._loop.time())

    def peer_may_have_moved(self) -> None:
        """Plan again: there is news of the peer, whose addresses may be others."""
        if self._peer.link is not None:
            self._plan_in(0.0)

    def network_changed(self) -> None:
        """Ask all links whether they are there, and plan again: our own addresses changed, so links may be dead without
        a word, and better ones possible."""
        self._retries.reset()
        self._given_up.clear()
        for link in self._peer.links:
            link.held_until = 0.0
            self.monitor.ask_if_alive(link)
        if self._peer.link is not None:
            self._plan_in(0.0)

    def stop(self) -> None:
        """Do nothing more: no link is up."""
        self.monitor.stop()
        self._timers.clear()
        for timer in self._draining.values():
            timer.cancel()
        self._draining.clear()
        self._needless.clear()
        if self._dialling is not None:
            self._dialling.cancel()

    async def close(self) -> None:
        """Stop, and end what is being dialled."""
        self.stop()
        if self._dialling is not None:
            await asyncio.gather(self._dialling, return_exceptions=True)

    # Moving.

    def drain(self, old: Link) -> None:
        """Let ``old``, which was moved away from, deliver what went out over it; send that again when it takes long."""
        if old in self._draining:
            self._draining[old].cancel()
        timer = self._draining[old] = self._loop.call_later(DRAIN + 2 * old.min_rtt, self._not_drained, old)
        old.ask().add_done_callback(partial(self._drained, old, timer))

    def _drained(self, old: Link, timer: asyncio.TimerHandle, answer: asyncio.Future[float]) -> None:
        if answered(answer) and self._draining.get(old) is timer:
            self._draining.pop(old).cancel()
            self._plan_in(0.0)  # ``old`` may be closed now

    def _not_drained(self, old: Link) -> None:
        del self._draining[old]
        self._restart()
        self._plan_in(0.0)

    def _forget_failures(self, link: Link) -> None:
        """Forget why addresses failed that would be no better than ``link``."""
        worse = {c.address for c in self._dialer.candidates(list(self.troubles)) if c.cost >= link.cost}
        for address in worse:
            del self.troubles[address]

    def _restart(self) -> None:
        active = self._peer.link
        if active is not None:
            self._peer.exchange.resume_over(active, [])

    # Planning.

    def _prepare(self) -> None:
        """Load what hole punching needs: either end may soon begin with it."""
        active = self._peer.link
        if active is None:
            return
        for candidate in paths.wanted(self.candidates(), self._peer.links, active):
            transport = self._dialer.transports[candidate.address.partition(":")[0]]
            if isinstance(transport, SignallingTransport):
                transport.prepare()

    def candidates(self) -> list[Candidate]:
        """The known addresses of the peer that can be dialled from here."""
        addresses = self._directory.addresses(self._peer.sign_id)
        if addresses != self._addresses:
            self._addresses = addresses
            self._retries.reset()
            self.troubles = {address: why for address, why in self.troubles.items() if address in addresses}
        return self._dialer.candidates(addresses)

    def _plan(self) -> None:
        """Look at all links: move, measure, close and dial; then set the time of the next look."""
        self._timers.cancel("plan")
        active, now = self._peer.link, self._loop.time()
        if active is None or not active.ready:
            return
        self.monitor.review_suspects(now)
        up = self._peer.links
        better = paths.best(up, active, now, self._moved)
        if better is not None and better is not active:
            if active.suspect_until > now:
                self._peer.use(better, [], SILENT)
            else:
                self._give_up(active, better, now)
                self._peer.move(better, BETTER)
            return  # use() and move() plan again
        again = [inf, *(link.suspect_until - now for link in up if now < link.suspect_until < inf)]
        if self.monitor.has_suspects:
            again.append(SUSPECT_LOOK)
        if len(up) > 1:
            self.monitor.sample(WARM_LOOK)
            again += [LOOK if any(map(paths.unproven, up)) else WARM_LOOK, self._prune(up, active, now)]
        again.append(self._improve(up, active, now))
        if min(again) < inf:
            self._plan_in(max(min(again), 0.01))

    def _give_up(self, link: Link, better: Link, now: float) -> None:
        """Leave ``link`` alone for a while, if a costlier one is used in its place: both may be good by turns."""
        if link.cost < better.cost:
            times = self._given_up.get(link.kind, (0, 0.0))[0] + 1
            link.held_until = now + paths.hold(times)
            self._given_up[link.kind] = (times, link.held_until)

    def _improve(self, up: list[Link], active: Link, now: float) -> float:
        """Dial candidates that may be better; the seconds until the next look at them."""
        ours = active.dialled or self._peer.known or active.relayed  # strangers are called back, no more
        if self._dialling is not None or not ours:
            return inf
        candidates = self.candidates()
        useful = paths.wanted(candidates, up, active, active.epoch == self._single)
        if not useful:
            return inf
        due = self._retries.due if active.dialled else self._in_turn(candidates, active)
        starts = paths.improving(useful, due, now)
        if starts:
            self._dial(starts)
            return inf
        return min(due(c) - now for c in useful)

    def _in_turn(self, candidates: list[Candidate], active: Link) -> Callable[[Candidate], float]:
        """Return when this side, which was dialled, may dial a candidate itself. Strangers are dialled back only if our
        own record already publishes a direct address; otherwise dialling would reveal ours."""
        known = self._peer.known
        if not known:
            candidates = [c for c in candidates if c.address not in self.troubles] if self._shown() else []
        turns = paths.turns(candidates, known, self._directory.reach(self._peer.sign_id))
        return lambda c: max(self._retries.due(c), active.opened + turns.get(c.address, inf))

    def _shown(self) -> bool:
        """Whether our own record publishes an address that is not a relay's."""
        record = self._directory.own_record
        own = self._dialer.candidates(record.connection_info) if record is not None else []
        return any(not c.relayed for c in own)

    def _prune(self, up: list[Link], active: Link, now: float) -> float:
        """Close links that are needless, once they are quiet; the seconds until the next look at them."""
        spare = paths.spare(up, active)
        if spare is not None and spare.dialled and now - spare.opened > LIFETIME and spare not in self._draining:
            spare.close(RENEWED)
        patience = paths.CLOSE_AFTER if self._own < self._peer.sign_id else paths.CLOSE_ANYWAY_AFTER
        needless = [link for link in paths.needless(up, active) if link not in self._draining]
        before, self._needless = self._needless, {}
        again = inf
        for link in needless:
            since, frames = before.get(link, (now, link.frames_in))
            if frames != link.frames_in:
                since, frames = now, link.frames_in
            if now - since >= patience:
                link.close(REPLACED)
                continue
            self._needless[link] = (since, frames)
            again = min(again, since + patience - now)
        return again

    def _dial(self, starts: Sequence[tuple[float, str]]) -> None:
        self._dialling = self._loop.create_task(self._race(starts), name=f"mm improve {self._peer.sign_id}")

    async def _race(self, starts: Sequence[tuple[float, str]]) -> None:
        try:
            link = await self._dialer.race(self._peer.sign_id, starts, self.failed)
        except MMError:
            pass  # ``failed`` has noted it
        else:
            self._retries.opened(link.dialled_at, self._loop.time())
        finally:
            self._dialling = None
        if self._peer.link is not None:
            self._plan_in(0.01)

    def _rescue(self, link: Link, also: bool) -> None:
        """Dial candidates of another cost than ``link``, which is silent; with ``also``, those of its cost, too."""
        if self._dialling is None and (self._peer.known or link.dialled):
            starts = paths.first([c for c in self.candidates() if also or c.cost != link.cost])
            if starts:
                self._dial(starts)

    def _plan_in(self, seconds: float) -> None:
        self._timers.set("plan", seconds, self._plan)


def answered(question: asyncio.Future[float]) -> bool:
    """Whether a :meth:`Link.ask`, which is over, was answered by the peer."""
    return not question.cancelled() and question.exception() is None
