"""What programs put is in one place at each moment, and is found again."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from mm_services.rmb.gateway import redis_queues
from mm_services.rmb.gateway.redis_queues import QueuesAway, RedisQueues
from mmplatform.errors import LocalError
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture
async def client(redis: RedisServer) -> Any:
    made: Any = Redis.from_url(redis.url)
    yield made
    await made.aclose()


async def test_what_is_taken_stays_until_it_is_done_with(redis: RedisServer, client: Any) -> None:
    """Hole 6: theirs is gone when the one that popped it dies."""
    queues = RedisQueues(redis.url, 30)
    await client.lpush("msgbus.system.local", "one", "two", "three")
    taken = await queues.take("local")
    assert [data for _, data in taken] == [b"one", b"two", b"three"]
    await queues.close()
    again = RedisQueues(redis.url, 30)
    left = await again.left("local")
    assert sorted(left) == sorted(taken)
    await again.done("local", [uid for uid, data in left if data == b"two"])
    assert sorted(data for _, data in await again.left("local")) == [b"one", b"three"]
    other = RedisQueues(redis.url, 40)
    assert await other.left("local") == []
    await other.close()
    await again.close()


async def test_one_that_comes_later_wakes_who_waits(redis: RedisServer, client: Any) -> None:
    queues = RedisQueues(redis.url, 30)
    waiting = asyncio.create_task(queues.take("reply"))
    await client.rpush("msgbus.system.reply", "late")
    assert [data for _, data in await waiting] == [b"late"]
    await queues.close()


async def test_what_was_moved_before_a_kill_is_taken(redis: RedisServer, client: Any) -> None:
    queues = RedisQueues(redis.url, 30)
    await client.lpush("msgbus.mm.30.moved.local", "moved")
    assert [data for _, data in await queues.take("local")] == [b"moved"]
    await queues.close()


async def test_a_repeat_is_pushed_once_and_a_full_queue_takes_nothing(
    redis: RedisServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holes 6 and 7: theirs drops the oldest of a full queue, and pushes what comes twice twice."""
    monkeypatch.setattr(redis_queues, "MOST_QUEUED", 2)
    queues = RedisQueues(redis.url, 30)
    assert await queues.push("msgbus.calc", b"one", "a", 60)
    assert await queues.push("msgbus.calc", b"one", "a", 60)
    assert await queues.push("msgbus.calc", b"two", "b", 60)
    assert not await queues.push("msgbus.calc", b"three", "c", 60)
    assert await queues.push("msgbus.calc", b"two", "b", 60)
    assert await client.lrange("msgbus.calc", 0, -1) == [b"two", b"one"]
    await queues.close()


async def test_backlogs_are_remembered_for_a_while(redis: RedisServer, client: Any) -> None:
    queues = RedisQueues(redis.url, 30)
    await queues.remember("uid", b"x", 60)
    assert await queues.remembered("uid") == b"x"
    assert 0 < await client.ttl("msgbus.backlog.uid") <= 60
    assert await queues.remembered("other") is None
    await queues.close()


async def test_a_redis_that_is_away_is_said_to_be(redis: RedisServer) -> None:
    queues = RedisQueues(redis.url, 30)
    redis.kill()
    with pytest.raises(QueuesAway, match="unix"):
        await queues.check()
    await queues.close()


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(LocalError, match="redis:"):
        RedisQueues("nothing", 30)
