"""What an application keeps: seen at once, saved with its message, and never an older value after a newer one."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from mmplatform.codec import encode
from mmplatform.durable.kept import Kept
from mmplatform.errors import InvalidPayload
from mmplatform.message import MAX_KEPT_KEY
from mmplatform.storage.contract import Storage


@pytest.fixture
async def kept(store: Callable[[], Storage]) -> AsyncIterator[Kept]:
    async with store() as storage:
        yield Kept(storage)


async def test_what_is_put_is_there_and_none_deletes_it(kept: Kept) -> None:
    assert await kept.get("a") is None
    assert await kept.get("a", 5) == 5
    await kept.put("a", {"n": [1, "x"]})
    assert await kept.get("a") == {"n": [1, "x"]}
    await kept.put("a", None)
    assert await kept.get("a", "nothing") == "nothing"


async def test_what_a_handler_put_is_seen_before_it_is_saved(kept: Kept) -> None:
    await kept.put("a", 1)
    rows = kept.stage([("a", encode(2)), ("b", None)])
    assert await kept.get("a") == 2
    assert await kept.get("b", 7) == 7
    await kept._storage.write(rows)
    kept.saved(rows)
    assert (await kept.get("a"), await kept.get("b"), kept._unsaved) == (2, None, {})


async def test_the_latest_value_is_seen_while_several_wait_to_be_saved(kept: Kept) -> None:
    first = kept.stage([("a", encode(1)), ("a", encode(2))])
    second = kept.stage([("a", encode(3))])
    await kept._storage.write(first)
    kept.saved(first)
    assert await kept.get("a") == 3
    await kept._storage.write(second)
    kept.saved([*second, (b"held/other", None)])
    assert (await kept.get("a"), kept._unsaved) == (3, {})
    kept.saved(second)
    assert kept._unsaved == {}


async def test_values_are_listed_in_pages(kept: Kept) -> None:
    for key in ("a/1", "a/2", "a/3", "b/1"):
        await kept.put(key, key.upper())
    assert await kept.items("a/", limit=2) == [("a/1", "A/1"), ("a/2", "A/2")]
    assert await kept.items("a/", after="a/2") == [("a/3", "A/3")]
    assert [key for key, _ in await kept.items()] == ["a/1", "a/2", "a/3", "b/1"]


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEPT_KEY + 1), "é" * (MAX_KEPT_KEY // 2 + 1)])
async def test_keys_have_bounds(kept: Kept, key: str) -> None:
    with pytest.raises(InvalidPayload, match="1 to 1000 bytes"):
        await kept.put(key, 1)
    with pytest.raises(InvalidPayload, match="1 to 1000 bytes"):
        await kept.get(key)


async def test_the_longest_key_is_kept(kept: Kept) -> None:
    await kept.put("x" * MAX_KEPT_KEY, 1)
    assert await kept.get("x" * MAX_KEPT_KEY) == 1


async def test_a_value_that_cannot_be_encoded_is_refused(kept: Kept) -> None:
    with pytest.raises(InvalidPayload):
        await kept.put("a", object())


async def test_a_value_put_while_an_earlier_one_waits_to_be_saved_is_the_last(kept: Kept) -> None:
    """The row of the handler is written later: on a full disk, much later."""
    rows = kept.stage([("a", encode(1))])
    putting = asyncio.ensure_future(kept.put("a", 2))
    for _ in range(5):
        await asyncio.sleep(0)
    await kept._storage.write(rows)
    kept.saved(rows)
    await putting
    assert await kept.get("a") == 2


async def test_nobody_waits_for_what_will_not_be_saved(kept: Kept) -> None:
    kept.stage([("a", encode(1))])
    putting = asyncio.gather(kept.put("a", 2), kept.put("a", 3))
    await asyncio.sleep(0)
    kept.close()
    await putting
    assert await kept.get("a") == 3
