"""Letters are made of what still waits, also when that changes while it is read."""

from collections.abc import Callable

from mmplatform.mail.packing import Packer
from mmplatform.message import Priority
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, Node, until

NORMAL = Priority.NORMAL


class Slow(MemoryStorage):
    """``meanwhile`` happens before the next scan is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await super().scan(prefix, start, limit)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return found


async def two_runs(storage: Slow) -> Node:
    """A node with three messages of an earlier run, and one of this, in memory and sent over a link."""
    await storage.open()
    earlier = Node(storage, epoch=5)
    await earlier.outbox.open()
    for _ in range(3):
        await earlier.send()
    await earlier.outbox.close()
    node = Node(storage, epoch=6)
    await node.outbox.open()
    await node.send()
    node.link()
    await until(lambda: node.outbox.queue(BOB).sender.top(NORMAL, 6) == 1)
    node.take()
    return node


def packer(node: Node) -> Packer:
    return Packer(node.storage, node.outbox.runs, node.outbox.fates, node.clock)


def settle_earlier(node: Node) -> None:
    """All of the earlier run, so that its stream is forgotten."""
    node.acknowledge(3, epoch=5)
    node.take()
    assert not node.outbox.queue(BOB).sender.base(NORMAL, 5)


async def test_what_is_settled_while_it_is_read_is_in_no_letter() -> None:
    storage = Slow()
    node = await two_runs(storage)
    storage.meanwhile = lambda: settle_earlier(node)
    packed = await packer(node).next(node.outbox.queue(BOB), NORMAL)
    assert packed is not None
    assert (packed.letter.epoch, packed.letter.first, packed.letter.last) == (6, 1, 1)


async def test_a_letter_of_which_all_is_settled_is_dropped() -> None:
    storage = Slow()
    node = await two_runs(storage)
    queue = node.outbox.queue(BOB)
    first = await packer(node).next(queue, NORMAL)
    assert first is not None
    assert (first.letter.epoch, len(first.batch.records)) == (5, 3)
    storage.meanwhile = lambda: settle_earlier(node)
    assert await packer(node).again(queue, first.letter) is None
    assert len(queue.letters) == 0


async def test_a_letter_without_rows_is_dropped() -> None:
    storage = Slow()
    node = await two_runs(storage)
    queue = node.outbox.queue(BOB)
    settle_earlier(node)
    left = queue.letters.plan(NORMAL, 5, 1, 3)
    assert await packer(node).again(queue, left) is None
    assert len(queue.letters) == 0


async def test_a_letter_has_the_payload_that_its_message_shares() -> None:
    async with MemoryStorage() as storage:
        node = Node(storage)
        await node.outbox.open()
        await node.send(b"alone")
        await node.send_to_all(b"for all" * 100)
        packed = await packer(node).next(node.outbox.queue(BOB), NORMAL)
        assert packed is not None
        assert [record.payload for record in packed.batch.records] == [b"alone", b"for all" * 100]
        await node.outbox.close()
