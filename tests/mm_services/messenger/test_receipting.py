"""Receipts are on the disk before the note that a bundle is handled, whenever the node is killed."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger import receipting
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.receipting import AGAIN, MOST
from mmplatform.errors import StorageFull
from mmplatform.identity.keys import Identity
from tests.support.bundle_handling import HandlingNode, handling_after_kill, handling_in, message_of, receipts_in
from tests.support.bundle_stores import ALICE, BOB, CAROL, DAVE, US
from tests.support.waiting import stays, until

RECEIVED, READ, FAILED = ReceiptState.RECEIVED, ReceiptState.READ, ReceiptState.FAILED


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[HandlingNode]:
    async with handling_in(tmp_path / "node") as opened:
        yield opened


def listen(node: HandlingNode) -> list[Any]:
    """Have ``node`` write down the payloads that it handles."""
    heard: list[Any] = []
    node.handling.on("chat", lambda topic, sender, payload, bundle: heard.append(payload))
    return heard


async def test_one_receipt_names_what_ends_within_a_moment(node: HandlingNode) -> None:
    entries = [await node.store.take(message_of(number), for_us=True) for number in range(3)]
    for entry in entries:
        node.receipting.end(entry, RECEIVED)
    await until(lambda: node.posted)
    assert node.posted == [
        (ALICE.sign_id, [Named(entry.id, RECEIVED) for entry in entries], max(entry.expires for entry in entries))
    ]
    assert all(node.store.knows(entry.id) for entry in entries)
    assert not any(node.store.find(entry.id) for entry in entries), "what was for us alone is not kept"


async def test_many_are_told_at_once_in_receipts_of_some(node: HandlingNode) -> None:
    made = [message_of(number) for number in range(2 * MOST + 1)]
    for entry in [await node.store.take(each, for_us=True) for each in made]:
        node.receipting.end(entry, RECEIVED)
    await until(lambda: len(node.told) == len(made))
    assert [len(named) for _, named, _ in node.posted] == [MOST, MOST, 1]


async def test_each_sender_is_told_of_its_own(node: HandlingNode) -> None:
    for sender in (ALICE, CAROL):
        node.receipting.end(await node.store.take(message_of(1, sender=sender), for_us=True), RECEIVED)
    await until(lambda: len(node.posted) == 2)
    assert {sender for sender, _, _ in node.posted} == {ALICE.sign_id, CAROL.sign_id}


async def test_what_others_want_too_stays_and_counts_as_handled(node: HandlingNode) -> None:
    entry = await node.store.take(message_of(1, recipients=(BOB.sign_id, US.sign_id)), for_us=True)
    node.receipting.end(entry, RECEIVED)
    await until(lambda: entry.handled)
    assert node.store.find(entry.id) is entry


async def test_what_failed_is_told_and_stays(node: HandlingNode) -> None:
    entry = await node.store.take(message_of(1), for_us=True)
    node.receipting.end(entry, FAILED)
    await until(lambda: node.told == {entry.id: [FAILED]})
    assert node.store.find(entry.id) is entry
    assert not entry.handled


async def test_a_kill_before_the_note_hands_over_again_and_loses_no_receipt(node: HandlingNode, tmp_path: Path) -> None:
    """Killed while receipts are being written: what was handled comes again, and no more than MOST of it."""
    heard, made = listen(node), [message_of(number) for number in range(5 * MOST)]
    node.may_post.clear()
    for each in made:
        await node.get(each)
    await until(lambda: node.tries == 1)
    await stays(lambda: 1 <= len(heard) <= MOST, 0.1)
    assert await receipts_in(node.store) == set()
    async with handling_after_kill(node, tmp_path / "killed") as after:
        again = listen(after)
        after.resume()
        await until(lambda: len(after.told) == len(made))
        assert sorted(again) == list(range(5 * MOST))
        assert await receipts_in(after.store) == {each.id for each in made}
    node.may_post.set()
    await until(lambda: len(node.told) == len(made))
    assert heard == list(range(5 * MOST))


async def test_what_a_kill_has_handled_twice_is_at_most_one_receipt(node: HandlingNode, tmp_path: Path) -> None:
    """Killed after some receipts: whatever does not come again has its receipt on the disk."""
    heard, made = listen(node), [message_of(number) for number in range(4 * MOST)]
    for each in made[: 2 * MOST]:
        await node.get(each)
    await until(lambda: len(node.told) == 2 * MOST)
    node.may_post.clear()
    tries = node.tries
    for each in made[2 * MOST :]:
        await node.get(each)
    await until(lambda: node.tries > tries)
    await stays(lambda: 2 * MOST < len(heard) <= 3 * MOST, 0.1)
    async with handling_after_kill(node, tmp_path / "killed") as after:
        again = listen(after)
        after.resume()
        await until(lambda: len(after.told) == 2 * MOST)
        assert again == list(range(2 * MOST, 4 * MOST))
        assert 1 <= len(set(heard) & set(again)) <= MOST
        assert await receipts_in(after.store) == {each.id for each in made}


@pytest.mark.parametrize("senders", [(ALICE,), (ALICE, CAROL, DAVE)])
async def test_each_moment_of_a_kill_leaves_a_receipt_of_all_that_is_noted(
    node: HandlingNode, tmp_path: Path, senders: tuple[Identity, ...]
) -> None:
    made = [message_of(number, sender=senders[number % len(senders)]) for number in range(3 * MOST)]
    listen(node)
    for each in made:
        await node.get(each)

    def went_on(before: int) -> bool:
        return node.tries > before or len(node.told) == len(made)

    moment = 0
    while len(node.told) < len(made):
        async with handling_after_kill(node, tmp_path / f"killed{moment}") as after:
            unhandled = {entry.id for entry in after.store.entries() if entry.for_us and not entry.handled}
            assert {each.id for each in made} - unhandled <= await receipts_in(after.store)
        moment += 1
        before = node.tries
        await until(partial(went_on, before))
    assert moment


async def test_what_cannot_be_written_is_tried_again_and_holds_nobody_up(
    node: HandlingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipting, "AGAIN", 0.5)
    heard, made = listen(node), [message_of(number) for number in range(3 * MOST)]
    node.full = True
    for each in made:
        await node.get(each)
    await until(lambda: len(heard) == len(made))
    assert [type(error) for error, _ in node.failures] == [StorageFull]
    assert not any(entry.handled for entry in node.store.entries())
    node.full = False
    await until(lambda: len(node.told) == len(made))
    assert all(states == [RECEIVED] for states in node.told.values())


async def test_what_is_left_is_written_at_the_end(tmp_path: Path) -> None:
    made = message_of(1)
    async with handling_in(tmp_path) as node:
        node.receipting.end(await node.store.take(made, for_us=True), RECEIVED)
    assert node.told == {made.id: [RECEIVED]}
    async with handling_in(tmp_path) as again:
        assert again.store.find(made.id) is None
        assert await receipts_in(again.store) == {made.id}


async def test_nothing_is_tried_after_the_end(tmp_path: Path) -> None:
    made = message_of(1)
    async with handling_in(tmp_path) as node:
        node.full = True
        entry = await node.store.take(made, for_us=True)
        node.receipting.end(entry, RECEIVED)
    assert node.tries == 1
    node.receipting.end(entry, READ)
    loop = asyncio.get_running_loop()
    real = loop.time
    loop.time = lambda: real() + 2 * AGAIN  # type: ignore[method-assign]
    try:
        await stays(lambda: node.tries == 1, 0.05)
    finally:
        loop.time = real  # type: ignore[method-assign]
    async with handling_in(tmp_path) as again:
        found = again.store.find(made.id)
        assert found is not None
        assert not found.handled
