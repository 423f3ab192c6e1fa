"""One seeded run: trouble for a while, then everybody reads, and what must be true is looked at."""

from dataclasses import dataclass, field

from mm_relay.routing.flows import Bounds
from mm_transports.relay.protocol.items import RELAY, Closed, Data, Forwarded, Open, Pause, Present, Resume
from tests.sim.relay.peer import EVIL, Peer
from tests.sim.relay.world import Door, Relay, World, key_of

SMALL = Bounds(pause=4000, flow=20_000, peer=60_000, relay=60_000, attachment=80_000, total=300_000)


@dataclass
class Outcome:
    seed: int
    delivered: int = 0
    opened: int = 0
    overflowed: int = 0
    paused: int = 0
    half_open: int = 0  # links whose other side left unheard
    most: int = 0  # bytes waiting in one router
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.opened} links ({self.half_open} half open), {self.delivered} frames, "
            f"{self.paused} pauses, {self.overflowed} frames overflowed, {self.most} bytes waited at most, "
            f"wrong: {'; '.join(self.wrong) or 'nothing'}"
        )


class Scenario:
    def __init__(
        self, seed: int, relays: dict[str, int], peers: int, *, liars: bool = False, cuts: bool = False
    ) -> None:
        self.outcome = Outcome(seed)
        self.world = World(seed, relays, SMALL)
        self.random = self.world.random
        self.cuts = cuts
        self.peers = [
            Peer(self.world, key_of(f"peer{number}"), number % 5 == 4, self.outcome.wrong) for number in range(peers)
        ]
        self.homes = {peer.key: self.random.choice(list(self.world.by_address)) for peer in self.peers}
        self.liars: list[Door] = []
        if liars:
            self.liars = [Door(relay, key_of("liar"), RELAY, room=20).enter() for relay in self.world.relays]

    async def run(self, steps: int) -> Outcome:
        await self.world.open()
        for _ in range(steps):
            self.trouble(self.random.choice(self.peers))
            await self.world.move(self.random.choice((0, 0, 1, 3, 10)))
            self._look()
        await self.settle()
        self._judge()
        await self._empty()
        await self.world.close()
        return self.outcome

    # What happens.

    def trouble(self, peer: Peer) -> None:  # noqa: C901 - a table
        chance = self.random.random()
        if peer.run is None or chance < 0.02:
            if self.random.random() < 0.3 or peer.run is not None:
                peer.come(
                    self.random.choice(self.world.by_address[self.homes[peer.key]]), self.random.choice((1, 4, 30))
                )
        elif chance < 0.03:
            peer.go()
        elif chance < 0.08:
            peer.run.door.stopped = True
        elif chance < 0.13:
            peer.run.door.go_on()
        elif chance < 0.35:
            peer.read(self.random.choice((1, 5, 50)))
        elif chance < 0.42:
            other = self.random.choice(self.peers)
            if other is not peer:
                peer.open(other.key, self.random.getrandbits(53), self.homes[other.key])
        elif chance < 0.44 and self.liars:
            self._lie(self.random.choice(self.liars))
        elif chance < 0.445 and self.cuts:
            self._cut()
        elif live := peer.live():
            ends = self.random.choice(live)
            for _ in range(self.random.choice((1, 1, 5, 20))):
                peer.write(*ends, self.random.choice((0, 10, 800)))

    def _lie(self, liar: Door) -> None:
        source, target = (self.random.choice(self.peers).key for _ in range(2))
        said = self.random.choice(
            [
                Open(target, self.random.getrandbits(53), EVIL), Data(target, self.random.getrandbits(53), EVIL),
                Closed(target, 0, self.random.choice(("closed", "gone", "absent", "overflow"))), Pause(target),
                Resume(target), Present(target),
            ]
        )  # fmt: skip
        liar.say(Forwarded(source, target, said))
        liar.read(self.random.choice((0, 0, 5)))

    def _cut(self) -> None:
        federation = [link for relay in self.world.relays for link in relay.federation.links.values()]
        if federation:
            self.random.choice(federation).cut()

    async def settle(self) -> None:
        """Everybody reads until nothing is left to read."""
        for liar in self.liars:
            liar.leave()
        for peer in self.peers:
            if peer.run is not None:
                peer.run.door.go_on()
        while True:
            await self.world.move()
            waiting = [peer for peer in self.peers if peer.run is not None and peer.run.door.waiting]
            if not waiting:
                return
            for peer in waiting:
                peer.read(1000)

    # What must be true.

    def _look(self) -> None:
        for relay in self.world.relays:
            queues = relay.router._forwarding._queues
            self.outcome.most = max(self.outcome.most, queues.size)
            if queues.size > SMALL.total:
                self.outcome.wrong.append(f"{queues.size} bytes wait")

    def _judge(self) -> None:
        outcome, here = self.outcome, {peer.key: peer for peer in self.peers if peer.run is not None}
        outcome.delivered = sum(peer.delivered for peer in self.peers)
        outcome.opened = sum(peer.opened for peer in self.peers)
        outcome.paused = sum(peer.pauses for peer in self.peers)
        for relay in self.world.relays:
            outcome.overflowed += relay.metrics.dropped["overflow"]
            if relay.metrics.queued_bytes or relay.router._forwarding._queues.size:
                outcome.wrong.append("something waits and nobody is slow")
        for peer in here.values():
            self._judge_peer(peer, here)

    def _judge_peer(self, peer: Peer, here: dict[bytes, Peer]) -> None:
        run, wrong = peer.run, self.outcome.wrong
        assert run is not None
        if run.paused:
            wrong.append(f"{peer.name} was never told to resume {sorted(run.paused)}")
        if len(self.world.by_address) == 1:  # else a federation link may have gone, and the wish with it
            wrong += [f"{peer.name} was not told that {key.decode()} came" for key in run.absent & here.keys()]
        others = {other.key: other for other in self.peers}
        for (key, number), link in run.links.items():
            other = others[key]
            far = other.run.links.get((peer.key, number)) if other.run is not None else None
            if link.over or (peer.key, number) in other.closed:
                continue
            if far is None and len(self.world.by_address) > 1:
                self.outcome.half_open += 1  # Open and "gone" have crossed between relays: the handshake will time out
            elif far is None:
                wrong.append(f"{peer.name} was not told that {other.name} has gone")
            elif far.heard != link.sent:
                wrong.append(f"{far.heard} of {link.sent} frames came from {peer.name}")

    async def _empty(self) -> None:
        """When all have left nothing is kept of them."""
        for peer in self.peers:
            peer.go()
        await self.world.move()
        for relay in self.world.relays:
            for link in list(relay.federation.links.values()):
                link.cut()
        await self.world.move()
        for relay in self.world.relays:
            self._is_empty(relay)

    def _is_empty(self, relay: Relay) -> None:
        router = relay.router
        queues = router._forwarding._queues
        kept = len(router._attachments) + len(router._here) + len(router._watches) + queues.size + queues.count
        if router._presence is not None:
            for attachment in router._presence._processes.values():
                kept += (
                    len(attachment.flows)
                    + len(attachment.incoming)
                    + len(attachment.heard)
                    + len(attachment.by_link)
                    + len(attachment.detours)
                )
            kept += len(router._presence._sought)
        if kept:
            self.outcome.wrong.append(f"{kept} things are kept of peers that left")
