"""Two processes of one relay at one Redis, behind one public URL, and the clients they have."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import Item, Limits
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from tests.bad_days.scene import Scene
from tests.bad_days.wires import Way
from tests.support.redis_fleets import free_port

SIGNED_IN = "mm_relay_signed_in"


class Fleet:
    """Two processes of one relay, each with a way of its own to Redis, behind one way for clients.

    Of the processes that ``/healthz`` calls ready (or, with ``pinned``, of that one alone) the first is dialled.
    """

    def __init__(self, scene: Scene, store: Callable[[int], str], redis_port: Callable[[], int]) -> None:
        self._scene, self._store, self._redis_port = scene, store, redis_port
        self.relays: list[RelayProcess] = []
        self.ways: list[Way] = []
        self.ready: list[int] = []
        self.pinned: int | None = None
        self.front: Way

    async def start(self, count: int = 2) -> "Fleet":
        self.front = await self._way(self._door)
        key = self._scene.folder / "key"
        Identity.load_or_create(key)
        for _ in range(count):
            way = await self._way(self._redis_port)
            self.ways.append(way)
            self.relays.append(
                await self._scene.relay(
                    "-v", "--store", self._store(way.port), "--identity", str(key), "--public-url", self.url
                )
            )
        watch = asyncio.create_task(self._watch())
        self._scene.stack.callback(watch.cancel)
        await self._scene.within(5, lambda: len(self.ready) == count, "the processes are not ready")
        return self

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.front.port}/"

    @property
    def address(self) -> str:
        return format_relay(self.url, Identity.load_or_create(self._scene.folder / "key").sign_id)

    async def signed_in(self, number: int) -> float:
        return await self.relays[number].metric(SIGNED_IN)

    def has(self, number: int, clients: int) -> Callable[[], Awaitable[bool]]:
        """Return a function that says whether so many clients are signed in at a process."""

        async def has() -> bool:
            return await self.signed_in(number) == clients

        return has

    async def _way(self, to: Callable[[], int]) -> Way:
        way = await Way(to).open()
        self._scene.stack.push_async_callback(way.close)
        return way

    def _door(self) -> int:
        usable = self.ready if self.pinned is None else [self.pinned]
        return self.relays[usable[0]].port if usable else 0

    async def _watch(self) -> None:
        """Ask for the health of each process once a second, as a balancer does."""
        while True:
            states = [await relay.health() for relay in self.relays]
            self.ready = [number for number, state in enumerate(states) if state.startswith("200")]
            await asyncio.sleep(1)


async def fleet(scene: Scene) -> tuple[Fleet, "Redis"]:
    redis = await Redis(scene).start()
    return await Fleet(scene, lambda port: f"redis://127.0.0.1:{port}/0", lambda: redis.port).start(), redis


class Redis:
    """A redis-server at a port of TCP."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self.port = scene, free_port()

    async def start(self) -> "Redis":
        self.server = await self._scene.redis(port=str(self.port))
        return self


async def pair(scene: Scene, fleet: Fleet) -> tuple[Platform, Platform]:
    """Sign Bob in at process 0 and Alice at process 1, as friends."""
    fleet.pinned = 0
    bob = await scene.node("bob", fleet.address)
    await scene.within(5, fleet.has(0, 1), "Bob is not signed in")
    fleet.pinned = 1
    alice = await scene.node("alice", fleet.address)
    await scene.within(5, fleet.has(1, 1), "Alice is not signed in")
    await scene.friends(alice, bob)
    return alice, bob


class Guests:
    """Clients that only stay signed in, and when each came back to the relay."""

    def __init__(self, address: str, count: int) -> None:
        self.came: list[float] = []
        self.byes: list[str] = []
        identities = [Identity.from_seed(number.to_bytes(32)) for number in range(1, count + 1)]
        place = parse_relay(address)
        self._clients = [Client(place, each, self, random=random.random, now=time.time) for each in identities]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))

    def relay_up(self, client: Client, limits: Limits) -> None:
        self.came.append(time.monotonic())

    def relay_down(self, client: Client, reason: str) -> None:
        self.byes.append(reason)

    def relay_said(self, client: Client, item: Item) -> None: ...

    def relay_writable(self, client: Client) -> None: ...


def logged(relay: RelayProcess, words: str) -> str:
    """Return the first line of the log with these words, without its time."""
    assert relay.log is not None
    lines = [line for line in relay.log.read_text().splitlines() if words in line]
    return lines[0].partition("mm_relay")[2] if lines else "nothing logged"
