"""URLs of Redis: one server, Sentinel and Redis Cluster. What is wrong is named, and no password is quoted."""

import pytest

from mm_relay.config.redis_url import CLUSTER, ONE, SENTINEL, parse_redis
from mm_relay.config.settings import load
from mmplatform.errors import LocalError


def test_one_server_is_as_the_library_reads_it() -> None:
    found = parse_redis("redis://bot:word@cache.example/3?ssl_check_hostname=0")
    assert (found.kind, found.hosts) == (ONE, (("cache.example", 6379),))
    assert found.url == "redis://bot:word@cache.example/3?ssl_check_hostname=0"
    assert found.name == "redis at cache.example:6379"
    assert parse_redis("unix:///run/redis/sock").name == "redis at /run/redis/sock"


def test_sentinels_their_service_and_their_own_password() -> None:
    found = parse_redis("rediss+sentinel://:a%40b@one,[2001:db8::1]:5000/mymaster/2?sentinel-password=other")
    assert (found.kind, found.service) == (SENTINEL, "mymaster")
    assert found.hosts == (("one", 26379), ("2001:db8::1", 5000))
    assert (found.url, found.sentinel_password) == ("rediss://:a%40b@/2", "other")
    assert found.name == "redis mymaster of sentinel at one:26379, 2001:db8::1:5000"
    assert set(found.secrets) == {"a%40b", "a@b", "other"}


def test_nodes_of_a_cluster() -> None:
    found = parse_redis("redis+cluster://:word@one:7000,two")
    assert (found.kind, found.hosts, found.url) == (CLUSTER, (("one", 7000), ("two", 6379)), "redis://:word@/0")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://:secret@one/0", "another scheme"),
        ("redis://:secret@one,two", "several hosts"),
        ("redis+sentinel://:secret@one:26379", "the name of the service is missing"),
        ("redis+sentinel://:secret@one/mymaster/first", "not the number of a database"),
        ("redis+cluster://:secret@one/1", "no database but 0"),
        ("redis+cluster://:secret@", "a host is missing"),
        ("redis://user:secret", "a port is not a number"),
    ],
)
def test_what_is_wrong_is_named_without_the_password(url: str, says: str) -> None:
    with pytest.raises(LocalError, match=says) as wrong:
        load({"store": url})
    assert "secret" not in str(wrong.value)
    assert "secret" not in repr(parse_redis("redis://:secret@one"))
