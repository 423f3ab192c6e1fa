"""Who was here lately is written many at a time."""

import asyncio
from collections.abc import Sequence

from mm_relay.stores.contract import MOST_HERE_A_PLACE
from mm_relay.stores.local import LocalStore
from mm_relay.stores.rows import HERE
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage


class Counting(MemoryStorage):
    """Counts its transactions."""

    writes = 0

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        self.writes += 1
        return super().write(rows, sync=sync)


async def test_a_flood_of_sign_ins_is_one_write_and_not_one_each() -> None:
    """Each wrote pages of 4 KiB: 19 bytes for each byte that a stranger sent."""
    storage = Counting()
    store = LocalStore(storage)
    await store.open()
    for number in range(3 * MOST_HERE_A_PLACE):
        store.here(number.to_bytes(32), b"one address")
    await store.close()
    assert storage.writes <= 2
    await storage.open()
    assert len(await storage.keys(HERE)) == MOST_HERE_A_PLACE
