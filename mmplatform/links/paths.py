"""Chooses paths to a peer: which to try, to use, to keep warm and to give up. Pure: ``now`` and jitter are arguments.

Order of preference, at equal round trips: TCP on the LAN, TCP, WebRTC, relays. A path weighs the round trip that all
but one of twenty of its latest do not exceed, so what is lost on the way counts, plus SECONDS_PER_COST for each point
of its cost: a direct path that is slow, or loses much, gives way to a relay. MIN_GAIN, MAX_RATIO and MIN_DWELL keep
two paths that are nearly the same from taking turns, and a path that was given up is not gone back to for HOLD
seconds, and twice as long each further time. One path besides the one in use is kept warm, a relayed one if possible:
a relayed path shares least with the one in use.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from mmplatform.addresses import Reach, parsed
from mmplatform.links.round_trips import LinkTrips

LAN_BONUS: Final = 5  # points of cost that a path on the LAN is cheaper
SECONDS_PER_COST: Final = 0.005  # seconds of round trip that one point of cost weighs as much as
MIN_GAIN: Final = 0.01  # seconds that another path must weigh less than the active one to be moved to
MAX_RATIO: Final = 0.8  # part of the active path's weight that another path must not exceed to be moved to
MIN_DWELL: Final = 60.0  # seconds between a move and the next one that gains nothing but a shorter round trip
LEAST_DWELL: Final = 5.0  # the same to a path that is FAR_BETTER
FAR_BETTER: Final = 1 / 3  # part of the active path's weight that another one must not exceed for that
HOLD: Final = 60.0  # seconds for which a path that was given up for a costlier one is left alone; doubles each time
LONGEST_HOLD: Final = 960.0  # seconds
FAR: Final = 0.1  # seconds of round trip above which a path is measured before it takes over: a loss costs as much
PROVEN: Final = 40  # round trips that are measured of it: eight seconds of looks

DIAL_SPREAD: Final = 0.25  # seconds within which every attempt has started, however many addresses are dead
DIRECT_HEAD_START: Final = 0.025  # seconds that direct addresses have before a relay where we are signed in
RELAY_STAGGER: Final = 0.05  # seconds, at most, between attempts at two relays where we are signed in
SIGNALLED_AFTER: Final = 0.5  # seconds that plain addresses have before hole punching starts
CALL_BACK_AFTER: Final = 0.1  # seconds after which the dialled side tries the direct addresses of the dialling side
IMPROVE_AFTER: Final = 1.5  # seconds after which the dialled side tries anything else that may be better
MAX_CALL_BACKS: Final = 3  # direct addresses of a stranger that are tried
CLOSE_AFTER: Final = 2.0  # seconds a path is needless and quiet before the side with the smaller signId closes it
CLOSE_ANYWAY_AFTER: Final = 10.0  # seconds after which the other side closes a path that is needless and quiet


class Candidate(NamedTuple):
    """An address that can be dialled from here."""

    address: str
    cost: int  # cost of links made there, as :func:`cost_of` has it
    relayed: bool = False  # links made there go through a third party
    near: bool = False  # a relay where we are signed in: nothing needs to be connected first
    signalled: bool = False  # can be dialled only while another link is up, to carry signals
    good: bool = False  # a link was made there lately


class Path(Protocol):
    """The numbers of one live link that its rank depends on."""

    @property
    def cost(self) -> int:
        """As :func:`cost_of` has it."""
        ...

    @property
    def relayed(self) -> bool:
        """Whether frames go through a third party."""
        ...

    @property
    def trips(self) -> LinkTrips:
        """The latest round trips."""
        ...

    @property
    def suspect_until(self) -> float:
        """The time before which the path is used only when there is no other one."""
        ...

    @property
    def held_until(self) -> float:
        """The time before which the path is not gone back to for being better alone."""
        ...


P = TypeVar("P", bound=Path)


# What a path is worth.


def cost_of(address: str, cost: int, relayed: bool) -> int:
    """The cost of a link at ``address`` whose transport says ``cost``."""
    return cost - LAN_BONUS if cost > LAN_BONUS and not relayed and on_lan(address.rpartition(":")[0]) else cost


@lru_cache(maxsize=1024)
def on_lan(address: str) -> bool:
    """Whether ``address``, whose port does not matter, is of a kind that needs no router between: private or
    link-local."""
    try:
        ip = ip_address((urlsplit(address).hostname or "").partition("%")[0])
    except ValueError:
        return False
    return ip.is_private or ip.is_link_local


def is_loopback(address: str) -> bool:
    """Whether ``address`` leads to the host of whoever dials it."""
    return "://127." in address or "://[::1]" in address


def gives_number(address: str, reach: Reach) -> bool:
    """Whether ``address`` gives, by number, a host and port to which ``reach`` lets us go."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        return False
    spelled = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return address == spelled and parsed(host) is not None and reach.admits(host, port)


def weight(path: Path) -> float:
    """The rank of ``path``, in seconds: less is better."""
    return path.trips.p95 + path.cost * SECONDS_PER_COST


def best(paths: Collection[P], active: P | None, now: float, moved: float = 0.0) -> P | None:
    """The path to use: ``active``, which has been in use since ``moved``, unless another one is clearly better."""
    usable = [path for path in paths if path.suspect_until <= now] or list(paths)
    if not usable:
        return None
    if active is None or active not in usable:
        return min(usable, key=weight)
    top = min((path for path in usable if path is active or path.held_until <= now), key=weight)
    if (
        top is active
        or weight(top) > min(weight(active) - MIN_GAIN, weight(active) * MAX_RATIO)
        or not proven(top, active)
    ):
        return active
    dwell = LEAST_DWELL if weight(top) <= weight(active) * FAR_BETTER else MIN_DWELL
    if top.cost >= active.cost and (now - moved < dwell or not active.trips.enough):
        return active
    return top


def unproven(path: Path) -> bool:
    """Whether ``path`` is a long way, and not measured often enough to take over from one that works."""
    return path.trips.p95 > FAR and path.trips.count < PROVEN


def proven(path: Path, active: Path) -> bool:
    """Whether ``path`` is a short way, or so well known that even its longest round trips speak for it: of few that are
    lost some looks see none."""
    if path.trips.p95 <= FAR:
        return True
    return path.trips.count >= PROVEN and path.trips.longest + path.cost * SECONDS_PER_COST < weight(active)


def hold(times: int) -> float:
    """Seconds for which a path that was given up ``times`` times is not gone back to."""
    return float(min(HOLD * 2 ** min(max(times - 1, 0), 30), LONGEST_HOLD))


def spare(paths: Iterable[P], active: P) -> P | None:
    """The path to keep warm beside ``active``: the best relayed one, else the best of the others."""
    others = [path for path in paths if path is not active]
    return min(others, key=lambda path: (not path.relayed, weight(path)), default=None)


def needless(paths: Iterable[P], active: P) -> list[P]:
    """The paths that are neither in use nor kept warm."""
    kept = spare(paths, active)
    return [path for path in paths if path is not active and path is not kept]


# What to dial.


def first(candidates: Sequence[Candidate]) -> list[tuple[float, str]]:
    """(after how many seconds, address) of all to try when there is no link, in the order of starting.

    Direct addresses start first, then, soon, relays where we are signed in, then the rest; of each kind those that
    were good lately come first. All get their turn: a record has few (``nodeinfo.MAX_ADDRESSES``), and the only one
    that is alive may be the last. Loopback comes last: as a rule somebody else's node listens there. Addresses that
    need a link are tried only when there are no others, so that the attempt gives the reason.
    """
    usable = [c for c in candidates if not c.signalled] or list(candidates)
    ranked = sorted(usable, key=lambda c: (is_loopback(c.address), not c.good))
    direct = [c.address for c in ranked if not c.relayed]
    near = [c.address for c in ranked if c.relayed and c.near]
    far = [c.address for c in ranked if c.relayed and not c.near]
    starts = _spread(direct, DIAL_SPREAD)
    head = DIRECT_HEAD_START if direct else 0.0
    step = min(RELAY_STAGGER, (DIAL_SPREAD - head) / max(len(near) - 1, 1))
    starts += [(head + n * step, address) for n, address in enumerate(near)]
    if direct or near:
        starts += [(DIAL_SPREAD, address) for address in far]
    else:
        starts += _spread(far, DIAL_SPREAD)
    return sorted(starts, key=lambda start: start[0])


def improving(useful: Sequence[Candidate], due: Callable[[Candidate], float], now: float) -> list[tuple[float, str]]:
    """(after how many seconds, address) of the candidates to dial now, among those that are :func:`wanted`."""
    plain = [c for c in useful if not c.signalled and due(c) <= now]
    starts = _spread([c.address for c in sorted(plain, key=lambda c: c.cost)], DIAL_SPREAD)
    after = SIGNALLED_AFTER if any(not c.relayed for c in plain) else 0.0
    soon = now + IMPROVE_AFTER if plain else now  # dead plain addresses take longer: nothing need wait for their end
    punching = [c for c in useful if c.signalled and due(c) <= soon]
    return starts + [(max(after, due(c) - now), c.address) for c in punching]


def turns(candidates: Sequence[Candidate], known: bool, reach: Reach) -> dict[str, float]:
    """Seconds after the link opened at which the dialled side may try each candidate, by address.

    The dialling side has already tried our direct addresses, but nobody has tried the dialling side's: so try those
    first. Of strangers a few addresses that they give by number are tried, once, and nothing else.
    """
    direct = [c for c in candidates if not c.relayed and not c.signalled]
    if not known:
        numbers = [c.address for c in direct if gives_number(c.address, reach)]
        return dict.fromkeys(numbers[:MAX_CALL_BACKS], CALL_BACK_AFTER)
    return {c.address: CALL_BACK_AFTER if c in direct else IMPROVE_AFTER for c in candidates}


def wanted(
    candidates: Iterable[Candidate], paths: Collection[Path], active: Path, single: bool = False
) -> list[Candidate]:
    """The candidates to dial beside ``active``: whatever may be better, and a path to keep warm when there is none.

    ``single``: the peer keeps one link only.
    """
    have = {path.cost for path in paths}
    warm = single or len(paths) > 1
    return [
        c for c in candidates
        if (c.cost < active.cost and c.cost not in have and not (is_loopback(c.address) and not active.relayed))
        or (not warm and c.near and not active.relayed)
    ]  # fmt: skip


def _spread(addresses: list[str], seconds: float) -> list[tuple[float, str]]:
    step = seconds / max(len(addresses) - 1, 1)
    return [(n * step, address) for n, address in enumerate(addresses)]


class Retries:
    """When to try failed candidates again. ``random()`` is 0 to 1; hole punching is left alone for longer each time."""

    FIRST: Final = 2.0  # seconds after the first failure
    PUNCH_FIRST: Final = 10.0  # seconds after the first failure of hole punching
    FACTOR: Final = 2.0  # by which the delay grows with each failure
    PUNCH_FACTOR: Final = 3.0  # by which the delay grows with each failure of hole punching
    LONGEST: Final = 300.0  # seconds, at most
    PUNCH_LONGEST: Final = 1800.0  # seconds, at most, of hole punching

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures: dict[str, tuple[int, float]] = {}  # address -> how often it failed, when to try again
        self._early: dict[int, tuple[int, float]] = {}  # cost -> how many links there ended early, when to try again

    def failed(self, candidate: Candidate, now: float) -> float:
        """Note that ``candidate`` failed; the seconds until it should be tried again."""
        count = self._failures.get(candidate.address, (0, 0.0))[0]
        start, factor, longest = (
            (self.PUNCH_FIRST, self.PUNCH_FACTOR, self.PUNCH_LONGEST)
            if candidate.signalled
            else (self.FIRST, self.FACTOR, self.LONGEST)
        )
        delay = min(start * factor ** min(count, 30), longest) * (1 - self._random() / 4)
        self._failures[candidate.address] = (count + 1, now + delay)
        return delay

    def ended(self, cost: int, stable: bool, now: float) -> None:
        """Note that a link of ``cost`` ended; one that was not stable is not made again at once."""
        count = 0 if stable else self._early.get(cost, (0, 0.0))[0] + 1
        delay = 0.0 if stable else min(self.FIRST / 8 * self.FACTOR ** min(count, 30), self.LONGEST / 10)
        self._early[cost] = (count, now + delay)

    def opened(self, address: str, now: float) -> None:
        """Note that ``address`` was reached; should the link there be useless, it is not dialled again at once."""
        self._failures[address] = (0, now + self.FIRST)

    def due(self, candidate: Candidate) -> float:
        """The time from which ``candidate`` may be tried."""
        return max(
            self._failures.get(candidate.address, (0, 0.0))[1], self._early.get(candidate.cost, (0, 0.0))[1]
        )  # fmt: skip

    def reset(self) -> None:
        """Let all be tried at once: the network changed, or the peer has other addresses."""
        self._failures.clear()
        self._early.clear()
