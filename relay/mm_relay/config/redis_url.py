"""Parses where a Redis is: one server, the primary that Sentinel names, or a Redis Cluster. Pure."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

ONE: Final = "one"
SENTINEL: Final = "sentinel"
CLUSTER: Final = "cluster"
KINDS: Final = {
    "redis": ONE, "rediss": ONE, "unix": ONE,
    "redis+sentinel": SENTINEL, "rediss+sentinel": SENTINEL,
    "redis+cluster": CLUSTER, "rediss+cluster": CLUSTER,
}  # fmt: skip
FORMS: Final = (
    "redis://[USER:PASSWORD@]HOST[:PORT][/DB], "
    "redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/SERVICE[/DB][?sentinel-password=WORD] or "
    "redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]; rediss is with TLS"
)
PORTS: Final = {ONE: 6379, SENTINEL: 26379, CLUSTER: 6379}
_SENTINEL_USER, _SENTINEL_PASSWORD = "sentinel-user", "sentinel-password"


@dataclass(frozen=True)
class RedisURL:
    """A URL, in its parts.

    Attributes:
        kind: ONE, SENTINEL or CLUSTER.
        url: Of one server, as the library reads it; without a host for the other kinds, with all that is the same at
            each server: user, password, number of the database, options.
        hosts: Where to ask, each with its port; empty for a Unix socket.
        name: What people are told, without user and password.
        service: The name of the primary at Sentinel.
        sentinel_user: Of Sentinel itself, as the password.
        sentinel_password: See ``sentinel_user``.

    """

    kind: str
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    name: str
    service: str = ""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)

    @property
    def secrets(self) -> list[str]:
        """What nobody may read in a log, as it stands in the URL and as it is sent."""
        given = urlsplit(self.url).password or ""
        return [word for word in {given, unquote(given), self.sentinel_password} if word]


def parse_redis(url: str) -> RedisURL:
    """Take a URL apart. Raises ValueError, which says what is expected and quotes nothing but the scheme."""
    try:
        return _parsed(urlsplit(url))
    except ValueError as error:
        scheme, found, _ = url.partition("://")
        told = f"{scheme}://..." if found else "what is given"
        raise ValueError(f"{told} is no Redis: {error}; write {FORMS}") from None


def _parsed(parts: SplitResult) -> RedisURL:
    if parts.scheme not in KINDS:
        raise ValueError("another scheme")
    kind = KINDS[parts.scheme]
    if parts.scheme == "unix":
        return RedisURL(kind, parts.geturl(), (), f"redis at {parts.path}")
    hosts = tuple(_host(text, PORTS[kind]) for text in parts.netloc.rpartition("@")[2].split(","))
    told = ", ".join(f"{host}:{port}" for host, port in hosts)
    if kind == ONE:
        if len(hosts) > 1:
            raise ValueError("several hosts")
        return RedisURL(kind, parts.geturl(), hosts, f"redis at {told}")
    if kind == CLUSTER:
        if parts.path.strip("/") not in ("", "0"):
            raise ValueError("a Redis Cluster has no database but 0")
        return RedisURL(kind, _same(parts, "0", dict(parse_qsl(parts.query))), hosts, f"redis cluster at {told}")
    return _of_sentinel(parts, hosts, told)


def _of_sentinel(parts: SplitResult, hosts: tuple[tuple[str, int], ...], told: str) -> RedisURL:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("the name of the service is missing, as in /mymaster")
    if db and not db.isdecimal():
        raise ValueError(f"{db!r} is not the number of a database")
    options = dict(parse_qsl(parts.query))
    user, password = options.pop(_SENTINEL_USER, ""), options.pop(_SENTINEL_PASSWORD, "")
    name = f"redis {service} of sentinel at {told}"
    return RedisURL(SENTINEL, _same(parts, db or "0", options), hosts, name, unquote(service), user, password)


def _same(parts: SplitResult, db: str, options: dict[str, str]) -> str:
    """Return the URL of a server whose host is not known yet."""
    login, found, _ = parts.netloc.rpartition("@")
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme.partition('+')[0]}://{login}{found}/{db}{query}"


def _host(text: str, usual: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path:
        raise ValueError("a host is missing")
    try:
        return parts.hostname, parts.port or usual
    except ValueError:
        raise ValueError("a port is not a number up to 65535") from None
