"""A Redis that comes back with an older state, empty, or set up otherwise: numbers go on, and the store says so."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_relay.stores.contract import MailStore, StoreUnsafe
from mmplatform.errors import StorageFull, StorageReadOnly
from tests.support.redis_server import RedisServer
from tests.support.stores import key, mail, put, redis_home, waiting


@pytest.fixture
async def kept(own_redis: RedisServer) -> AsyncIterator[MailStore]:
    await own_redis.started()
    async with redis_home(own_redis.url, "back").store() as store:
        yield store


async def test_numbers_go_on_after_redis_was_emptied(kept: MailStore, own_redis: RedisServer) -> None:
    last, before = [await put(kept, mail()) for _ in range(3)][-1], kept.epoch
    await own_redis.command("FLUSHALL")
    again = await put(kept, mail())
    assert again.number > last.number
    await kept.usage()
    assert kept.epoch != before
    assert await waiting(kept) == [again]


async def test_numbers_go_on_after_an_older_file_was_put_back(
    kept: MailStore, own_redis: RedisServer, tmp_path: Path
) -> None:
    old, before = await put(kept, mail()), kept.epoch
    shutil.copytree(own_redis.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("sock"))
    last = [await put(kept, mail()) for _ in range(3)][-1]
    own_redis.kill()
    shutil.rmtree(own_redis.folder)
    shutil.copytree(tmp_path / "copy", own_redis.folder)
    own_redis.start()
    await own_redis.started()
    with pytest.raises(Exception, match="connect again"):
        await kept.usage()
    await kept.usage()
    assert kept.epoch != before
    again = await put(kept, mail())
    assert again.number > last.number
    assert await waiting(kept) == [old, again]


async def test_numbers_do_not_fall_with_the_clock_of_another_redis(kept: MailStore) -> None:
    """A replica whose clock is behind, as a primary: what a process has seen counts."""
    before = kept.epoch
    kept._last = 2**52  # type: ignore[attr-defined]
    await kept.usage()
    assert kept.epoch != before
    assert (await put(kept, mail())).number == 2**52 + 1


async def test_redis_that_stops_keeping_a_file_is_given_no_mail(kept: MailStore, own_redis: RedisServer) -> None:
    one = await put(kept, mail())
    await own_redis.command("CONFIG", "SET", "appendonly", "no")
    with pytest.raises(StoreUnsafe, match="appendonly yes"):
        await kept.check()
    with pytest.raises(StoreUnsafe, match="appendonly yes"):
        await put(kept, mail())
    assert len(await kept.end(key("bob"), [one.number], "delivered")) == 1
    await own_redis.command("CONFIG", "SET", "appendonly", "yes")
    await kept.check()
    await put(kept, mail())


async def test_redis_that_comes_back_without_a_file_is_given_no_mail(kept: MailStore, own_redis: RedisServer) -> None:
    own_redis.kill()
    own_redis.start(appendonly="no")
    await own_redis.started()
    with pytest.raises(Exception, match="connect again"):
        await kept.usage()
    with pytest.raises(StoreUnsafe, match="appendonly yes"):
        await put(kept, mail())


async def test_a_replica_is_read_and_given_nothing(kept: MailStore, own_redis: RedisServer) -> None:
    one = await put(kept, mail())
    await own_redis.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StorageReadOnly, match="replica"):
        await kept.check()
    with pytest.raises(StorageReadOnly, match="replica"):
        await put(kept, mail())
    assert await waiting(kept) == [one]
    await own_redis.command("REPLICAOF", "NO", "ONE")
    await kept.check()


async def test_a_store_opens_at_a_replica_that_may_become_the_primary(own_redis: RedisServer) -> None:
    await own_redis.started()
    await own_redis.command("REPLICAOF", "127.0.0.1", "1")
    async with redis_home(own_redis.url, "replica").store() as store:
        with pytest.raises(StorageReadOnly, match="replica"):
            await store.check()
        await own_redis.command("REPLICAOF", "NO", "ONE")
        await store.check()
        await put(store, mail())


async def test_a_check_says_that_redis_is_full(kept: MailStore, own_redis: RedisServer) -> None:
    await own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StorageFull, match="maxmemory"):
        await kept.check()
    await own_redis.command("CONFIG", "SET", "maxmemory", "0")
    await kept.check()


async def test_a_redis_that_syncs_once_a_second_is_told_once(own_redis: RedisServer) -> None:
    await own_redis.started()
    await own_redis.command("CONFIG", "SET", "appendfsync", "everysec")
    home = redis_home(own_redis.url, "everysec")
    async with home.store() as store:
        for _ in range(2):
            await store.check()
    [told] = home.failures
    assert "appendfsync always" in str(told)
