"""A Redis Cluster or sentinels that are not there: an error with a name, and no call that waits for ever."""

import asyncio

import pytest

from mm_relay.stores.redis import RedisStore
from mmplatform.errors import StorageError


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+cluster://:secret@127.0.0.1:{port}", "redis cluster at 127.0.0.1:{port}: .*cannot be connected"),
        ("redis+sentinel://:secret@127.0.0.1:{port}/mymaster", "redis mymaster of sentinel at .* no sentinel knows"),
        ("redis://:secret@127.0.0.1:{port}", "redis at 127.0.0.1:{port}: .*later calls connect again"),
    ],
)
async def test_nobody_answers(url: str, says: str, unused_tcp_port: int) -> None:
    store = RedisStore(url.format(port=unused_tcp_port), "{mm-relay:0}")
    with pytest.raises(StorageError, match=says.format(port=unused_tcp_port)) as absent:
        await asyncio.wait_for(store.open(), 10)
    assert "secret" not in str(absent.value)
