"""What goes to several peers is on disk once, as long as one of them wants it, whatever is killed meanwhile."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.codec import encode
from mmplatform.durable import inspection
from mmplatform.durable.rows import segments
from mmplatform.durable.shared import PAYLOADS, SHARED, SHARED_FROM
from mmplatform.errors import StorageCorrupt, StorageFull
from mmplatform.storage.contract import Storage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.outbox import BOB, CAROL, LATER, NORMAL, Node, full, rows, running, until

ROOT = Path(__file__).parents[3]
DAVE = "D" * 43 + "="
ALL = (BOB, CAROL, DAVE)
LARGE = bytes(range(256)) * 400
WANTED = b"wanted" * 1000


async def written(node: Node) -> None:
    await until(lambda: not node.outbox._unsynced.pending)
    await node.storage.write([])


async def payloads(storage: Storage) -> list[bytes]:
    """The payloads on disk; each has a row that says who wants it."""
    kept = await rows(storage, PAYLOADS)
    assert len(kept) == len(await rows(storage, SHARED))
    return [value for _, value in kept]


async def size(storage: Storage) -> int:
    return sum(len(value) for _, value in await rows(storage, b""))


async def test_one_copy_is_on_disk_however_many_receive_it(node: Node) -> None:
    before = await size(node.storage)
    deliveries = await node.send_to_all(LARGE, ALL)
    assert [delivery.peer for delivery in deliveries] == list(ALL)
    assert await payloads(node.storage) == [LARGE]
    assert len(await rows(node.storage, b"outbox/")) == 3
    assert await size(node.storage) - before < len(LARGE) + 1000
    node.link()
    assert [record.payload for record in node.take()] == [LARGE]


async def test_the_last_delivery_takes_it_from_the_disk(node: Node) -> None:
    await node.send_to_all(LARGE, ALL)
    for peer in ALL:
        assert await payloads(node.storage) == [LARGE]
        node.link(peer)
        node.take(peer)
        node.acknowledge(1, peer)
        await written(node)
    assert await rows(node.storage, b"outbox/") == await payloads(node.storage) == []
    assert (node.outbox.shared.wanted, node.outbox.shared._uses, node.outbox.shared._sizes) == ({}, {}, {})


async def test_what_is_cancelled_or_expires_lets_go_of_it(node: Node) -> None:
    deliveries = await node.send_to_all(LARGE, ALL, expires=2_000_000)
    assert await inspection.cancel(node.outbox, deliveries[0].id)
    assert await payloads(node.storage) == [LARGE]
    node.clock.now = 3000.0
    node.outbox.expiry.look()
    await written(node)
    assert [delivery.state for delivery in deliveries] == ["cancelled", "expired", "expired"]
    assert await payloads(node.storage) == []


async def test_a_message_for_one_peer_shares_a_row_and_no_payload(node: Node) -> None:
    alone, saved = node.outbox.put(node.outbox.queue(BOB), NORMAL, "chat", "ms", b"alone", LATER)
    await node.send_to_all(LARGE)
    await saved
    kept = await rows(node.storage, b"outbox/")
    assert len(kept) == 2
    bob = segments.decode(kept[0][1])
    assert [record.payload for record in bob.records] == [b"alone", b""]
    assert [(seq, length) for seq, length, _ in bob.shared] == [(alone.seq + 1, len(LARGE))]
    node.link()
    assert [record.payload for record in node.take()] == [b"alone", LARGE]


async def test_rows_for_one_peer_are_what_they_were(node: Node) -> None:
    await node.send(b"alone")
    assert [len(segments.decode(value).shared) for _, value in await rows(node.storage, b"outbox/")] == [0]
    assert [value for _, value in await rows(node.storage, b"outbox/")] == [
        encode((5, [(1, LATER, "chat", "ms", b"alone")]))
    ]


async def test_all_are_accepted_or_none(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await rows(node.storage, b"")
    free = full(node.storage, monkeypatch)
    with pytest.raises(StorageFull):
        await node.send_to_all(LARGE, ALL)
    free()
    await written(node)
    assert await rows(node.storage, b"") == before
    assert (node.outbox.size, node.outbox.shared.wanted, node.woken) == (0, {}, [])
    assert [delivery.seq for delivery in await node.send_to_all(LARGE, ALL)] == [1, 1, 1]


@pytest.mark.parametrize(("payload", "written"), [(b"x", 3), (LARGE, 5)])
async def test_strangers_among_them_are_saved_with_the_others(node: Node, payload: bytes, written: int) -> None:
    node.outbox._disk.spend(1 << 30, asyncio.get_running_loop().time())  # nothing more may be written for strangers
    writes: list[int] = []
    write = node.storage.write
    node.storage.write = lambda rows, *, sync=True: writes.append(len(rows)) or write(rows, sync=sync)  # type: ignore[method-assign,func-returns-value]
    await node.send_to_all(payload, ALL)
    assert writes == [written]


async def test_small_messages_cost_no_more_than_to_one_peer_after_the_other(node: Node) -> None:
    """Each had two rows more, and shared no row with others of its turn: 2.6 times the work, of many at once."""
    await asyncio.gather(*(node.send_to_all(bytes([number]) * 100) for number in range(20)))
    assert len(await rows(node.storage, b"outbox/")) == 2
    assert await payloads(node.storage) == []
    for peer in (BOB, CAROL):
        node.link(peer)
        assert [record.payload[0] for record in node.take(peer)] == list(range(20))


async def test_large_messages_of_one_turn_share_rows_and_payloads(node: Node) -> None:
    await asyncio.gather(*(node.send_to_all(bytes([number]) * SHARED_FROM) for number in range(20)))
    assert len(await rows(node.storage, b"outbox/")) == 2
    assert len(await payloads(node.storage)) == 20
    for peer in (BOB, CAROL):
        node.link(peer)
        assert [record.payload[0] for record in node.take(peer)] == list(range(20))


async def test_it_is_there_after_a_restart(store: Callable[[], Storage]) -> None:
    async with running(store(), epoch=5) as node:
        await node.send_to_all(LARGE, ALL)
        await node.send_to_all(b"small", ALL)
        size = node.outbox.size
    async with running(store(), epoch=6) as node:
        assert abs(size - node.outbox.size) < 1000, "what shares a payload counts as large as it is in memory"
        assert [message.size async for message in inspection.queued(node.outbox, BOB)] == [len(LARGE), 5]
        for peer in ALL:
            node.link(peer)
            assert [record.payload for _, record in await node.drain(peer)] == [LARGE, b"small"]
        await written(node)
        assert await payloads(node.storage) == []


async def test_what_no_row_wants_is_gone_after_a_start(store: Callable[[], Storage]) -> None:
    async with running(store(), epoch=5) as node:
        await node.send_to_all(LARGE)
        await node.send_to_all(WANTED)
        kept = [(key, segments.decode(value)) for key, value in await rows(node.storage, b"outbox/")]
        await node.storage.write([(key, None) for key, segment in kept if segment.shared[0][1] == len(LARGE)])
    async with running(store(), epoch=6) as node:
        await written(node)
        assert await payloads(node.storage) == [WANTED]


async def test_a_payload_that_is_gone_ends_its_messages_and_says_so(store: Callable[[], Storage]) -> None:
    async with running(store(), epoch=5) as node:
        delivery, _ = await node.send_to_all(LARGE)
    async with running(store(), epoch=6) as node:
        await node.storage.write([(key, None) for key, _ in await rows(node.storage, PAYLOADS)])
        node.link()
        await until(lambda: node.outbox.queue(BOB).empty)
        await written(node)
        assert await inspection.state(node.outbox, delivery.id) == "refused"
        assert "gone" in str(node.errors)


async def test_who_wants_it_cannot_be_read_and_it_is_delivered_all_the_same(store: Callable[[], Storage]) -> None:
    async with running(store(), epoch=5) as node:
        await node.send_to_all(LARGE)
        await node.storage.write([(key, b"\xc1") for key, _ in await rows(node.storage, SHARED)])
    async with running(store(), epoch=6) as node:
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        node.link()
        assert [record.payload for _, record in await node.drain()] == [LARGE]


KILLED = """
import asyncio, sys
from pathlib import Path
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.outbox import BOB, CAROL, Node, until

async def main():
    store = SQLiteStorage(Path(sys.argv[1]))
    await store.open()
    node = Node(store)
    await node.outbox.open()
    first = await node.send_to_all(b"first" * 20_000, (BOB, CAROL))
    await node.send_to_all(b"second" * 20_000, (BOB, CAROL))
    for peer in (BOB, CAROL)[: int(sys.argv[2])]:
        node.link(peer)
        node.take(peer)
        node.acknowledge(1, peer)
    await until(lambda: not node.outbox._unsynced.pending)
    await store.write([])
    queues = [node.outbox.queue(peer) for peer in (BOB, CAROL)]
    third = asyncio.create_task(node.outbox.put_all(queues, 2, "chat", "ms", b"third" * 20_000, 10**13))
    await asyncio.sleep(0)
    print("accepted", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def send_and_be_killed(path: Path, delivered: int) -> None:
    command = [sys.executable, "-c", KILLED, str(path), str(delivered)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"accepted\n"
        process.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("delivered", [0, 1, 2])
async def test_what_was_accepted_for_all_survives_kill_9(tmp_path: Path, delivered: int) -> None:
    await asyncio.to_thread(send_and_be_killed, tmp_path / "data.db", delivered)
    async with running(SQLiteStorage(tmp_path / "data.db"), epoch=6) as node:
        kept = [value[:5] for value in await payloads(node.storage)]
        accepted = [b"first"] * (delivered < 2) + [b"secon"]
        assert kept in (accepted, [*accepted, b"third"]), "what was not awaited is there for all, or for nobody"
        for index, peer in enumerate((BOB, CAROL)):
            node.link(peer)
            got = [record.payload[:5] for _, record in await node.drain(peer)]
            assert got == kept[delivered == 1 and index < delivered :]
        await written(node)
        assert await payloads(node.storage) == []
