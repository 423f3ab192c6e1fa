"""What is told of a store: when it begins to fail, once a minute, and when it is over."""

from typing import Any

import pytest

from mm_relay import health
from mm_relay.health import AGAIN, StoreHealth, kind_of
from mm_relay.metrics import Metrics
from mm_relay.stores.contract import StoreUnsafe
from mmplatform.errors import StorageError, StorageFull, StorageGone, StorageReadOnly


class Watched:
    """A store that is as a test says."""

    def __init__(self) -> None:
        self.at = 100.0
        self.failure: Exception | None = None
        self.told: list[str] = []
        self.metrics = Metrics()
        store: Any = self
        self.health = StoreHealth(store, self.metrics, self.told.append, lambda: self.at)

    async def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def look(self, seconds: float = health.LOOK_AT_STORE) -> list[str]:
        """What is told by the next look."""
        self.at += seconds
        await self.health.look()
        told, self.told[:] = list(self.told), []
        return told


async def test_it_is_not_ready_before_a_write_worked() -> None:
    watched = Watched()
    assert watched.health.reason.startswith("starting")
    watched.failure = StorageReadOnly("redis is a replica")
    [line] = await watched.look()
    assert "redis is a replica" in line
    assert watched.health.reason.startswith("read-only")
    watched.failure = None
    await watched.look()
    assert watched.health.reason == ""


async def test_it_is_told_at_the_start_once_a_minute_and_at_the_end() -> None:
    watched = Watched()
    assert await watched.look() == []
    watched.failure = StorageFull("no space left")
    told = [line for _ in range(37) for line in await watched.look()]
    assert len(told) == 1 + 3
    assert "for 60 s now" in told[1]
    assert AGAIN == 60.0
    watched.failure = StorageGone("removed")
    assert len(await watched.look()) == 1  # another thing is wrong now
    watched.failure = None
    [line] = await watched.look()
    assert "works again, after 190 s" in line
    assert await watched.look() == []


async def test_a_store_without_an_answer_is_told_in_words() -> None:
    watched = Watched()
    watched.failure = TimeoutError()
    [line] = await watched.look()
    assert line.endswith("(no-answer): what keeps the mail does not answer")


async def test_calls_that_failed_between_two_looks_are_trouble_until_the_next() -> None:
    watched = Watched()
    await watched.look()
    watched.metrics.store_errors += 1
    assert len(await watched.look()) == 1
    assert watched.metrics.store_trouble == "failing"
    assert len(await watched.look()) == 1
    assert watched.health.reason == ""


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (StorageFull("/secret/mail.db: x"), "full"), (StorageGone("/secret/mail.db: x"), "removed"),
        (StorageError("redis at secret:6379: x"), "failing"), (TimeoutError(), "no-answer"),
        (StoreUnsafe("set `appendonly yes`"), "unsafe"), (OSError("/secret"), "failing"),
    ],
)  # fmt: skip
def test_strangers_hear_no_names(error: Exception, word: str) -> None:
    found, text = kind_of(error)
    assert found == word
    assert text
    assert "secret" not in text
