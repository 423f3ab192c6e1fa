"""What a node notes as handled, and when: a kill must repeat little, and never lose what a handler has saved."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mmplatform import Message, Platform
from mmplatform.durable.handled_log import HandledLog, HandledNote
from mmplatform.message import Priority
from mmplatform.storage.contract import Row
from tests.support.waiting import stays, until
from tests.support.world import World

COUNT = 100
MOST = 16  # messages that a kill may repeat


def noted(node: Platform) -> list[HandledNote]:
    """What a start after a kill in this moment would read."""
    assert node.parts.folder is not None
    log = HandledLog(node.parts.folder.path / "handled", lambda error: None)
    try:
        return log.open()
    finally:
        log.close()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[Platform, Platform]]:
    """Alice, and Bob with a folder of his own."""
    world = World()
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(world.node(1))
        bob = await stack.enter_async_context(world.node(2, storage=tmp_path / "bob"))
        await alice.add(bob.ticket(), circle="friends")
        await bob.add(alice.ticket(), circle="friends")
        await alice.connect(bob.sign_id)
        yield alice, bob


@asynccontextmanager
async def slow_disk(node: Platform, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """What ``node`` writes while the block runs is on its disk when the block is over."""
    writes: list[tuple[Sequence[Row], asyncio.Future[None]]] = []

    def later(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        writes.append((rows, asyncio.get_running_loop().create_future()))
        return writes[-1][1]

    with monkeypatch.context() as patch:
        patch.setattr(node.storage, "write", later)
        yield
    for rows, written in writes:
        await node.storage.write(rows)
        written.set_result(None)


async def send(alice: Platform, bob: Platform, count: int) -> None:
    """In one frame."""
    await asyncio.gather(*(alice.messaging.send("chat", bob.sign_id, n) for n in range(count)))


async def test_what_a_handler_saves_is_never_noted_as_handled_before_it_is_saved(
    nodes: tuple[Platform, Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = nodes
    ran: list[int] = []

    @bob.messaging.on("friends.chat")
    def keep(topic: str, sender: str, payload: int, message: Message) -> None:
        message.put(f"chat/{payload}", payload)
        ran.append(payload)

    async with slow_disk(bob, monkeypatch):
        await send(alice, bob, COUNT)
        await until(lambda: len(ran) == COUNT)
        await stays(lambda: all(note.lane != Priority.NORMAL for note in noted(bob)), 0.05)

    async def all_kept() -> bool:
        return len(await bob.kept.items("chat/")) == COUNT

    await until(all_kept)


async def test_plain_handlers_at_full_speed_are_noted_at_once(nodes: tuple[Platform, Platform]) -> None:
    """At any moment a kill would repeat at most 16 messages, the one in hand included."""
    alice, bob = nodes
    behind: list[int] = []

    @bob.messaging.on("friends.chat")
    def count(topic: str, sender: str, payload: int) -> None:
        behind.append(payload + 1 - sum(note.high - note.low + 1 for note in noted(bob)))

    await send(alice, bob, COUNT)
    await until(lambda: len(behind) == COUNT)
    assert max(behind) <= MOST


async def test_a_receipt_is_not_noted_as_handled_before_what_it_says_is_saved(
    nodes: tuple[Platform, Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in between would leave the message "received" for good."""
    alice, bob = nodes
    delivery = await bob.messaging.send("chat", alice.sign_id, 1)
    await delivery.received()
    await stays(lambda: True, 0.05)
    before = noted(bob)
    async with slow_disk(bob, monkeypatch):
        alice.messaging.on("friends.chat", lambda topic, sender, payload: None)
        await delivery
        await stays(lambda: noted(bob) == before, 0.05)
