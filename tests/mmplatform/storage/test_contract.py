"""The storage contract, the same cases for every store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmplatform.errors import InvalidPayload, StorageError
from mmplatform.storage.contract import MAX_KEY, MAX_VALUE, Row, Storage
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.prefixed import PrefixedStorage
from mmplatform.storage.sqlite import SQLiteStorage

Maker = Callable[[], Storage]


class Plain(MemoryStorage):
    """A store that has only what it must have: its keys are those that a scan finds."""

    keys, sizes, page = Storage.keys, Storage.sizes, Storage.page


@pytest.fixture(params=["memory", "sqlite", "plain"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Makes the same store again each time, as a restarted node would."""
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "data.db")
    memory = Plain() if request.param == "plain" else MemoryStorage()
    return lambda: memory


@pytest.fixture
async def store(make: Maker) -> AsyncIterator[Storage]:
    async with make() as storage:
        yield storage


async def test_a_key_never_put_has_no_value(store: Storage) -> None:
    assert await store.get(b"nothing") is None


async def test_put_get_replace_delete(store: Storage) -> None:
    await store.put(b"k", b"1")
    assert await store.get(b"k") == b"1"
    await store.put(b"k", b"2")
    assert await store.get(b"k") == b"2"
    await store.delete(b"k")
    assert await store.get(b"k") is None
    await store.delete(b"k")


@pytest.mark.parametrize("key", [b"", b"\x00", b"\xff", b"\x00\xff" * 20, b"k" * MAX_KEY])
@pytest.mark.parametrize("value", [b"", b"\x00", b"'; DROP TABLE kv; --", bytes(300_000)])
async def test_any_bytes_are_kept_as_they_are(store: Storage, key: bytes, value: bytes) -> None:
    await store.put(key, value)
    assert await store.get(key) == value
    assert await store.scan(key) == [(key, value)]
    assert await store.sizes(key) == [(key, len(value))]


async def test_a_read_sees_the_writes_called_before_it(store: Storage) -> None:
    kept = store.write([(b"a", b"1"), (b"b", b"2")])
    assert await store.get(b"a") == b"1"
    store.write([(b"a", None)], sync=False)
    assert await store.scan(b"") == [(b"b", b"2")]
    assert kept.done()


async def test_writes_apply_in_the_order_of_the_calls(store: Storage) -> None:
    await asyncio.gather(*(store.write([(b"k", b"%d" % number)], sync=number % 2 == 0) for number in range(50)))
    assert await store.get(b"k") == b"49"
    await store.write([(b"k", None), (b"k", b"again"), (b"l", b"1"), (b"l", None)])
    assert await store.scan(b"") == [(b"k", b"again")]


async def test_futures_resolve_in_the_order_of_the_calls(store: Storage) -> None:
    resolved: list[int] = []
    futures = [store.write([(b"%d" % number, b"")]) for number in range(20)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: resolved.append(number))  # type: ignore[misc]
    await asyncio.gather(*futures)
    await asyncio.sleep(0)  # from Python 3.12 on futures that are done are not waited for, nor what they call
    assert resolved == list(range(20))


async def test_an_empty_write_resolves(store: Storage) -> None:
    assert await store.write([]) is None  # type: ignore[func-returns-value]


async def test_many_rows_in_one_write(store: Storage) -> None:
    rows = [(number.to_bytes(2, "big"), b"%d" % number) for number in range(1000)]
    await store.write(rows)
    assert await store.scan(b"") == rows
    await store.write([(key, None) for key, _ in rows[:600]] + [(b"\xff", b"new")])
    assert await store.scan(b"") == [*rows[600:], (b"\xff", b"new")]


async def test_scan_by_prefix_start_and_limit(store: Storage) -> None:
    keys = [b"a", b"b", b"b\x00", b"b1", b"b2", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff1"]
    await store.write([(key, key) for key in reversed(keys)])

    async def scanned(prefix: bytes, start: bytes = b"", limit: int = 0) -> list[bytes]:
        rows = await store.scan(prefix, start, limit)
        assert all(key == value for key, value in rows)
        found = [key for key, _ in rows]
        assert await store.keys(prefix, start, limit) == found
        assert await store.sizes(prefix, start, limit) == [(key, len(key)) for key in found]
        return found

    assert await scanned(b"") == sorted(keys)
    assert await scanned(b"b") == [b"b", b"b\x00", b"b1", b"b2", b"b\xff", b"b\xff\xff"]
    assert await scanned(b"b", b"b1", 2) == [b"b1", b"b2"]
    assert await scanned(b"b", b"b11") == [b"b2", b"b\xff", b"b\xff\xff"]
    assert await scanned(b"b", b"a") == await scanned(b"b")
    assert await scanned(b"b", b"c") == []
    assert await scanned(b"b\xff") == [b"b\xff", b"b\xff\xff"]
    assert await scanned(b"\xff") == [b"\xff", b"\xff\xff1"]
    assert await scanned(b"\xff\xff") == [b"\xff\xff1"]
    assert await scanned(b"", b"", 1) == [b"a"]
    assert await scanned(b"nothing") == []


async def test_a_page_has_as_many_rows_and_bytes_as_it_may(store: Storage) -> None:
    rows = [(b"a%d" % number, bytes([number]) * number * 10) for number in range(5)]  # 0, 10, 20, 30 and 40 bytes
    await store.write([*rows, (b"\xff", bytes(300)), (b"\xff\xff", b"\xff\0")])
    assert await store.page(b"a", b"", 512, 1000) == rows
    assert await store.page(b"a", b"", 3, 1000) == rows[:3]
    assert await store.page(b"a", b"", 512, 59) == rows[:3]
    assert await store.page(b"a", b"", 512, 60) == rows[:4]
    assert await store.page(b"a", b"a3", 512, 1) == rows[3:4], "one at least"
    assert await store.page(b"\xff", b"", 512, 1000) == [(b"\xff", bytes(300)), (b"\xff\xff", b"\xff\0")]
    assert await store.page(b"\xff", b"", 512, 0) == [(b"\xff", bytes(300))]
    assert await store.page(b"nothing", b"", 512, 1000) == []


async def test_a_page_sees_the_writes_called_before_it(store: Storage) -> None:
    kept = store.write([(b"a", b"1"), (b"b", b"2")])
    assert await store.page(b"", b"", 512, 1000) == [(b"a", b"1"), (b"b", b"2")]
    assert kept.done()


async def test_keys_see_the_writes_called_before_them(store: Storage) -> None:
    kept = store.write([(b"a", b"1"), (b"b", b"2")])
    assert await store.keys(b"") == [b"a", b"b"]
    assert kept.done()


async def test_an_owner_sees_its_own_keys_only(store: Storage) -> None:
    await store.write([(b"a/1", b""), (b"b/1", b""), (b"b/2", b"222"), (b"c", b"")])
    mine = PrefixedStorage(store, b"b/")
    assert await mine.keys(b"") == [b"1", b"2"]
    assert await mine.keys(b"", b"2") == [b"2"]
    assert await mine.keys(b"", limit=1) == [b"1"]
    assert await mine.sizes(b"", b"2") == [(b"2", 3)]
    assert await mine.page(b"", b"", 512, 2) == [(b"1", b"")]
    assert await mine.page(b"", b"2", 512, 2) == [(b"2", b"222")]


async def test_scan_follows_later_writes(store: Storage) -> None:
    await store.put(b"b", b"")
    assert await store.scan(b"") == [(b"b", b"")]
    await store.write([(b"a", b""), (b"c", b"")])
    assert [key for key, _ in await store.scan(b"")] == [b"a", b"b", b"c"]
    await store.delete(b"b")
    assert [key for key, _ in await store.scan(b"")] == [b"a", b"c"]


@pytest.mark.parametrize(
    "row", [("k", b"v"), (b"k", "v"), (bytearray(b"k"), b"v"), (b"k", memoryview(b"v")), (b"k", 1)]
)
async def test_other_types_are_refused_at_the_call_and_leave_nothing(store: Storage, row: Row) -> None:
    neighbour = store.write([(b"neighbour", b"1")])
    with pytest.raises(TypeError):
        store.write([(b"first", b"1"), row])
    await neighbour
    assert await store.scan(b"") == [(b"neighbour", b"1")]


async def test_too_large_is_refused_at_the_call(store: Storage) -> None:
    class Huge(bytes):
        pass

    with pytest.raises(InvalidPayload):
        store.write([(b"k" * (MAX_KEY + 1), b"")])
    with pytest.raises(InvalidPayload):
        store.write([(b"k", bytes(MAX_VALUE + 1))])
    with pytest.raises(TypeError):
        store.write([(b"k", Huge())])
    assert await store.scan(b"") == []


async def test_cancelling_the_wait_does_not_take_the_write_back(store: Storage) -> None:
    future = store.write([(b"k", b"1")])
    future.cancel()
    await store.put(b"l", b"2")
    assert await store.get(b"k") == b"1"


async def test_rows_survive_close_and_open(make: Maker) -> None:
    first = make()
    await first.open()
    last = first.write([(b"k", b"1")], sync=False)
    await first.close()
    assert last.done()
    async with make() as second:
        assert await second.get(b"k") == b"1"


async def test_one_store_opens_again(make: Maker) -> None:
    store = make()
    for number in range(3):
        async with store:
            await store.put(b"%d" % number, b"")
            assert len(await store.scan(b"")) == number + 1


async def test_open_and_close_twice_do_nothing(make: Maker) -> None:
    store = make()
    await store.close()
    await store.open()
    await store.put(b"k", b"1")
    await store.open()
    assert await store.get(b"k") == b"1"
    await asyncio.gather(store.close(), store.close())
    await store.close()


async def test_use_before_open_and_after_close_is_an_error(make: Maker) -> None:
    store = make()

    async def unusable() -> None:
        with pytest.raises(StorageError, match="open"):
            store.write([(b"k", b"1")])
        with pytest.raises(StorageError, match="open"):
            await store.put(b"k", b"1")
        with pytest.raises(StorageError, match="open"):
            await store.get(b"k")
        with pytest.raises(StorageError, match="open"):
            await store.scan(b"")
        with pytest.raises(StorageError, match="open"):
            await store.keys(b"")

    await unusable()
    await store.open()
    await store.close()
    await unusable()


async def test_many_tasks_at_once(store: Storage) -> None:
    async def work(name: int) -> None:
        for step in range(20):
            key = b"%d/%d" % (name, step)
            await store.write([(key, b"1"), (b"last/%d" % name, b"%d" % step)], sync=False)
            assert await store.get(key) == b"1"
            assert len(await store.scan(b"%d/" % name)) == step + 1

    await asyncio.gather(*(work(name) for name in range(20)))
    assert [value for _, value in await store.scan(b"last/")] == [b"19"] * 20


keys = st.binary(max_size=3)
writes = st.lists(st.lists(st.tuples(keys, st.none() | st.binary(max_size=4)), max_size=6), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=writes, prefix=keys, start=keys, limit=st.integers(0, 4))
async def test_it_behaves_like_a_sorted_dict(
    make: Maker, writes: list[list[Row]], prefix: bytes, start: bytes, limit: int
) -> None:
    model: dict[bytes, bytes] = {}
    async with make() as store:
        await store.write([(key, None) for key, _ in await store.scan(b"")])
        for number, rows in enumerate(writes):
            future = store.write(rows, sync=False)
            model.update({key: value or b"" for key, value in rows})
            for key, value in dict(rows).items():
                if value is None:
                    del model[key]
            if number % 3 == 0:
                await future
        expected = sorted((key, value) for key, value in model.items() if key.startswith(prefix) and key >= start)
        expected = expected[:limit] if limit else expected
        assert await store.scan(prefix, start, limit) == expected
        assert await store.keys(prefix, start, limit) == [key for key, _ in expected]
        assert await store.sizes(prefix, start, limit) == [(key, len(value)) for key, value in expected]
        assert [await store.get(key) for key in model] == list(model.values())
