"""Finds the Redis that has our keys: the one at a URL, the primary that Sentinel names, the node of our slot.

All keys of a relay begin with one hash tag, so a Redis Cluster keeps them in one slot: at one primary, as any Redis.
Whoever finds that the primary is another one now tells the others, who leave the one before.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from mm_relay.config.redis_url import CLUSTER, ONE, parse_redis

CONNECT_WITHIN: Final = 3.0  # seconds for TCP, so that an attempt that began in an outage does not outlast it by much
ASK_WITHIN: Final = 1.0  # seconds for each sentinel or node that is asked where the primary is

Connection = Any  # the library types it in parts only


class RedisServers:
    """Makes connections to the primary that has the keys with the hash tag ``tag``. Raises ValueError for a bad URL."""

    def __init__(self, url: str, tag: str) -> None:
        self._url, self._tag = parse_redis(url), tag
        self._watchers: list[Callable[[], None]] = []
        self._primary: tuple[str, int] | None = None

    @property
    def name(self) -> str:
        """Where they are, for people: without user and password."""
        return self._url.name

    def watch(self, moved: Callable[[], None]) -> None:
        """Call ``moved`` whenever another server has become the primary."""
        self._watchers.append(moved)

    def hide(self, text: str) -> str:
        """Return a text without the passwords, which errors of the library might quote."""
        for secret in self._url.secrets:
            text = text.replace(secret, "***")
        return text

    async def connection(self) -> Connection:
        """Return a connection to the primary, not connected yet. Raises RedisError or OSError when nobody knows it."""
        if self._url.kind == ONE:
            return self._made(parse_url(self._url.url))
        options = parse_url(self._url.url)
        try:
            found = await (self._ask_nodes(options) if self._url.kind == CLUSTER else self._ask_sentinels(options))
        except RedisClusterException as error:  # no RedisError
            raise RedisError(str(error)) from error
        before, self._primary = self._primary, found
        if before not in (None, found):
            for moved in self._watchers:
                moved()
        return self._made(dict(options) | {"host": found[0], "port": found[1]})

    def _made(self, options: Any) -> Connection:
        """Make a connection: RESP2, where messages of channels are plain answers; no retries or time-outs but ours."""
        ours = {"protocol": 2, "retry": _no_retry(), "socket_timeout": None, "socket_connect_timeout": CONNECT_WITHIN}
        pool: Any = ConnectionPool(**(dict(options) | ours))
        return pool.make_connection()

    async def _ask_sentinels(self, options: Any) -> tuple[str, int]:
        url = self._url
        login = {"username": url.sentinel_user or None, "password": url.sentinel_password or None}
        make: Any = Sentinel  # untyped
        sentinel = make(url.hosts, sentinel_kwargs=login | _plain(options) | _brief())
        try:
            host, port = await sentinel.discover_master(url.service)
        finally:
            await asyncio.gather(*(each.aclose() for each in sentinel.sentinels), return_exceptions=True)
        return str(host), int(port)

    async def _ask_nodes(self, options: Any) -> tuple[str, int]:
        nodes = [ClusterNode(host, port) for host, port in self._url.hosts]
        random.shuffle(nodes)  # one that was cut off from the others does not know where the primary is
        login = {name: value for name, value in options.items() if name in ("username", "password")}
        cluster: Any = RedisCluster(
            startup_nodes=nodes, require_full_coverage=False, **(login | _plain(options) | _brief())
        )  # fmt: skip
        try:
            await cluster.initialize()
            node = cluster.get_node_from_key(self._tag)
            if node is None:
                raise RedisError("no node of the cluster has the slot of our keys")
            return str(node.host), int(node.port)
        finally:
            await cluster.aclose()


def _plain(options: Any) -> dict[str, Any]:
    """Return how to speak TLS, when that is asked for, with all options about it."""
    found = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return found | {"ssl": options.get("connection_class") is SSLConnection}


def _brief() -> dict[str, Any]:
    return {"protocol": 2, "retry": _no_retry(), "socket_timeout": ASK_WITHIN, "socket_connect_timeout": ASK_WITHIN}


def _no_retry() -> Any:
    return Retry(NoBackoff(), 0)
