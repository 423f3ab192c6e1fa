"""Fake front doors, cluster and federation links around real routers.

What is on its way moves when the test says so, as bytes.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator

from mm_relay.metrics import Metrics
from mm_relay.ports import Cluster, Federation, RelaySession
from mm_relay.routing.flows import Bounds
from mm_relay.routing.router import Router
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import PEER, RELAY, Forwarded, Item
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.identity.keys import Identity, sign_id_of


def key_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def relay_key(name: str) -> bytes:
    return Identity.from_seed(key_of(name)).sign_key


def copied(item: Item) -> Item:
    return decode_items(encode_items([item]))[0]


class Door:
    """A signed-in connection; it is full with ``room`` items waiting, or while it is ``stopped``."""

    def __init__(self, relay: "Relay", key: bytes, role: int = PEER, room: int = 1 << 30) -> None:
        self.relay, self.key, self.role, self.room = relay, key, role, room
        self.place = b""
        self.address = ""
        self.waiting: deque[Item] = deque()
        self.stopped = False
        self.ended = ""
        self._was_full = False

    def tell(self, item: Item) -> None:
        if not self.ended:
            self.waiting.append(copied(item))

    @property
    def full(self) -> bool:
        if self.stopped or len(self.waiting) >= self.room:
            self._was_full = True
            return True
        return False

    def end(self, reason: str, retry: float = 0.0) -> None:
        self.ended = self.ended or reason

    def enter(self) -> "Door":
        self.relay.router.sign_in(self)
        return self

    def leave(self) -> None:
        self.ended = self.ended or "left"
        self.relay.router.sign_out(self)

    def say(self, item: Item) -> None:
        self.relay.router.receive(self, copied(item))

    def read(self, count: int = 1 << 30) -> list[Item]:
        """What it was told, oldest first; what waited in the router follows until it is full again."""
        items: list[Item] = []
        while len(items) < count and self.waiting and not self.stopped:
            items.append(self.waiting.popleft())
            if self._was_full and not self.full and not self.ended:
                self._was_full = False
                self.relay.router.writable(self)
        return items

    def go_on(self) -> None:
        self.stopped = False
        if self._was_full and not self.full and not self.ended:
            self._was_full = False
            self.relay.router.writable(self)


class Wires:
    """All processes of one relay: who is where, and what is on its way between them."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.places: dict[bytes, str] = {}
        self.under_way: dict[tuple[str, str], deque[Forwarded | bytes]] = {}
        self.asked: list[tuple[asyncio.Future[str], bytes, str]] = []
        self.broken = False

    def put(self, source: str, target: str, what: Forwarded | bytes) -> None:
        self.under_way.setdefault((source, target), deque()).append(what)

    def steps(self) -> Iterator[Callable[[], None]]:
        for ends, queue in list(self.under_way.items()):
            if queue:
                yield lambda ends=ends, queue=queue: self._deliver(ends, queue)  # type: ignore[misc]
        for asked in list(self.asked):
            yield lambda asked=asked: self._answer(asked)  # type: ignore[misc]

    def _deliver(self, ends: tuple[str, str], queue: deque[Forwarded | bytes]) -> None:
        what = queue.popleft()
        member = self.members[ends[1]]
        if isinstance(what, bytes):
            member.displaced(what)
        else:
            member.forwarded(ends[0], what)

    def _answer(self, asked: tuple[asyncio.Future[str], bytes, str]) -> None:
        self.asked.remove(asked)
        future, key, asker = asked
        place = self.places.get(key, "")
        if not future.done():
            if self.broken:
                future.set_exception(ConnectionError("no Redis"))
            else:
                future.set_result("" if place == asker else place)


class Member(Cluster):
    def __init__(self, wires: Wires, name: str) -> None:
        self.wires, self.name = wires, name
        wires.members[name] = self

    async def open(self, forwarded: Callable[[str, Forwarded], None], displaced: Callable[[bytes], None]) -> None:
        self.forwarded, self.displaced = forwarded, displaced

    def on_back(self, back: Callable[[], None]) -> None:
        self.back = back

    async def close(self) -> None: ...

    def here(self, key: bytes) -> None:
        before = self.wires.places.get(key, self.name)
        self.wires.places[key] = self.name
        if before != self.name:
            self.wires.put(self.name, before, key)

    def gone(self, key: bytes) -> None:
        if self.wires.places.get(key) == self.name:
            del self.wires.places[key]

    async def locate(self, key: bytes) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.wires.asked.append((future, key, self.name))
        return await future

    def send(self, process: str, forwarded: Forwarded) -> None:
        item = copied(forwarded)
        assert isinstance(item, Forwarded)
        self.wires.put(self.name, process, item)

    def publish(self, forwarded: Forwarded) -> None:
        for name in self.wires.members:
            if name != self.name:
                self.send(name, forwarded)


class FakeLink:
    """Our side of a connection to another relay; ``far`` is the session it has there once it is up."""

    role = RELAY
    place = b""

    def __init__(self, relay: "Relay", to: "Relay", room: int) -> None:
        self.relay, self.to, self.room = relay, to, room
        self.key, self.address = to.key, to.address
        self.waiting: deque[Item] = deque()
        self.far: Door | None = None
        self.over = False

    @property
    def full(self) -> bool:
        return self.far is None or len(self.waiting) >= self.room

    def tell(self, item: Item) -> None:
        assert not self.over, "told after sign_out"
        self.waiting.append(copied(item))

    def end(self, reason: str, retry: float = 0.0) -> None:
        self.cut()

    def connect(self) -> None:
        self.far = Door(self.to, self.relay.key, RELAY, room=self.room).enter()
        self.relay.router.writable(self)

    def cut(self) -> None:
        if not self.over:
            self.over = True
            del self.relay.federation.links[self.address]
            self.relay.router.sign_out(self)
            if self.far is not None:
                self.far.leave()

    def steps(self) -> Iterator[Callable[[], None]]:
        if self.far is None:
            yield self.connect
            return
        if self.waiting:
            yield self._out
        if self.far.waiting:
            yield self._back

    def _out(self) -> None:
        was_full, item = self.full, self.waiting.popleft()
        if was_full and not self.full:
            self.relay.router.writable(self)
        if self.far is not None and not self.far.ended:
            self.far.say(item)

    def _back(self) -> None:
        for item in self.far.read(1) if self.far is not None else []:
            self.relay.router.receive(self, item)


class FakeFederation(Federation):
    def __init__(self, relay: "Relay", world: "World", room: int) -> None:
        self.relay, self.world, self.room = relay, world, room
        self.links: dict[str, FakeLink] = {}

    def link(self, address: str, place: bytes) -> RelaySession | None:
        if address not in self.links:
            to = self.world.by_address.get(address)
            if to is None:
                return None
            self.links[address] = FakeLink(self.relay, self.world.random.choice(to), self.room)
        return self.links[address]

    def wake(self, address: str) -> None: ...


class Relay:
    """One process of a relay."""

    def __init__(self, world: "World", name: str, wires: Wires | None, process: str, bounds: Bounds, room: int) -> None:
        self.key = relay_key(name)
        self.address = format_relay(f"ws://{name}.test", sign_id_of(self.key))
        self.metrics = Metrics()
        self.federation = FakeFederation(self, world, room)
        cluster = Member(wires, process) if wires is not None else None
        self.router = Router(self.key, self.federation, cluster, self.metrics, bounds)


class World:
    """``relays``: the name of each and how many processes it has (0: one, and no cluster)."""

    def __init__(
        self, seed: int = 0, relays: dict[str, int] | None = None, bounds: Bounds | None = None, room: int = 8
    ) -> None:
        self.random = random.Random(seed)
        self.relays: list[Relay] = []
        self.wires: list[Wires] = []
        self.by_address: dict[str, list[Relay]] = {}
        for name, processes in (relays or {"relay": 0}).items():
            wires = Wires() if processes else None
            self.wires += [wires] if wires is not None else []
            for number in range(max(processes, 1)):
                relay = Relay(self, name, wires, f"p{number}", bounds or Bounds(), room)
                self.relays.append(relay)
                self.by_address.setdefault(relay.address, []).append(relay)

    async def open(self) -> "World":
        for relay in self.relays:
            await relay.router.open()
        return self

    async def close(self) -> None:
        for relay in self.relays:
            await relay.router.close()

    def steps(self) -> list[Callable[[], None]]:
        """What could happen next between relays and processes."""
        steps = [step for wires in self.wires for step in wires.steps()]
        for relay in self.relays:
            steps += [step for link in relay.federation.links.values() for step in link.steps()]
        return steps

    async def move(self, most: int = 1 << 30) -> None:
        """Let things happen, in any order, until nothing is on its way (or ``most`` have)."""
        for _ in range(most):
            await turn()
            steps = self.steps()
            if not steps:
                return
            self.random.choice(steps)()
        await turn()


async def turn() -> None:
    """Tasks that can go on have gone on."""
    for _ in range(3):
        await asyncio.sleep(0)
