"""What is handed over from the inbox ends once: its row and the receipt for its sender share one transaction."""

import asyncio
from collections.abc import Sequence

import pytest

from mmplatform.durable.inbox_rows import HELD
from mmplatform.durable.rows import OUTBOX
from mmplatform.storage.contract import Row
from tests.support.outbox import full
from tests.support.waiting import stays, until
from tests.support.world import World, collect

COUNT = 20


async def test_on_a_full_disk_it_waits_and_its_sender_is_told_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World().nodes() as [alice, bob]:
        sent = [await alice.messaging.send("chat", bob.sign_id, n) for n in range(COUNT)]
        for delivery in sent:
            await delivery.received()
        clear = full(bob.storage, monkeypatch)
        got = collect(bob, "friends.chat")
        await until(lambda: got == list(range(COUNT)))
        await stays(lambda: {delivery.state for delivery in sent} == {"received"}, 0.1)
        clear()
        await until(lambda: {delivery.state for delivery in sent} == {"delivered"})
        assert got == list(range(COUNT))
        assert bob.inbox.waiting == 0
        assert await bob.storage.keys(HELD) == []


async def test_a_row_goes_in_the_transaction_that_saves_its_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a kill between the two would leave its sender without an end."""
    async with World().nodes() as [alice, bob]:
        delivery = await alice.messaging.send("chat", bob.sign_id, "hello")
        await delivery.received()
        turns: list[tuple[set[bytes], set[bytes]]] = []  # of each turn of the loop: keys put, keys deleted
        write = bob.storage.write

        def noted(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
            if not turns or turns[-1] is not open_turn[-1]:
                turns.append((set(), set()))
                open_turn.append(turns[-1])
                asyncio.get_running_loop().call_soon(open_turn.append, None)
            turns[-1][0].update(key for key, value in rows if value is not None)
            turns[-1][1].update(key for key, value in rows if value is None)
            return write(rows, sync=sync)

        open_turn: list[tuple[set[bytes], set[bytes]] | None] = [None]
        monkeypatch.setattr(bob.storage, "write", noted)
        collect(bob, "friends.chat")
        assert (await delivery).state == "delivered"
        [(put, _)] = [turn for turn in turns if any(key.startswith(HELD) for key in turn[1])]
        assert any(key.startswith(OUTBOX) for key in put)
