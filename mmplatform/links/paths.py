"""Which ways to a peer to try, to use, to keep warm and to give up. Pure policy: ``now`` and jitter are arguments.

Order of preference, at equal round trips: TCP on the LAN, TCP, WebRTC, relays. A path weighs its round trip plus
PER_COST seconds for each point of its cost, so a direct path that is much slower than a relay gives way to it; MARGIN
and DWELL keep two that are nearly the same from taking turns. One more path than the one in use is kept warm, one over
a relay where there is one: it shares least with the one in use.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

RELAYED: Final = 40  # the cost of paths over a relay
LAN_BONUS: Final = 5  # what a path on the LAN costs less
PER_COST: Final = 0.005  # seconds
MARGIN: Final = 0.01  # seconds, and
RATIO: Final = 0.8  # of the present weight: a path that is no better than by both is not moved to
DWELL: Final = 5.0  # seconds until a move for the sake of the round trip alone may follow another one

SPREAD: Final = 0.25  # seconds within which every attempt has started, however many of them are dead
HEAD_START: Final = 0.025  # seconds that direct addresses have before a relay that is at hand
RELAY_STEP: Final = 0.05  # seconds between two relays that are at hand
MAX_ADDRESSES: Final = 8  # of one record are tried,
MAX_RELAYS: Final = 3  # and of these so many relays
SIGNALLED_AFTER: Final = 0.5  # seconds that plain addresses have before hole punching starts
BACK: Final = 0.1  # seconds after which the end that was dialled tries where the other one may be reached directly,
SECOND: Final = 1.5  # and those it leaves to the other one to improve things in any other way
MAX_BACK: Final = 3  # addresses of a stranger are tried,
LOWEST_PORT: Final = 1024  # on ports from here on: below are services, as a rule no nodes
SETTLE: Final = 2.0  # seconds a path must have been needless and quiet before it is closed,
PATIENCE: Final = 10.0  # or this long at the end whose turn it is not


class Candidate(NamedTuple):
    """An address that can be dialled from here."""

    address: str
    cost: int  # of links made there, as :func:`cost_of` has it
    near: bool = False  # a relay where we are signed in: nothing needs to be connected first
    over_link: bool = False  # can be dialled only while another link is up


class Path(Protocol):
    """What is known of one live link."""

    @property
    def cost(self) -> int: ...

    @property
    def trip(self) -> float:
        """The round trip in seconds, the shortest of late; 0 when not measured."""
        ...

    @property
    def doubted(self) -> float:
        """Until then it is not to be used while there is another one."""
        ...


P = TypeVar("P", bound=Path)
UNICAST: Final = IPv6Network("2000::/3")  # beside it are addresses that stand for IPv4 ones of any kind


# What a path is worth.


def cost_of(address: str, cost: int) -> int:
    """The cost of a link at ``address`` whose transport says ``cost``."""
    return cost - LAN_BONUS if LAN_BONUS < cost < RELAYED and on_lan(address.rpartition(":")[0]) else cost


@lru_cache(maxsize=1024)
def on_lan(address: str) -> bool:
    """Whether it leads to a host that needs no router between, as far as its address, whose port does not matter,
    tells."""
    try:
        ip = ip_address((urlsplit(address).hostname or "").partition("%")[0])
    except ValueError:
        return False
    return ip.is_private or ip.is_link_local


def is_loopback(address: str) -> bool:
    return "://127." in address or "://[::1]" in address


def is_public(address: str) -> bool:
    """Whether it leads to a host on the Internet, by its number, where a node may listen: all a stranger can have us
    dial. By other addresses it could make us knock at doors of our own network."""
    try:
        parts = urlsplit(address)
        ip, port = ip_address(parts.hostname or ""), parts.port or 0
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (ip not in UNICAST or ip.sixtofour is not None or ip.teredo is not None):
        return False
    if address != f"{parts.scheme}://{ip if ip.version == 4 else f'[{ip}]'}:{port}":
        return False  # written in a way that others might read differently
    return ip.is_global and not ip.is_multicast and port >= LOWEST_PORT


def weight(path: Path) -> float:
    """Less is better."""
    return path.trip + path.cost * PER_COST


def best(paths: Collection[P], active: P | None, now: float, moved: float = 0.0) -> P | None:
    """The path to use. ``active`` stays unless another is clearly better; ``moved``: when it became the active one."""
    usable = [path for path in paths if path.doubted <= now] or list(paths)
    if not usable:
        return None
    top = min(usable, key=weight)
    if active is None or active not in usable or top is active:
        return top
    if weight(top) > min(weight(active) - MARGIN, weight(active) * RATIO):
        return active
    return active if top.cost >= active.cost and now - moved < DWELL else top


def spare(paths: Iterable[P], active: P) -> P | None:
    """The path to keep warm beside ``active``: of those over a relay the best, else the best of the others."""
    others = [path for path in paths if path is not active]
    return min(others, key=lambda path: (path.cost < RELAYED, weight(path)), default=None)


def needless(paths: Iterable[P], active: P) -> list[P]:
    """What is neither in use nor kept warm."""
    kept = spare(paths, active)
    return [path for path in paths if path is not active and path is not kept]


# What to dial.


def first(candidates: Sequence[Candidate]) -> list[tuple[float, str]]:
    """(after how many seconds, address) of all to try when there is no link, in the order of starting.

    Direct addresses first, then, soon, relays where we are signed in, then the rest; loopback comes last, as it is
    as a rule somebody else's. Those that need a link count when there is nothing else, so that somebody says so.
    """
    usable = [c for c in candidates if not c.over_link] or list(candidates)
    relays = [c for c in usable if c.cost >= RELAYED][:MAX_RELAYS]
    direct = [c for c in usable if c.cost < RELAYED]
    direct = sorted(direct, key=lambda c: is_loopback(c.address))[: MAX_ADDRESSES - len(relays)]
    starts = _spread([c.address for c in direct], SPREAD)
    near = [c.address for c in relays if c.near]
    far = sorted((c.address for c in relays if not c.near), key=is_loopback)
    starts += [((HEAD_START if direct else 0.0) + n * RELAY_STEP, address) for n, address in enumerate(near)]
    if direct or near:
        starts += [(SPREAD, address) for address in far]
    else:
        starts += _spread(far, SPREAD)
    return sorted(starts, key=lambda start: start[0])


def improving(useful: Sequence[Candidate], due: Callable[[Candidate], float], now: float) -> list[tuple[float, str]]:
    """What to dial now of what is :func:`wanted`."""
    plain = [c for c in useful if not c.over_link and due(c) <= now][:MAX_ADDRESSES]
    starts = _spread([c.address for c in sorted(plain, key=lambda c: c.cost)], SPREAD)
    after = SIGNALLED_AFTER if any(c.cost < RELAYED for c in plain) else 0.0
    soon = now + SECOND if plain else now  # dead addresses take longer than that: nothing need wait for their end
    signalled = [c for c in useful if c.over_link and due(c) <= soon]
    return starts + [(max(after, due(c) - now), c.address) for c in signalled]


def turns(candidates: Sequence[Candidate], known: bool) -> dict[str, float]:
    """How many seconds after the link opened the end that was dialled may try what, by address. The dialling side has
    already tried our direct addresses, but nobody has tried the dialling side's: so try those first. Of strangers a few
    public addresses are tried, once, and nothing else."""
    direct = [c for c in candidates if c.cost < RELAYED and not c.over_link]
    if not known:
        return dict.fromkeys([c.address for c in direct if is_public(c.address)][:MAX_BACK], BACK)
    return {c.address: BACK if c in direct else SECOND for c in candidates}


def wanted(
    candidates: Iterable[Candidate], paths: Collection[Path], active: Path, single: bool = False
) -> list[Candidate]:
    """What to dial beside ``active`` when it is due: what may be better, and a path to keep warm when there is none.

    ``single``: the peer keeps one link only.
    """
    have = {path.cost for path in paths}
    warm = single or len(paths) > 1
    return [
        c for c in candidates
        if (c.cost < active.cost and c.cost not in have and not (is_loopback(c.address) and active.cost < RELAYED))
        or (not warm and c.near and active.cost < RELAYED)
    ]  # fmt: skip


def _spread(addresses: list[str], seconds: float) -> list[tuple[float, str]]:
    step = seconds / max(len(addresses) - 1, 1)
    return [(n * step, address) for n, address in enumerate(addresses)]


class Retries:
    """When to try again what failed. ``random()`` is 0 to 1; hole punching is left alone for longer each time."""

    FIRST: Final = 2.0  # seconds
    PUNCH_FIRST: Final = 10.0
    FACTOR: Final = 2.0
    PUNCH_FACTOR: Final = 3.0
    LONGEST: Final = 300.0
    PUNCH_LONGEST: Final = 1800.0

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures: dict[str, tuple[int, float]] = {}  # address -> how often, until when
        self._early: dict[int, tuple[int, float]] = {}  # cost -> links there that ended early, until when

    def failed(self, candidate: Candidate, now: float) -> float:
        """Note it; the seconds until it should be tried again."""
        count = self._failures.get(candidate.address, (0, 0.0))[0]
        start, factor, longest = (
            (self.PUNCH_FIRST, self.PUNCH_FACTOR, self.PUNCH_LONGEST)
            if candidate.over_link
            else (self.FIRST, self.FACTOR, self.LONGEST)
        )
        delay = min(start * factor ** min(count, 30), longest) * (1 - self._random() / 4)
        self._failures[candidate.address] = (count + 1, now + delay)
        return delay

    def ended(self, cost: int, stable: bool, now: float) -> None:
        """A link of that cost ended; one that was not stable is not made again at once."""
        count = 0 if stable else self._early.get(cost, (0, 0.0))[0] + 1
        delay = 0.0 if stable else min(self.FIRST / 8 * self.FACTOR ** min(count, 30), self.LONGEST / 10)
        self._early[cost] = (count, now + delay)

    def opened(self, address: str, now: float) -> None:
        """It was reached; should the link there be of no use all the same, it is not dialled again at once."""
        self._failures[address] = (0, now + self.FIRST)

    def due(self, candidate: Candidate) -> float:
        """When it may be tried."""
        return max(
            self._failures.get(candidate.address, (0, 0.0))[1], self._early.get(candidate.cost, (0, 0.0))[1]
        )  # fmt: skip

    def reset(self) -> None:
        """The network changed, or the peer has other addresses: all may be tried at once."""
        self._failures.clear()
        self._early.clear()
