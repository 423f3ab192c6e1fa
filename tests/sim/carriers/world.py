"""Many carriers in one process: real stores, rights, meetings and choices; only the links between them are played."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from mm_services.messenger.answering import Answering
from mm_services.messenger.carrier import Carrier
from mm_services.messenger.neighbourhood import LINKED, Neighbourhood
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.blocks import hashes_of, root_of
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.packets import (
    PullBlock,
    Pulled,
    PulledBlock,
    PushBlock,
    PushBundles,
    Reply,
    Request,
)
from mm_services.messenger.protocol.rights import Rights
from mm_services.messenger.protocol.routing import Epidemic
from mm_services.messenger.protocol.rules import DEFAULT, Rules
from mm_services.messenger.store.entry import BundleEntry
from mmplatform.errors import RequestFailed, RequestTimeout
from mmplatform.identity.keys import Identity, SignId
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.upstream import Upstream
from tests.sim.relay_mail.clock import VirtualLoop
from tests.support.bundle_stores import NOW, TestedStore

TRIP: Final = 0.01  # seconds from a request to its reply
T = TypeVar("T")


class _Loop(VirtualLoop):
    """Virtual time, in which what a thread would do is done at once: one seed gives one run."""

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]  # its generics
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, in virtual time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


class SimCarrier:
    """One node. ``skew``: seconds by which its clock is wrong."""

    def __init__(self, world: "CarrierWorld", number: int, limit: int) -> None:
        self.world, self.number, self.skew = world, number, 0.0
        self.identity = Identity.from_seed(f"{world.seed}-{number}".encode().ljust(32, b"."))
        self.key = self.identity.sign_id
        self.alive = True
        self.came: list[bytes] = []
        """What came, each time that it did."""
        self.carried: set[bytes] = set()
        """Bundles of its own that another one has on its disk, as it knows."""
        self.hops: dict[bytes, int] = {}
        self.came_at: dict[bytes, float] = {}
        """When each came first, in virtual seconds."""
        self._limit = limit
        self._made()

    def _made(self) -> None:
        world = self.world
        self.store = TestedStore(world.folder / f"{self.number}")
        self.store._now = self.now
        rights = Rights(self.key, lambda peer, principal: peer == principal or principal == "friends", world.rules)
        self.carrier = Carrier(self.identity, self.store, rights, Epidemic(), _Watcher(self), self.now)
        self.answering = Answering(self.carrier, lambda peer: self.hood.chose_us(peer), lambda *_: None)
        line = cast(Upstream, _Line(world, self))
        self.hood = Neighbourhood(self.carrier, line, self._limit, list, world.random.random, world.failures.append)

    async def open(self) -> None:
        await self.store.open()
        self.hood.open()

    async def kill(self) -> None:
        """End as by a SIGKILL, and start again: what is not on the disk is lost, and nothing is said to anybody."""
        self.alive = False
        await self.hood.close()
        await self.answering.end(0.0)
        self.store._journal.close()  # else Python complains of the file
        self._made()
        await self.open()
        self.alive = True

    def now(self) -> float:
        """The Unix time that the node believes in."""
        return self.world.now() + self.skew

    async def send(
        self, recipients: Iterable[SignId] = (), data: bytes = b"hello", lifespan: int = 3600, most_hops: int = 8
    ) -> bytes:
        """Write a bundle, for everybody unless for ``recipients``; return its id."""
        created = int(self.now() * 1e6) + self.world.numbered()
        root = root_of(len(data), hashes_of(data))
        header = Header.create(
            self.identity, Kind.MESSAGE, tuple(recipients), created, lifespan, most_hops, len(data), root
        )
        entry = await self.carrier.post(header, data)
        return entry.id


class _Watcher:
    def __init__(self, node: SimCarrier) -> None:
        self._node = node

    def came(self, entry: BundleEntry) -> None:
        self._node.came.append(entry.id)
        self._node.hops[entry.id] = entry.hops
        self._node.came_at.setdefault(entry.id, self._node.world.time())

    def took(self, bundle: bytes, peer: SignId) -> None:
        self._node.carried.add(bundle)

    def received(self, bundle: bytes, peer: SignId, state: int) -> None: ...


class CarrierWorld:
    """All of them.

    Args:
        folder: has their stores.
        count: how many there are.
        limit: how many neighbours each chooses; 0 is all.
        seed: of everything that is drawn.
        loss: the part of requests that get no reply.
        rules: of each of them, to whom all others are friends.

    """

    def __init__(
        self, folder: Path, count: int, limit: int, seed: int = 1, loss: float = 0.0, rules: Rules = DEFAULT
    ) -> None:
        self.folder, self.seed, self.loss, self.rules = folder, seed, loss, rules
        self.random = random.Random(seed)
        self.failures: list[Exception] = []
        self.offered = 0  # bundles that were pushed or pulled, taken or not
        self.blocks: defaultdict[tuple[bytes, SignId], list[tuple[float, int, int]]] = defaultdict(list)
        """Of large bundles, to whom: when which block was sent, and its bytes."""
        self._numbers = 0
        self.nodes = [SimCarrier(self, number, limit) for number in range(count)]
        self.by_key = {node.key: node for node in self.nodes}
        self._linked: set[frozenset[SignId]] = set()

    async def __aenter__(self) -> "CarrierWorld":
        for node in self.nodes:
            await node.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.hood.close()
            await node.answering.end(1.0)
            await node.store.close()
        assert not self.failures

    @staticmethod
    def time() -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def now(self) -> float:
        """The true Unix time."""
        return NOW + self.time()

    def counted(self, request: Request, to: SimCarrier, reply: Reply | None, by: SimCarrier) -> None:
        """Count what is sent."""
        if reply is None and isinstance(request, PushBundles):
            self.offered += len(request.parcels)
        elif reply is None and isinstance(request, PushBlock):
            self.blocks[request.id, to.key].append((self.time(), request.offset, len(request.block)))
        elif isinstance(reply, Pulled):
            self.offered += len(reply.parcels)
        elif isinstance(request, PullBlock) and isinstance(reply, PulledBlock):
            self.blocks[request.id, by.key].append((self.time(), request.offset, len(reply.block)))

    def later(self, step: Callable[..., None], *told: Any) -> None:
        """Call ``step`` half a trip later, behind what was to be called before: a link keeps order, timers do not."""
        asyncio.get_running_loop().call_later(TRIP / 2 + self.numbered() * 1e-10, step, *told)

    def numbered(self) -> int:
        self._numbers += 1
        return self._numbers

    def links(self, one: SimCarrier, other: SimCarrier) -> bool:
        """Whether what one says gets to the other now."""
        return one.alive and other.alive and frozenset((one.key, other.key)) in self._linked

    def link(self, one: SimCarrier, other: SimCarrier) -> None:
        """Have two meet from now on."""
        self._linked.add(frozenset((one.key, other.key)))
        one.hood.came(other.key, LINKED)
        other.hood.came(one.key, LINKED)

    def cut(self, one: SimCarrier, other: SimCarrier) -> None:
        """Have two meet no more, which both notice."""
        self._linked.discard(frozenset((one.key, other.key)))
        one.hood.went(other.key, LINKED)
        other.hood.went(one.key, LINKED)

    def link_all(self) -> None:
        """Have everybody meet everybody."""
        for number, one in enumerate(self.nodes):
            for other in self.nodes[number + 1 :]:
                self.link(one, other)

    async def passes(self, seconds: float) -> None:
        """Let time pass; what is over goes from the stores, as the service has it."""
        end = self.time() + seconds
        while (now := self.time()) < end:
            await asyncio.sleep(min(1.0, end - now))
            for node in self.nodes:
                due = node.store.next_expiry()
                if due is not None and due <= node.now():
                    node.store.expire(node.now())

    async def all_have(self, bundle: bytes, among: Iterable[SimCarrier], within: float) -> float:
        """Let time pass until all of these know a bundle, return how many seconds; fail after ``within``."""
        begun, lacking = self.time(), list(among)
        while lacking := [node for node in lacking if not node.store.knows(bundle)]:
            assert self.time() - begun < within, f"{len(lacking)} have not got it"
            await self.passes(0.1)
        return self.time() - begun


class _Line:
    """Asks other carriers for one, and counts what it pushes."""

    def __init__(self, world: CarrierWorld, asker: SimCarrier) -> None:
        self._world, self._asker = world, asker

    def ask(
        self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float, patience: float = 0.0
    ) -> "asyncio.Future[bytes]":
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        trip = _Trip(self._world, self._asker, self._world.by_key[SignId(destination)], payload, timeout, reply)
        self._world.later(trip.arrives)
        return reply


class _Trip:
    """A request on its way, and its reply."""

    def __init__(
        self, world: CarrierWorld, asker: SimCarrier, asked: SimCarrier, payload: bytes, timeout: float,
        reply: "asyncio.Future[bytes]",
    ) -> None:  # fmt: skip
        self._world, self._asker, self._asked = world, asker, asked
        self._payload, self._timeout, self._reply = payload, timeout, reply
        self._request = packets.request(payload)

    def arrives(self) -> None:
        if self._is_lost():
            return
        self._world.counted(self._request, self._asked, None, self._asker)
        refused = self._asked.answering.on_request(
            "friends", "messenger", self._asker.key, self._payload, cast(OnReply, self._answered)
        )
        if refused is not None:
            self._answered(refused)

    def _answered(self, told: Any) -> None:
        if not self._is_lost():
            self._world.later(self._heard, told)

    def _heard(self, told: Any) -> None:
        if self._reply.done():
            return
        if isinstance(told, bytes):
            self._world.counted(self._request, self._asked, packets.reply(told), self._asker)
            self._reply.set_result(told)
        else:
            self._reply.set_exception(RequestFailed(str(told.error)))

    def _is_lost(self) -> bool:
        """Whether it gets no further: then its asker waits for it in vain."""
        world = self._world
        lost = not world.links(self._asker, self._asked) or world.random.random() < world.loss
        if lost:
            asyncio.get_running_loop().call_later(self._timeout, self._give_up)
        return lost

    def _give_up(self) -> None:
        if not self._reply.done():
            self._reply.set_exception(RequestTimeout("nothing came"))
