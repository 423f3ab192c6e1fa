"""Real sentinels and a real Redis Cluster: calls, channels, and a primary that dies. Passwords stay out of errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mm_relay.cluster.cluster import RedisCluster
from mm_relay.stores.contract import Caps, StoredEnvelope
from mm_relay.stores.redis import RedisStore
from mmplatform.errors import StorageError
from tests.support.redis_fleets import PASSWORD, SENTINEL_PASSWORD, RedisNodes, Sentinels
from tests.support.redis_server import needs_redis
from tests.support.waiting import until

pytestmark = [needs_redis, pytest.mark.slow]
ALICE, BOB = b"a" * 32, b"b" * 32
LATER = 2**52
TAG = "{mm-relay:0123}"


@pytest.fixture
async def sentinels() -> AsyncIterator[Sentinels]:
    fleet = Sentinels()
    try:
        yield await fleet.start()
    finally:
        fleet.remove()


@pytest.fixture
async def nodes() -> AsyncIterator[RedisNodes]:
    fleet = RedisNodes()
    try:
        yield await fleet.start()
    finally:
        fleet.remove()


def envelope(number: int) -> StoredEnvelope:
    return StoredEnvelope(0, ALICE, BOB, number.to_bytes(16), LATER, b"sealed", "", "")


@asynccontextmanager
async def processes(url: str) -> AsyncIterator[tuple[RedisCluster, RedisCluster]]:
    """Two processes of one relay."""
    one, two = RedisCluster(url, TAG, "one"), RedisCluster(url, TAG, "two")
    for each in (one, two):
        await each.open(lambda process, item: None, lambda key: None)
    try:
        yield one, two
    finally:
        for each in (one, two):
            await each.close()


async def kept(store: RedisStore, number: int) -> bool:
    """Whether Redis says it keeps an envelope; no error quotes a password."""
    [answer] = await asyncio.gather(store.put(BOB, envelope(number), Caps()), return_exceptions=True)
    assert not quotes(str(answer))
    return isinstance(answer, StoredEnvelope)


def quotes(text: str) -> bool:
    """Whether a text quotes a password."""
    return PASSWORD in text or SENTINEL_PASSWORD in text


async def found(process: RedisCluster, key: bytes, where: str) -> None:
    async def there() -> bool:
        return await process.locate(key) == where

    await until(there, 20)


async def test_mail_and_presence_outlive_the_primary_that_sentinels_watch(sentinels: Sentinels) -> None:
    store = RedisStore(sentinels.url, TAG)
    async with store, processes(sentinels.url) as (one, two):
        assert await kept(store, 1)
        one.here(ALICE)
        await found(two, ALICE, one.process)
        await sentinels.primary.command("WAIT", "1", "5000")
        sentinels.primary.kill()
        await until(lambda: kept(store, 2), 30)
        await found(two, ALICE, one.process)
        assert [mail.id for mail in await store.collect(BOB, 0, 9, 10**6)] == [n.to_bytes(16) for n in (1, 2)]
        assert await sentinels.primary_port() == sentinels.replica.port


async def test_a_redis_cluster_keeps_all_keys_of_a_relay_at_one_node(nodes: RedisNodes) -> None:
    store = RedisStore(nodes.url, TAG)
    async with store, processes(nodes.url) as (one, two):
        assert await kept(store, 1)
        one.here(ALICE)
        await found(two, ALICE, one.process)
        [mail] = await store.collect(BOB, 0, 9, 10**6)
        await store.end(BOB, [mail.number], "delivered")
        [note] = await store.notes(ALICE, 0, 9)
        await store.forget_notes(ALICE, note.number)
        owner = await nodes.owner(TAG)
        sizes = {member.port: await member.command("DBSIZE") for member in nodes.members}
        assert {port for port, size in sizes.items() if size != "0"} == {owner.port}


async def test_wrong_passwords_are_named_and_not_told(sentinels: Sentinels) -> None:
    for right, wrong, says in (
        (PASSWORD, "guess-one", "see user and password"),
        (SENTINEL_PASSWORD, "guess-two", "sentinel-password"),
    ):
        with pytest.raises(StorageError, match=says) as refused:
            await RedisStore(sentinels.url.replace(right, wrong), TAG).open()
        assert not quotes(str(refused.value))
        assert "guess" not in str(refused.value)
