"""Bad days of clusters: a process cut off from the store, Sentinel and Redis Cluster whose primaries die."""

import asyncio
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import Item, Limits
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.bad_days.wires import Way
from tests.support.redis_fleets import PASSWORD, SENTINEL_PASSWORD, RedisNodes, Sentinels, free_port

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


async def cut_off(scene: Scene, happens: Callable[[Way], None]) -> None:
    """Cut process 0, where Bob is, off from the store; Alice is at process 1 and writes to him."""
    both, _ = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    both.pinned = None
    happens(both.ways[0])
    await alice.messaging.send("chat", bob.sign_id, 2)

    async def moved() -> bool:
        return await both.signed_in(0) == 0 and await both.signed_in(1) == 2

    await scene.within(15, moved, "the process that is cut off keeps Bob", named="given away in")
    await scene.within(5, lambda: not heard.lost(2), "Alice does not reach Bob", named="the message after that in")
    scene.tell(f"operator: {await both.relays[0].health()}; {logged(both.relays[0], 'cut off from the store and')}")
    both.ways[0].heal()
    await scene.within(15, lambda: 0 in both.ready, "the process does not come back", named="back in service")
    scene.holds(not heard.repeated, "a message came twice")


@bad_day(quick=False, most=70)
async def cut_off_from_redis(scene: Scene) -> None:
    """One of two processes is cut off from Redis: its clients are signed in at the other one within 15 s."""
    await cut_off(scene, Way.cut)


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


@bad_day(quick=False, most=70)
async def two_hundred_are_given_away(scene: Scene) -> None:
    """A process that is cut off has 200 clients: all are signed in elsewhere within 15 s, and do not come at once."""
    both, _ = await fleet(scene)
    both.pinned = 0
    guests = Guests(both.address, 200)
    scene.stack.push_async_callback(guests.close)
    guests.start()
    await scene.within(20, both.has(0, 200), "the clients are not signed in")
    guests.came.clear()
    both.pinned = None
    began = time.monotonic()
    both.ways[0].cut()
    await scene.within(15, both.has(1, 200), "not all are signed in elsewhere", named="all elsewhere in")
    at = sorted(guests.came)
    most = max(sum(first <= each < first + 0.5 for each in at) for first in at)
    scene.tell(f"the first after {at[0] - began:.1f} s, at most {most} in half a second, told {set(guests.byes)}")
    scene.holds(most <= 80, "they come at once")


@bad_day(quick=False, most=90)
async def no_word_from_redis(scene: Scene) -> None:
    """What one of two processes sends to Redis vanishes without a word: its clients are given away within 15 s."""
    await cut_off(scene, Way.stall)


@bad_day(quick=False, most=90)
async def all_cut_off_from_redis(scene: Scene) -> None:
    """Redis is gone for 20 s for all processes: clients stay where they are, and go on when it is back."""
    both, redis = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    redis.server.kill()
    both.pinned = None
    await alice.messaging.send("chat", bob.sign_id, 2)
    await scene.rest(20)
    circles = [logged(relay, "were given to") for relay in both.relays]
    scene.holds(circles == ["nothing logged"] * 2, "clients were sent round in circles")
    scene.holds([await both.signed_in(number) for number in (0, 1)] == [1, 1], "clients did not stay")
    scene.holds(not both.ready, "a process says that it is ready")
    redis.server.start()
    await scene.within(7, lambda: not heard.lost(2), "the message does not come", named="Redis back, message in")


@bad_day(quick=False, most=90)
async def nobody_at_the_public_url(scene: Scene) -> None:
    """A process is cut off from Redis and cannot reach the public URL either: it goes by what Redis said last."""
    both, _ = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await scene.rest(2)
    both.pinned = None
    both.ways[0].cut()
    both.front.is_cut = True
    began_away = both.has(0, 0)
    await scene.within(20, began_away, "clients are kept", named="given away in")
    both.front.heal()
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(25, lambda: not heard.lost(1), "the message does not come", named="the message in")


def logged(relay: RelayProcess, words: str) -> str:
    """Return the first line of the log with these words, without its time."""
    assert relay.log is not None
    lines = [line for line in relay.log.read_text().splitlines() if words in line]
    return lines[0].partition("mm_relay")[2] if lines else "nothing logged"


async def mail_through(scene: Scene, url: str, dies: Callable[[], Awaitable[None]], secrets: tuple[str, ...]) -> None:
    """Alice mails 40 messages to Bob, who is away; the store loses its primary after 20. Bob comes when Alice has left.

    What was told Stored at the death is at the replica, too, so all of it is there in the end.
    """
    relay = await scene.relay("-v", "--store", url)
    bob, alice = await scene.node("bob", relay), await scene.node("alice", relay)
    await scene.friends(alice, bob)
    await bob.stop()
    sent = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(1, 21)]

    def relayed() -> bool:
        return all(delivery.state == "relayed" for delivery in sent)

    await scene.within(15, relayed, "the relay keeps nothing")
    await dies()
    for number in range(21, 41):
        sent.append(await alice.messaging.send("chat", bob.sign_id, number))
        await scene.rest(0.05)
    await scene.within(30, relayed, "mail is not kept after the death of the primary", named="kept again after")
    await alice.stop()

    async def ready() -> bool:
        return (await relay.health()).startswith("200")

    await scene.within(15, ready, "the relay is not ready again", named="ready again")
    again = await scene.node("bob", relay)
    heard = scene.heard(again)
    await scene.within(10, lambda: not heard.lost(40), "what was told Stored is lost", named="all 40 in")
    scene.holds(not heard.repeated, f"{heard.repeated} came twice")
    quoted = [secret for secret in secrets if relay.log and secret in relay.log.read_text()]
    scene.holds(not quoted, "a password is in the log")


@bad_day(quick=False, most=120)
async def sentinel_promotes_the_replica(scene: Scene) -> None:
    """The primary that sentinels watch is killed under load: the relay goes on at the replica, nothing is lost."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()

    async def dies() -> None:
        await sentinels.primary.command("WAIT", "1", "2000")
        sentinels.primary.kill()

    await mail_through(scene, sentinels.url, dies, (PASSWORD, SENTINEL_PASSWORD))
    scene.holds(await sentinels.primary_port() == sentinels.replica.port, "no failover")


@bad_day(quick=False, most=120)
async def a_node_of_the_redis_cluster_dies(scene: Scene) -> None:
    """The node of a Redis Cluster that has the relay's slot is killed under load; its replica takes over."""
    nodes = RedisNodes(replicas=1)
    scene.stack.callback(nodes.remove)
    await nodes.start()

    async def dies() -> None:
        [name] = [each.name for each in scene.folder.iterdir() if each.name.startswith("relay") and each.is_dir()]
        key = Identity.load_or_create(scene.folder / name / "identity").sign_key.hex()[:16]
        owner = await nodes.owner(f"{{mm-relay:{key}}}")
        await owner.command("WAIT", "1", "2000")
        owner.kill()

    await mail_through(scene, nodes.url, dies, (PASSWORD,))


@bad_day(quick=False, most=120)
async def the_primary_freezes(scene: Scene) -> None:
    """The primary that sentinels watch stops for 20 s, and comes back as a replica: nothing told Stored is lost."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()

    async def freezes() -> None:
        await sentinels.primary.command("WAIT", "1", "2000")
        sentinels.primary.signal(signal.SIGSTOP)
        thaw = asyncio.get_running_loop().call_later(20, sentinels.primary.signal, signal.SIGCONT)
        scene.stack.callback(thaw.cancel)

    await mail_through(scene, sentinels.url, freezes, (PASSWORD, SENTINEL_PASSWORD))
    scene.holds(await sentinels.primary_port() == sentinels.replica.port, "no failover")


@bad_day(quick=False, most=120)
async def the_replica_lagged(scene: Scene) -> None:
    """The replica that is promoted lacks 20 of 40 envelopes told Stored: their sender, who lives, sends them anew."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    relay = await scene.relay("-v", "--store", sentinels.url)
    bob, alice = await scene.node("bob", relay), await scene.node("alice", relay)
    await scene.friends(alice, bob)
    await bob.stop()
    sent = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(1, 21)]
    await scene.within(15, lambda: all(each.state == "relayed" for each in sent), "the relay keeps nothing")
    await sentinels.primary.command("WAIT", "1", "2000")
    sentinels.replica.signal(signal.SIGSTOP)
    sent += [await alice.messaging.send("chat", bob.sign_id, number) for number in range(21, 41)]
    await scene.within(15, lambda: all(each.state == "relayed" for each in sent), "the relay keeps nothing more")
    sentinels.primary.kill()
    sentinels.replica.signal(signal.SIGCONT)

    async def promoted() -> bool:
        return await sentinels.primary_port() == sentinels.replica.port

    await scene.within(30, promoted, "no failover", named="failover in")
    again = await scene.node("bob", relay)
    heard = scene.heard(again)
    await scene.within(20, lambda: not heard.lost(40), "messages are lost", named="all 40 in")
    scene.holds(not heard.repeated, f"{heard.repeated} came twice")


@bad_day(quick=False, most=120)
async def links_after_a_failover(scene: Scene) -> None:
    """Friends at two processes of a relay write on while Sentinel gives the store another primary."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    both = await Fleet(scene, lambda port: sentinels.url, lambda: 0).start()
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    sentinels.primary.kill()
    for number in range(2, 42):
        await alice.messaging.send("chat", bob.sign_id, number)
        await scene.rest(0.25)
    await scene.within(10, lambda: not heard.lost(41), "a message is lost", named="all in")
    scene.tell(f"longest gap {heard.gap:.1f} s")
    scene.holds(not heard.repeated, "a message came twice")
    scene.holds(heard.gap < 10, "live messages wait for too long")


@bad_day(quick=False, most=90)
async def the_wrong_password(scene: Scene) -> None:
    """A relay has the wrong password of Redis: it does not start, says so, and quotes no password."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    for url in (sentinels.url.replace(PASSWORD, "guessed-it"), sentinels.url.replace(SENTINEL_PASSWORD, "guessed-it")):
        said = await refused(scene.folder / "refused", "--store", url)
        scene.holds("guessed-it" not in said and PASSWORD not in said, "it quotes a password")
        scene.tell(f"operator: {said}")


async def refused(folder: Path, *options: str) -> str:
    """Return what a relay says that does not start."""
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    relay = RelayProcess(folder, *options, log=log)
    try:
        await relay.start()
    except RuntimeError:
        return log.read_text().strip()
    await relay.kill()
    return "it started"
