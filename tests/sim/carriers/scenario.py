"""Rings, zones, islands, mules: what is measured of carriers, and what must hold."""

from pathlib import Path
from typing import NamedTuple

from mm_services.messenger.protocol.rules import DEFAULT, Rule
from tests.sim.carriers.world import CarrierWorld, SimCarrier

CHOICE = 5.0  # seconds until neighbours have chosen and met


class Spread(NamedTuple):
    """How one bundle got to all: seconds, the most hops, the most neighbours of a carrier, how often it was offered."""

    seconds: float
    hops: int
    neighbours: int
    offered: int


async def _spread(world: CarrierWorld, living: list[SimCarrier], most_hops: int, within: float) -> Spread:
    before = world.offered
    bundle = await living[0].send(most_hops=most_hops)
    seconds = await world.all_have(bundle, living, within)
    hops = max(node.hops.get(bundle, 0) for node in living)
    return Spread(seconds, hops, max(len(node.hood.neighbours) for node in living), world.offered - before)


async def ring(folder: Path, count: int, limit: int, most_hops: int, dead: float = 0.0, seed: int = 1) -> Spread:
    """Have everybody meet everybody, ``dead`` of them without answering any more, and one write to all."""
    async with CarrierWorld(folder, count, limit, seed) as world:
        world.link_all()
        await world.passes(CHOICE)
        for node in world.random.sample(world.nodes[1:], int(dead * count)):
            node.alive = False
        return await _spread(world, [node for node in world.nodes if node.alive], most_hops, 3600)


async def zones(folder: Path, count: int = 25, areas: int = 10, seed: int = 1) -> Spread:
    """Have carriers in overlapping areas in a row: each meets those of its own one or two."""
    async with CarrierWorld(folder, count, 0, seed) as world:
        where = {node: {node.number * areas // count} for node in world.nodes}
        for node in world.nodes[:-1]:
            if not where[node] & where[world.nodes[node.number + 1]]:
                where[node] |= where[world.nodes[node.number + 1]]
        for one in world.nodes:
            for other in world.nodes[one.number + 1 :]:
                if where[one] & where[other]:
                    world.link(one, other)
        await world.passes(CHOICE)
        return await _spread(world, world.nodes, 50, 3600)


class Mule(NamedTuple):
    """What a mule did: messages that came, of how many their sender knows that they are carried, meetings of 30 s with
    one of the two until the last, kills, bytes of large messages that were sent again, and the most of one message for
    each kill while it was on its way."""

    arrived: int
    carried: int
    contacts: int
    kills: int
    again: int
    of_one: float


def letters(count: int) -> list[bytes]:
    """Return so many contents: nearly all of 1 kB, every 26th of 1 MB, and one of 20 MB."""
    sizes = [20_000_000 if not n else 1_000_000 if n % 26 == 0 else 1000 for n in range(count)]
    return [bytes([n % 251]) * size for n, size in enumerate(sizes)]


async def mule(folder: Path, written: list[bytes], kill_every: float = 0.0, seed: int = 1) -> Mule:
    """Have B meet A and C in turn, 30 s each, who have written the same to each other. Somebody is killed every so many
    seconds of a meeting."""
    async with CarrierWorld(folder, 3, 0, seed) as world:
        a, b, c = world.nodes
        sent = [(await one.send([other.key], data), other) for one, other in ((a, c), (c, a)) for data in written]
        contacts, kills = 0, list[float]()
        while any(bundle not in node.came for bundle, node in sent):
            one = (a, c)[contacts % 2]
            world.link(b, one)
            until = world.time() + 30
            while (left := until - world.time()) > 0:
                await world.passes(min(left, kill_every * world.random.uniform(0.5, 1.5) if kill_every else left))
                if kill_every:
                    victim = world.random.choice((one, b))
                    world.cut(b, one)
                    await victim.kill()
                    world.link(b, one)
                    kills.append(world.time())
            world.cut(b, one)
            contacts += 1
            assert contacts < 200
        assert len(a.came) + len(c.came) == len(sent)
        again = {way: _again(blocks) for way, blocks in world.blocks.items()}
        of_one = max(
            size / max(1, sum(world.blocks[way][0][0] <= at <= world.blocks[way][-1][0] for at in kills))
            for way, size in again.items()
        )  # fmt: skip
        return Mule(len(sent), len(a.carried) + len(c.carried), contacts, len(kills), sum(again.values()), of_one)


def _again(blocks: list[tuple[float, int, int]]) -> int:
    """Return how many bytes of these blocks are of ones that were sent before."""
    first = {offset: size for _, offset, size in blocks}
    return sum(size for _, _, size in blocks) - sum(first.values())


class Life(NamedTuple):
    """One run of carriers that move about: bundles written, the most hops beyond what a sender allows, the longest that
    one was in a store beyond its lifespan, and how many got to somebody."""

    written: int
    hops_beyond: int
    seconds_beyond: float
    got: int


async def lives(folder: Path, seed: int, skew: float = 0.0) -> Life:
    """Have six carriers with clocks up to ``skew`` wrong meet at random, with loss, and write bundles that end soon."""
    async with CarrierWorld(folder, 6, 2, seed, loss=0.1) as world:
        rnd = world.random
        for node in world.nodes:
            node.skew = rnd.uniform(-skew, skew)
        ends: dict[bytes, tuple[float, int]] = {}
        beyond = 0.0
        for _ in range(12):
            one, other = rnd.sample(world.nodes, 2)
            (world.cut if world.links(one, other) else world.link)(one, other)
            if len(ends) < 6:
                lifespan, hops = rnd.randint(2, 20), rnd.randint(1, 3)
                writer = rnd.choice(world.nodes)
                to = [rnd.choice(world.nodes).key] if rnd.random() < 0.5 else []
                ends[await writer.send(to, lifespan=lifespan, most_hops=hops)] = world.time() + lifespan, hops
            await world.passes(rnd.uniform(0.5, 4))
            beyond = max([beyond, *_beyond(world, ends)])
        await world.passes(25)
        beyond = max([beyond, *_beyond(world, ends)])
        beyond_hops = [
            node.hops[bundle] - most
            for node in world.nodes
            for bundle, (_, most) in ends.items()
            if bundle in node.hops
        ]  # fmt: skip
        return Life(len(ends), max(beyond_hops, default=0), beyond, sum(len(node.came) for node in world.nodes))


def _beyond(world: CarrierWorld, ends: dict[bytes, tuple[float, int]]) -> list[float]:
    """Return for how many seconds bundles are in stores beyond their end."""
    return [world.time() - end for node in world.nodes for bundle, (end, _) in ends.items() if node.store.find(bundle)]


HONEST = 10
A_MINUTE = 240.0  # bundles that are taken of one sender


class Flood(NamedTuple):
    """What came at a recipient within a minute over ten carriers: of the flood, of the honest, and how late, in
    seconds: half of them, and all but one of a hundred."""

    flood: int
    honest: int
    p50: float
    p99: float


async def flood(folder: Path, a_second: int, seconds: int = 60, seed: int = 1) -> Flood:
    """Have ten write to one, once a second each, and somebody write so many a second over all ten of them."""
    rules = {**DEFAULT, "sender": [Rule(("friends",), (), A_MINUTE)]}
    async with CarrierWorld(folder, HONEST + 2, 0, seed, rules=rules) as world:
        to, *honest, other = world.nodes
        for node in honest:
            world.link(node, to)
            world.link(node, other)
        await world.passes(CHOICE)
        sent: dict[bytes, float] = {}
        floods: set[bytes] = set()
        for _ in range(seconds):
            for node in honest:
                sent[await node.send([to.key])] = world.time()
            for _ in range(10):
                floods |= {await other.send([to.key]) for _ in range(a_second // 10)}
                await world.passes(0.1)
        await world.passes(5)
        late = sorted(to.came_at[bundle] - at for bundle, at in sent.items() if bundle in to.came_at)
        came = len(floods & to.came_at.keys())
        return Flood(came, len(late), late[len(late) // 2], late[len(late) * 99 // 100])
