"""Random lives of an outbox: a shared payload is on disk exactly as long as a row wants it."""

import asyncio
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.durable import inspection
from mmplatform.durable.rows import segments
from mmplatform.durable.shared import PAYLOADS, SHARED
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL, LATER, Node, rows, until

PEERS = (BOB, CAROL, "D" * 43 + "=")
SOON = 2_000_000  # Unix milliseconds: expires when the clock moves on


class Step(NamedTuple):
    """What is done next; ``number`` chooses the peers, the message or how much."""

    what: str
    number: int


steps = st.builds(
    Step,
    st.sampled_from(
        ["send", "send", "send soon", "alone", "cancel", "expire", "deliver", "deliver", "restart", "kill"]
    ),
    st.integers(0, 40),
)


class Life:
    """A node through its runs, with what each message that has not ended should carry."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.waiting: dict[str, tuple[str, bytes]] = {}  # id -> peer, payload
        self.soon: set[str] = set()
        self.clock = 1000.0
        self.runs = self.sent = 0

    async def start(self) -> None:
        self.runs += 1
        self.node = Node(self.storage, epoch=100 + self.runs)
        self.node.known = {BOB, CAROL}
        self.node.clock.now = self.clock
        await self.node.outbox.open()

    async def step(self, what: str, number: int) -> None:
        node = self.node
        if what in ("send", "send soon", "alone"):
            await self.send(what, number)
        elif what == "cancel" and self.waiting:
            name = sorted(self.waiting)[number % len(self.waiting)]
            if await inspection.cancel(node.outbox, name):
                del self.waiting[name]
        elif what == "expire":
            self.clock = node.clock.now = max(self.clock, SOON / 1000 + 1)
            node.outbox.expiry.look()
        elif what == "deliver":
            await self.deliver(PEERS[number % 3], 1 + number // 3)
        elif what == "restart":
            await node.outbox.close()
            await self.start()
        elif what == "kill":
            node.outbox._unsynced._deletions.clear()
            await node.outbox.close()
            await self.start()

    async def send(self, what: str, number: int) -> None:
        self.sent += 1
        payload = b"%d." % self.sent * (1 + number)
        expires = SOON if what == "send soon" else LATER
        if what == "alone":
            deliveries = [await self.node.send(payload, PEERS[number % 3])]
        else:
            some = [peer for bit, peer in enumerate(PEERS) if (1 + number % 7) >> bit & 1]
            deliveries = await self.node.send_to_all(payload, some, lane=1 + number % 2, expires=expires)
        self.waiting |= {delivery.id: (delivery.peer, payload) for delivery in deliveries}
        if what == "send soon":
            self.soon |= {delivery.id for delivery in deliveries}

    async def deliver(self, peer: str, most: int) -> None:
        """Some of what waits for ``peer`` goes out, and is acknowledged."""
        queue = self.node.link(peer)
        await until(lambda: all(lane.loader is None for lane in queue.lanes))
        batches, expired = queue.sender.take(most, 1 << 30, int(self.clock * 1000))
        for settled in expired:
            self.node.outbox.settle(peer, settled)
        for batch in batches:
            for record in batch.records:
                name = f"{batch.epoch}.{batch.lane}.{record.seq}@{peer}"
                if record.topic:
                    assert self.waiting.pop(name) == (peer, record.payload)
            self.node.acknowledge(batch.records[-1].seq, peer, batch.epoch, lane=batch.lane)
        queue.linked = False
        queue.sender.link_down()
        await until(lambda: all(lane.loader is None for lane in queue.lanes))

    async def check(self) -> None:
        """What is on disk is what its rows want; nothing that waits has lost its row."""
        await until(lambda: not self.node.outbox._unsynced.pending)
        await self.storage.write([])
        found = [segments.decode(value) for _, value in await rows(self.storage, b"outbox/")]
        names = {name for segment in found for _, _, name in segment.shared}
        assert {key[len(PAYLOADS) :] for key, _ in await rows(self.storage, PAYLOADS)} == names
        assert {key[len(SHARED) :] for key, _ in await rows(self.storage, SHARED)} == names
        assert set(self.node.outbox.shared._uses) == names
        assert self.node.errors == []

    async def drain(self) -> None:
        """All that waits comes out, with its payload, and nothing stays."""
        for peer in PEERS:
            queue = self.node.link(peer)
            while not queue.empty:
                await self.deliver(peer, 1 << 20)
                self.node.link(peer)
        assert {name for name in self.waiting if not (name in self.soon and self.clock * 1000 >= SOON)} == set()
        await self.check()
        assert await rows(self.storage, b"outbox/") == await rows(self.storage, PAYLOADS) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_a_payload_is_on_disk_exactly_while_a_row_wants_it(life: list[Step]) -> None:
    async def run() -> None:
        one = Life()
        async with one.storage:
            await one.start()
            for step in life:
                await one.step(*step)
                await one.check()
            await one.drain()
            await one.node.outbox.close()

    asyncio.run(run())
