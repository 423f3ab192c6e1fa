"""The runs of a node: each has its own numbers, and what is known of them survives damage."""

from collections.abc import Callable

import pytest

from mmplatform.durable import inspection, runs
from mmplatform.storage.contract import Storage
from tests.support.outbox import running


async def test_numbers_begin_anew_with_each_run_and_runs_are_remembered(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RUNS_KEPT", 3)
    ids = []
    for epoch in range(10, 16):
        async with running(store(), epoch) as node:
            delivery = await node.send()
            assert (delivery.seq, delivery.epoch) == (1, epoch)
            ids.append(delivery.id)
            if epoch != 15:
                node.link()
                await node.drain()
    async with running(store(), 16) as node:
        states = [await inspection.state(node.outbox, delivery_id) for delivery_id in ids]
        assert states == ["unknown"] * 4 + ["delivered", "waiting"], "three runs are known: 14, 15 and this one"


@pytest.mark.parametrize("damage", [b"\xc1", b""])
async def test_the_list_of_runs_is_found_again(store: Callable[[], Storage], damage: bytes) -> None:
    async with running(store(), 5) as node:
        await node.send(b"5")
    async with running(store(), 4) as node:
        await node.send(b"4")
        await node.storage.put(b"node/epochs", damage)
    async with running(store(), 6) as node:
        assert len(node.errors) == (damage != b"")
        await node.send(b"6")
        node.link()
        out = [record.payload for _, record in await node.drain()]
        assert out == [b"5", b"4", b"6"]
