"""Mail keys: replaced weekly, kept as long as mail may wait, then gone from the disk too."""

import logging
from collections.abc import AsyncIterator
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_base

from mmplatform.codec import encode
from mmplatform.errors import StorageCorrupt, StorageError
from mmplatform.identity.keys import is_box_key
from mmplatform.identity.mailkeys import KEEP, MOST_KEYS, ROTATE, ROW, MailKeys
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage

NOW = 1_750_000_000.0
DAY = 24 * 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW
        self.drawn: list[bytes] = []

    def random(self, size: int) -> bytes:
        self.drawn.append(blake2b(bytes([len(self.drawn)]), digest_size=size).digest())
        return self.drawn[-1]

    def keys(self, storage: Storage) -> MailKeys:
        return MailKeys(storage, lambda: self.now, self.random)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with MemoryStorage() as opened:
        yield opened


async def test_the_first_key(clock: Clock, storage: Storage) -> None:
    keys = clock.keys(storage)
    assert (keys.current, keys.secrets(), keys.due) == (b"", [], NOW)
    await keys.open()
    assert is_box_key(keys.current)
    assert keys.secrets() == clock.drawn
    assert keys.current == crypto_scalarmult_base(clock.drawn[0])
    assert keys.due == NOW + ROTATE
    assert not await keys.rotate_if_due()


async def test_keys_outlive_a_restart(clock: Clock, storage: Storage) -> None:
    first = clock.keys(storage)
    await first.open()
    clock.now += ROTATE
    assert await first.rotate_if_due()
    again = clock.keys(storage)
    await again.open()
    assert (again.current, again.secrets(), again.due) == (first.current, first.secrets(), first.due)
    assert len(clock.drawn) == 2


async def test_a_week_and_fifteen_days(clock: Clock, storage: Storage) -> None:
    keys = clock.keys(storage)
    await keys.open()
    first = keys.current
    clock.now = NOW + ROTATE - 1
    assert not await keys.rotate_if_due()
    clock.now = NOW + ROTATE
    assert await keys.rotate_if_due()
    assert keys.current != first
    assert keys.secrets() == clock.drawn[::-1]
    assert keys.due == NOW + 2 * ROTATE
    for weeks in (2, 3):
        clock.now = NOW + weeks * ROTATE
        assert await keys.rotate_if_due()
    assert keys.due == NOW + ROTATE + KEEP
    clock.now = NOW + ROTATE + KEEP - 1
    assert not await keys.rotate_if_due()
    assert keys.secrets() == clock.drawn[::-1]
    clock.now += 1
    assert clock.drawn[0] not in keys.secrets()  # already before it is wiped
    assert clock.drawn[0] in (await storage.get(ROW) or b"")
    assert not await keys.rotate_if_due()
    assert clock.drawn[0] not in (await storage.get(ROW) or b"")
    assert len(keys.secrets()) == len(clock.drawn) - 1


async def test_a_node_that_was_away_opens_what_waited(clock: Clock, storage: Storage) -> None:
    await clock.keys(storage).open()
    clock.now += 300 * DAY
    keys = clock.keys(storage)
    await keys.open()
    assert keys.secrets() == clock.drawn[::-1]
    clock.now += KEEP
    assert await keys.rotate_if_due()
    assert clock.drawn[0] not in keys.secrets()


async def test_a_clock_that_was_set_back(clock: Clock, storage: Storage) -> None:
    keys = clock.keys(storage)
    await keys.open()
    clock.now -= 100 * DAY
    assert await keys.rotate_if_due()
    assert keys.secrets() == clock.drawn[::-1]
    clock.now += KEEP  # the old key counts from the clock as it is now
    await keys.rotate_if_due()
    assert clock.drawn[0] not in keys.secrets()


@given(st.lists(st.floats(-40 * DAY, 40 * DAY), max_size=40))
async def test_any_clock(jumps: list[float]) -> None:
    clock = Clock()
    async with MemoryStorage() as storage:
        keys = clock.keys(storage)
        await keys.open()
        for jump in jumps:
            clock.now = max(clock.now + jump, 1.0)
            await keys.rotate_if_due()
            secrets = keys.secrets()
            assert 1 <= len(secrets) <= MOST_KEYS
            assert secrets[0] == clock.drawn[-1]
            assert crypto_scalarmult_base(secrets[0]) == keys.current
            assert clock.now < keys.due <= clock.now + ROTATE
            again = clock.keys(storage)
            await again.open()
            assert (again.secrets(), again.current) == (secrets, keys.current)


SECRET = bytes(range(32))


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"\xc1",
        encode([]),
        encode([[SECRET]]),
        encode([[SECRET[:31], NOW, 0.0]]),
        encode([[SECRET + b"\0", NOW, 0.0]]),
        encode([[SECRET, NOW, NOW]]),
        encode([[SECRET, NOW, 0.0], [SECRET, NOW, 0.0]]),
        encode([[SECRET, NOW, 0.0, 1]]),
        encode([[SECRET, "now", 0.0]]),
        encode([[SECRET, NOW, 0.0]])[:-1],
        encode([[SECRET, NOW, 0.0]]) + b"\0",
        encode([[SECRET, NOW, 0.0]] + [[SECRET, NOW, NOW]] * 100),
    ],
)
async def test_a_damaged_row(clock: Clock, storage: Storage, row: bytes) -> None:
    await storage.put(ROW, row)
    keys = clock.keys(storage)
    with pytest.raises(StorageCorrupt) as caught:
        await keys.open()
    assert SECRET.hex() not in str(caught.value)
    assert caught.value.__cause__ is None
    assert keys.secrets() == clock.drawn
    await clock.keys(storage).open()


async def test_a_key_that_was_not_saved_is_never_shown(clock: Clock, tmp_path: Path) -> None:
    storage = MemoryStorage()
    await storage.open()
    keys = clock.keys(storage)
    await keys.open()
    current = keys.current
    clock.now += ROTATE
    await storage.close()
    with pytest.raises(StorageError):
        await keys.rotate_if_due()
    assert (keys.current, keys.secrets()) == (current, clock.drawn[:1])


async def test_nothing_of_a_wiped_secret_is_left_in_the_folder(clock: Clock, tmp_path: Path) -> None:
    storage = SQLiteStorage(tmp_path / "platform.db")
    await storage.open()
    keys = clock.keys(storage)
    await keys.open()
    for _ in range(5):
        clock.now += ROTATE
        await keys.rotate_if_due()
    await storage.close()
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: ASYNC240 - the loop has nothing else to do
    kept = keys.secrets()
    assert [secret in left for secret in clock.drawn] == [secret in kept for secret in clock.drawn]
    assert clock.drawn[0] not in kept


async def test_secrets_are_not_shown(clock: Clock, storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = clock.keys(storage)
    await keys.open()
    clock.now += ROTATE
    await keys.rotate_if_due()
    shown = f"{keys!r} {keys._keys!r} {keys._keys} {caplog.text}"
    assert keys.current.hex() in shown
    assert not any(secret.hex() in shown or repr(secret)[2:-1] in shown for secret in clock.drawn)
