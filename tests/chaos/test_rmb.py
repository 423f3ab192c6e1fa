"""A short run of the chaos of RMB."""

from pathlib import Path

import pytest

from tests.chaos.rmb import Run
from tests.support.redis_server import RedisServer, needs_redis


@pytest.mark.slow
@needs_redis
async def test_nothing_is_lost(tmp_path: Path) -> None:
    redis = RedisServer().start()
    try:
        await redis.started()
        found = await Run(tmp_path, 1, "sqlite", redis).run(6)
    finally:
        redis.remove()
    assert found.lost == 0
    assert found.sent == found.answered == found.handled > 0
