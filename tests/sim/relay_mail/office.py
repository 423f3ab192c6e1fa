"""A relay's mailroom and links with everything around them played: sessions, the router, and lines to other relays."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from itertools import count
from typing import Any, Final, TypeVar, cast

from mm_relay.federation.links import FederationLinks
from mm_relay.federation.proven import ProvenAddresses
from mm_relay.mailboxes.mailroom import Mailroom
from mm_relay.metrics import Metrics
from mm_relay.policy import Policy
from mm_relay.ports import Cluster, Federation, RelaySession
from mm_relay.stores.local import LocalStore
from mm_transports.relay.client import Client, ClientOwner
from mm_transports.relay.protocol.address import RelayAddress, format_relay, relay_key
from mm_transports.relay.protocol.items import PEER, RELAY, Deposit, Forwarded, Item, Limits
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity
from mmplatform.storage.memory import MemoryStorage

START: Final = 1_800_000_000.0
LIMITS: Final = Limits(
    frame=0,
    mail=1000,
    mail_ttl=3_600_000,
    recipient_bytes=80_000,  # so an eighth of a box is more than a sender may leave in all
    recipient_count=160,
    sender_bytes=8_000,
    sender_count=15,
    rate_bytes=0,
    rate_items=0,
    window_bytes=4000,
    window_count=4,
)
I = TypeVar("I")  # noqa: E741

_ids = count(1)


def key(name: int | str) -> bytes:
    return blake2b(str(name).encode(), digest_size=32).digest()


def deposit(target: str, size: int = 10, *, name: int = 0, expires: float = 2 * START, via: str = "") -> Deposit:
    """``expires`` in Unix seconds."""
    name = name or next(_ids)
    return Deposit(key(target), name.to_bytes(16), int(expires * 1000), (b"%d." % name).ljust(size, b"x")[:size], via)


class Told:
    """A session that remembers what it is told."""

    def __init__(self, of: bytes, role: int = PEER, address: str = "") -> None:
        self.key, self.role, self.address = of, role, address
        self.place = b""
        self.said: list[Item] = []
        self.full = False
        self.ended = ""

    def tell(self, item: Item) -> None:
        self.said.append(item)

    def end(self, reason: str, retry: float = 0.0) -> None:
        self.ended = reason

    def heard(self, kind: type[I]) -> list[I]:
        """What it was told of this kind, once."""
        found = [item for item in self.said if isinstance(item, kind)]
        self.said = [item for item in self.said if not isinstance(item, kind)]
        return found

    def forwarded(self, kind: type[I]) -> list[I]:
        return [item.inner for item in self.heard(Forwarded) if isinstance(item.inner, kind)]


class Played:
    """The router: knows who is here, and remembers what else it was told."""

    def __init__(self) -> None:
        self.sessions: dict[bytes, RelaySession] = {}
        self.told: list[tuple[bytes, Item]] = []
        self.received: list[tuple[RelaySession, Item]] = []
        self.writables: list[RelaySession] = []
        self.lost: list[RelaySession] = []

    def tell(self, key: bytes, item: Item) -> bool:
        session = self.sessions.get(key)
        if session is None:
            self.told.append((key, item))
            return False
        session.tell(item)
        return True

    def receive(self, session: RelaySession, item: Item) -> None:
        self.received.append((session, item))

    def writable(self, session: RelaySession) -> None:
        self.writables.append(session)

    def sign_out(self, session: RelaySession) -> None:
        self.lost.append(session)


class Woken(Federation):
    """Federation that reaches nobody, and remembers who was woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []

    def link(self, address: str, place: bytes, peer: bytes = b"") -> RelaySession | None:
        return None

    def wake(self, address: str, place: bytes = b"", peer: bytes = b"") -> None:
        self.woken.append(address)

    def lost(self, key: bytes) -> bool:
        return True


class Lines:
    """Between relays: each way takes ``delay`` seconds; what is ``cut`` is lost and cannot be made again."""

    def __init__(self, seed: int = 0, delay: float = 0.02) -> None:
        self.random = random.Random(seed)
        self.delay = delay
        self.offices: dict[bytes, Office] = {}
        self.cuts: set[frozenset[bytes]] = set()
        self.open: list[Line] = []
        self.dialled: list[str] = []
        self.skew = 0.0  # seconds that clocks of those who are dialled are ahead

    def dial(self, office: "Office") -> Callable[[RelayAddress, ClientOwner], Client]:
        return lambda address, owner: cast(Client, Line(self, office, address, owner))

    def cut(self, one: bytes, other: bytes) -> None:
        self.cuts.add(frozenset((one, other)))
        for line in list(self.open):
            if frozenset((line.office.key, line.key)) in self.cuts:
                line.lose("cut")

    def mend(self, one: bytes, other: bytes) -> None:
        self.cuts.discard(frozenset((one, other)))


class Line:
    """A client of one relay at another, and the session the other has of it."""

    def __init__(self, lines: Lines, office: "Office", address: RelayAddress, owner: ClientOwner) -> None:
        self.lines, self.office, self.address, self.owner = lines, office, address, owner
        self.key = relay_key(address.text)
        self.full = False
        self.skew = lines.skew
        self.up = self._over = False
        self._coming: deque[Callable[[], object]] = deque()
        self._there: Office | None = None
        self._session: LineSession | None = None
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lines.dialled.append(address.text)

    def start(self) -> None:
        self.later(self._arrive)

    async def connected(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._connected
        except TimeoutError:
            raise Unreachable("no answer") from None

    def tell(self, item: Item) -> bool:
        if not self.up:
            return False
        self.later(lambda: self._there is not None and self._there.receive(cast(RelaySession, self._session), item))
        return True

    async def close(self) -> None:
        self.leave()

    def leave(self) -> None:
        self.lose("closed")

    def later(self, what: Callable[[], object]) -> None:
        """In order: timers of one moment are in none."""
        self._coming.append(what)
        asyncio.get_running_loop().call_later(self.lines.delay, self._next)

    def _next(self) -> None:
        what = self._coming.popleft()
        if not self._over:
            what()

    def lose(self, reason: str) -> None:
        if self._over:
            return
        self._over, self.up = True, False
        if self in self.lines.open:
            self.lines.open.remove(self)
        if self._there is not None and self._session is not None:
            self._there.sign_out(self._session)
        if not self._connected.done():
            self._connected.set_exception(Unreachable(reason))
            self._connected.exception()
        self.owner.relay_down(cast(Client, self), reason)

    def _arrive(self) -> None:
        there = self.lines.offices.get(self.key)
        if there is None or there.mailroom is None or frozenset((self.office.key, self.key)) in self.lines.cuts:
            return self.lose("nobody answers")
        if self.address.text != there.address:
            return self.lose("wrong-relay")
        self._there, self._session = there, LineSession(self)
        self.lines.open.append(self)
        there.sign_in(self._session)
        if not self._over:
            self.up = True
            self._connected.set_result(None)
            self.owner.relay_up(cast(Client, self), LIMITS)
        return None


class LineSession:
    role = RELAY
    place = b""
    full = False

    def __init__(self, line: Line) -> None:
        self.key, self.address, self._line = line.office.key, line.office.address, line

    def tell(self, item: Item) -> None:
        self._line.later(lambda: self._line.owner.relay_said(cast(Client, self._line), item))

    def end(self, reason: str, retry: float = 0.0) -> None:
        self._line.lose(reason)


class Office:
    """One relay process. ``at`` is its time when it does not run in virtual time."""

    def __init__(
        self,
        name: str = "here",
        lines: Lines | None = None,
        *,
        limits: Limits = LIMITS,
        policy: Policy | None = None,
        storage: MemoryStorage | None = None,
        cluster: Cluster | None = None,
        woken: Woken | None = None,
    ) -> None:
        self.identity = Identity.from_seed(key(name))
        self.key = self.identity.sign_key
        self.address = format_relay(f"wss://{name}/", self.identity.sign_id)
        self.limits, self.policy, self.cluster = limits, policy, cluster
        self.storage = storage or MemoryStorage()
        self.lines = lines
        self.at: float | None = None
        self.ahead = 0.0  # seconds that its clock is
        self.proven = ProvenAddresses()
        self.post = Played()
        self.metrics = Metrics()
        self.store: Any = None
        self.federation: FederationLinks | None = None
        self.woken = woken
        self.mailroom: Mailroom | None = None
        if lines is not None:
            lines.offices[self.key] = self

    def now(self) -> float:
        return self.at if self.at is not None else START + self.ahead + asyncio.get_running_loop().time()

    async def open(self, *, ticking: bool = True) -> "Office":
        self.store = self.store or LocalStore(self.storage, now=self.now)
        await self.store.open()
        if self.lines is not None:
            self.federation = FederationLinks(
                self.key,
                self.store,
                self.lines.dial(self),
                now=self.now,
                random=self.lines.random.random,
                metrics=self.metrics,
                policy=self.policy,
                cluster=self.cluster,
                proven=self.proven,
            )
        self.mailroom = Mailroom(
            self.key,
            self.store,
            self.post,
            self.federation or self.woken,
            self.limits,
            self.now,
            self.metrics,
            policy=self.policy,
            shared=self.cluster is not None,
        )
        if self.federation is not None:
            await self.federation.open(self.post, self.mailroom)
        if ticking:
            await self.mailroom.open()
        return self

    async def close(self) -> None:
        """As a kill would: nothing is said to anybody, and only the storage stays."""
        mailroom, self.mailroom = self.mailroom, None
        for line in list(self.lines.open) if self.lines is not None else []:
            if self.key in (line.key, line.office.key):
                line.lose("killed")
        self.post = Played()
        if self.federation is not None:
            await self.federation.close()
        if mailroom is not None:
            await mailroom.close()
        await self.store.close()
        self.store = None

    def sign_in(self, session: RelaySession) -> None:
        assert self.mailroom is not None
        if session.role == PEER:
            self.post.sessions[session.key] = session
        self.mailroom.signed_in(session)

    def sign_out(self, session: RelaySession) -> None:
        if self.post.sessions.get(session.key) is session:
            del self.post.sessions[session.key]
        if self.mailroom is not None:
            self.mailroom.signed_out(session)

    def receive(self, session: RelaySession, item: Item) -> None:
        if self.mailroom is not None:
            self.mailroom.receive(session, item)
