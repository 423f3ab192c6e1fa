"""Keeps the best path to a peer in use: what ``paths.py`` decides is looked up, timed and done here.

While a link is up, better ones are dialled in the background, one is kept warm, the rest is closed; the link in use is
watched while something is outstanding, and left when it falls silent and another one does not.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Final, Protocol

from mmplatform.delivery.wire import Ack
from mmplatform.directory.directory import Directory
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId
from mmplatform.links import link as links
from mmplatform.links import paths
from mmplatform.links.dialer import Dialer
from mmplatform.links.link import Link
from mmplatform.links.paths import Candidate
from mmplatform.peers import liveness
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.liveness import FailureDetector, quarantine

LOOK: Final = 0.2  # seconds between two looks at a link that owes an answer
DRAIN: Final = 0.3  # seconds a link that was moved away from has to deliver what went out, beyond two round trips
ANSWER: Final = 1.0  # seconds a link has to say that it is there, or four round trips
DOUBTED_LOOK: Final = 1.0  # seconds between two questions to a link that fell silent
WARM_LOOK: Final = 15.0  # seconds between two comparisons of links that are up
LIFETIME: Final = 3600.0  # seconds after which a link that is kept warm is made anew
SETTLED: Final = 0.02  # seconds a link has for what it was made for, before others are thought of
PREPARE: Final = 0.2  # seconds after which a link over a relay is there for more than one message
STABLE: Final = 5.0  # a link that was lost sooner is not made again at once

BETTER: Final = "better"  # why another link is used
LOST: Final = "lost"
SILENT: Final = "silent"
REPLACED: Final = "replaced"  # reasons for closing a link
RENEWED: Final = "renewed"


class Node(Protocol):
    """What a keeper needs of the node."""

    directory: Directory
    dialer: Dialer

    @property
    def sign_id(self) -> SignId: ...

    def random(self) -> float: ...


class Bundle(Protocol):
    """The peer whose links they are."""

    sign_id: SignId
    exchange: Exchange

    @property
    def known(self) -> bool: ...

    @property
    def link(self) -> Link | None: ...

    @property
    def links(self) -> list[Link]:
        """All that are up."""
        ...

    def use(self, link: Link, acks: list[Ack], why: str) -> None:
        """Go on over ``link``: what is not acknowledged is sent again."""

    def move(self, link: Link, why: str) -> None:
        """Go on over ``link``, while the one in use delivers what it has."""


class Keeper:
    """``troubles`` says of addresses that failed why."""

    def __init__(self, node: Node, peer: Bundle) -> None:
        self.troubles: dict[str, str] = {}
        self._node, self._peer = node, peer
        self._loop = asyncio.get_running_loop()
        self._retries = paths.Retries(node.random)
        self._silence = FailureDetector()
        self._silences: dict[tuple[int, str], int] = {}
        self._heard: dict[Link, int] = {}  # of links that are doubted, the bytes that had come in when they were
        self._draining: dict[Link, asyncio.TimerHandle] = {}
        self._needless: dict[Link, tuple[float, int]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._dialling: asyncio.Task[Any] | None = None
        self._addresses: tuple[str, ...] = ()
        self._moved = 0.0
        self._single = 0  # the instance of the peer that keeps one link only
        self._measured = 0.0
        self._confirmed = 0  # what the link in use was told when it was last asked whether all has come
        self.incoming: Link | None = None  # the last one a frame came in over

    # What the peer tells.

    def chosen(self, link: Link) -> None:
        """``link`` is the one in use now."""
        self._moved, self._silence, self._confirmed = self._loop.time(), FailureDetector(), -1
        for other in self._peer.links:
            other.keep(links.KEEPALIVE if other is link else links.SPARE_KEEPALIVE)
        self._forgive(link)
        self._later("plan", SETTLED, self._plan)
        if link.cost >= paths.RELAYED:
            self._later("prepare", PREPARE, self._prepare)

    def joined(self, link: Link) -> None:
        """Another link is up."""
        self._silence = FailureDetector()
        link.keep(links.SPARE_KEEPALIVE)
        self._forgive(link)
        self._plan()

    def lost(self, link: Link) -> None:
        """A link is gone, whichever."""
        self._silence = FailureDetector()
        self._retries.ended(link.cost, self._loop.time() - link.opened >= STABLE, self._loop.time())
        self._needless.pop(link, None)
        self._heard.pop(link, None)
        others = self._peer.links
        if str(link.error).endswith(f": {REPLACED}") and len(others) == 1 and others[0].way != link.way:
            self._single = link.instance
        draining = self._draining.pop(link, None)
        if draining is not None:
            draining.cancel()
        active = self._peer.link
        if active is None or active is link:
            return
        if draining is not None:
            self._restart()
        elif link.frames_in:
            self._peer.exchange.ask_again()  # it may have taken replies with it
        self._later("plan", 0.0, self._plan)

    def failed(self, address: str, reason: str) -> None:
        """An address was dialled in vain."""
        self.troubles[address] = reason
        for candidate in self._node.dialer.candidates([address]):
            self._retries.failed(candidate, self._loop.time())

    def said(self) -> None:
        """Something went out that wants an answer."""
        self._peer.exchange.heeded = True
        self._later("look", LOOK, self._look)

    def heard_over(self, link: Link) -> None:
        """A frame came in over a link that is not in use here, or another one than the last: the peer may know why,
        and replies may have been lost before it knew."""
        active = self._peer.link
        if active is not None and active is not link:
            active.outstanding = True
            if not self._peer.exchange.heeded:
                self.said()
        if link is not self.incoming:
            self.incoming = link
            if "ask" not in self._timers and self._peer.exchange.asked.unanswered:
                self._later("ask", LOOK, self._ask_again)

    def news(self) -> None:
        """The peer may be somewhere else."""
        if self._peer.link is not None:
            self._later("plan", 0.0, self._plan)

    def network_changed(self) -> None:
        """Our own addresses changed: links may be dead without a word, and better ones possible."""
        self._retries.reset()
        for link in self._peer.links:
            self.question(link)
        if self._peer.link is not None:
            self._later("plan", 0.0, self._plan)

    def question(self, link: Link) -> None:
        """Have ``link`` say that it is there; the one in use is doubted if it does not."""
        self._loop.call_later(max(ANSWER, 4 * link.trip), self._questioned, link, _ask(link))

    def rest(self) -> None:
        """No link is up, or nothing is to happen any more."""
        for timer in (*self._timers.values(), *self._draining.values()):
            timer.cancel()
        self._timers.clear()
        self._draining.clear()
        self._needless.clear()
        self._heard.clear()
        self.incoming = None
        self._peer.exchange.heeded = False
        if self._dialling is not None:
            self._dialling.cancel()

    async def close(self) -> None:
        self.rest()
        if self._dialling is not None:
            await asyncio.gather(self._dialling, return_exceptions=True)

    # Moving.

    def drain(self, old: Link) -> None:
        """``old`` was moved away from: what went out over it arrives soon, or is sent again."""
        if old in self._draining:
            self._draining[old].cancel()
        timer = self._draining[old] = self._loop.call_later(DRAIN + 2 * old.trip, self._not_drained, old)
        old.ask().add_done_callback(partial(self._drained, old, timer))

    def _drained(self, old: Link, timer: asyncio.TimerHandle, answer: asyncio.Future[float]) -> None:
        if not answer.cancelled() and answer.exception() is None and self._draining.get(old) is timer:
            self._draining.pop(old).cancel()
            self._later("plan", 0.0, self._plan)  # it may be closed now

    def _not_drained(self, old: Link) -> None:
        del self._draining[old]
        self._restart()
        self._later("plan", 0.0, self._plan)

    def _forgive(self, link: Link) -> None:
        """Nobody misses ways that are no better than ``link``."""
        worse = {c.address for c in self._node.dialer.candidates(list(self.troubles)) if c.cost >= link.cost}
        for address in worse:
            del self.troubles[address]

    def _ask_again(self) -> None:
        self._cancel("ask")
        if self._peer.link is not None:
            self._peer.exchange.ask_again()

    def _restart(self) -> None:
        active = self._peer.link
        if active is not None:
            self._peer.exchange.begin(active, [])

    # Planning.

    def _prepare(self) -> None:
        """Either end may soon punch a hole: what must be loaded for that may be loaded meanwhile."""
        self._cancel("prepare")
        active = self._peer.link
        if active is None:
            return
        for candidate in paths.wanted(self.candidates(), self._peer.links, active):
            if candidate.over_link:
                self._node.dialer.transports[candidate.address.partition(":")[0]].prepare()

    def candidates(self) -> list[Candidate]:
        """What is known of where the peer is."""
        addresses = self._node.directory.addresses(self._peer.sign_id)
        if addresses != self._addresses:
            self._addresses = addresses
            self._retries.reset()
            self.troubles = {address: why for address, why in self.troubles.items() if address in addresses}
        return self._node.dialer.candidates(addresses)

    def _plan(self) -> None:
        """Look at everything again, and when next."""
        self._cancel("plan")
        active, now = self._peer.link, self._loop.time()
        if active is None or not active.ready:
            return
        self._look_at_doubted(now)
        up = self._peer.links
        better = paths.best(up, active, now, self._moved)
        if better is not None and better is not active:
            if active.doubted > now:
                self._peer.use(better, [], SILENT)
            else:
                self._peer.move(better, BETTER)
            return  # both plan again
        again = [inf, *(link.doubted - now for link in up if now < link.doubted < inf)]
        if self._heard:
            again.append(DOUBTED_LOOK)
        if len(up) > 1:
            if now - self._measured >= WARM_LOOK:
                self._measured = now
                for link in up:
                    _ask(link)
            again += [WARM_LOOK, self._prune(up, active, now)]
        again.append(self._improve(up, active, now))
        if min(again) < inf:
            self._later("plan", max(min(again), 0.01), self._plan)

    def _improve(self, up: list[Link], active: Link, now: float) -> float:
        """Dial what may be better; seconds until the next look at it."""
        ours = active.dialled or self._peer.known or active.cost >= paths.RELAYED  # a stranger is called back, no more
        if self._dialling is not None or not ours:
            return inf
        candidates = self.candidates()
        useful = paths.wanted(candidates, up, active, active.instance == self._single)
        if not useful:
            return inf
        due = self._retries.due if active.dialled else self._in_turn(candidates, active)
        starts = paths.improving(useful, due, now)
        if starts:
            self._dial(starts)
            return inf
        return min(due(c) - now for c in useful)

    def _in_turn(self, candidates: list[Candidate], active: Link) -> Callable[[Candidate], float]:
        """When a candidate may be tried by the end that was dialled; a stranger is told where we are by nothing but a
        node that says so to everybody."""
        known = self._peer.known
        if not known:
            candidates = [c for c in candidates if c.address not in self.troubles] if self._shown() else []
        turns = paths.turns(candidates, known)
        return lambda c: max(self._retries.due(c), active.opened + turns.get(c.address, inf))

    def _shown(self) -> bool:
        """Whether our own record has a way to us that is no relay."""
        mine = self._node.directory.mine
        own = self._node.dialer.candidates(mine.connection_info) if mine is not None else []
        return any(c.cost < paths.RELAYED for c in own)

    def _prune(self, up: list[Link], active: Link, now: float) -> float:
        """Close what nobody needs, once it is quiet; seconds until the next look at it."""
        spare = paths.spare(up, active)
        if spare is not None and spare.dialled and now - spare.opened > LIFETIME and spare not in self._draining:
            spare.close(RENEWED)
        patience = paths.SETTLE if self._node.sign_id < self._peer.sign_id else paths.PATIENCE
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
            link = await self._node.dialer.race(self._peer.sign_id, starts, self.failed)
        except MMError:
            pass  # noted by failed
        else:
            self._retries.opened(link.dialled_at, self._loop.time())
        finally:
            self._dialling = None
        if self._peer.link is not None:
            self._later("plan", 0.01, self._plan)

    # Watching.

    def _look(self) -> None:
        self._cancel("look")
        active = self._peer.link
        if active is None:
            self._peer.exchange.heeded = False
            return
        others = sum(link.bytes_in for link in self._peer.links if link is not active)
        verdict = self._silence.look(
            self._loop.time(), active.bytes_in, active.bytes_out, active.outstanding, others, active.trip
        )
        if verdict == liveness.IDLE and not self._in_doubt(active):
            self._peer.exchange.heeded = False
            return
        if verdict == liveness.PROBE:
            for link in self._peer.links:
                _ask(link)
        elif verdict == liveness.SWITCH:
            self._doubt(active)
        elif verdict == liveness.DIAL:
            self._rescue(active)
        self._later("look", LOOK, self._look)

    def _in_doubt(self, active: Link) -> bool:
        """Whether something is still to be acknowledged and may have met what came in last on its way: ask once."""
        exchange = self._peer.exchange
        if active.told == self._confirmed or (exchange.box.empty and not exchange.asked.unanswered):
            return False
        self._confirmed = active.told
        _ask(active)
        active.outstanding = True
        return True

    def _doubt(self, link: Link) -> None:
        """It is silent: use another one, if there is, else dial."""
        self._silences[link.way] = self._silences.get(link.way, 0) + 1
        link.doubted, self._heard[link] = inf, link.bytes_in
        other = paths.best([other for other in self._peer.links if other is not link], None, self._loop.time())
        if other is not None:
            self._peer.use(other, [], SILENT)
            link.keep(links.KEEPALIVE)
        else:
            self._rescue(link, also=True)
            self._later("plan", DOUBTED_LOOK, self._plan)

    def _rescue(self, link: Link, also: bool = False) -> None:
        """Dial what is not like ``link``, which is silent; ``also`` what is."""
        if self._dialling is None and (self._peer.known or link.dialled):
            starts = paths.first([c for c in self.candidates() if also or c.cost != link.cost])
            if starts:
                self._dial(starts)

    def _questioned(self, link: Link, answer: asyncio.Future[float]) -> None:
        if link.ready and not answer.done() and link is self._peer.link:
            self._doubt(link)

    def _look_at_doubted(self, now: float) -> None:
        """What is heard again may be used again, after a while."""
        for link, heard in list(self._heard.items()):
            if link.bytes_in != heard:
                del self._heard[link]
                link.doubted = now + quarantine(self._silences[link.way])
            else:
                _ask(link)

    # Timers.

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._loop.call_later(seconds, call)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _ask(link: Link) -> asyncio.Future[float]:
    answer = link.ask()
    answer.add_done_callback(_seen)
    return answer


def _seen(answer: asyncio.Future[float]) -> None:
    if not answer.cancelled():
        answer.exception()
