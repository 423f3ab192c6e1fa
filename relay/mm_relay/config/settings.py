"""The settings of a relay, from a TOML file and from flags with the same names; flags win.

All wrong values are reported at once, each with the place where it stands.
"""

import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mm_relay.access import Access, Network
from mm_relay.config import parsing as values
from mm_relay.config.parsing import DAY, MIB
from mm_transports.relay.protocol.items import MAX_FRAME, MAX_MAIL, Limits
from mmplatform.errors import LocalError

TLS_LISTEN: Final = "0.0.0.0:8443"
PLAIN_LISTEN: Final = "127.0.0.1:8080"


@dataclass(frozen=True)
class Config:
    """All settings; underscores here are dashes in files and flags. Sizes are bytes, times seconds, 0 is no limit."""

    data: Path = Path("~/.mm/relay")
    identity: Path | None = None  # by default in the data folder; all processes of a cluster share it
    name: str = ""
    listen: str = ""
    public_url: str = ""
    door: tuple[str, ...] = ("native",)  # plugins; the first that takes a request has it
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    proxies: tuple[Network, ...] = ()
    rmb: bool = False  # whether clients of ThreeFold's Reliable Message Bus are served
    rmb_name: tuple[str, ...] = ()  # further names of this relay among them
    twins: Path | None = None  # the file of twins; by default in the data folder
    chain: tuple[str, ...] = ()  # URLs of nodes of a chain that knows twins, in the order in which they are tried
    store: str = "sqlite"
    metrics: str = ""
    allow: tuple[bytes, ...] = ()
    deny: tuple[bytes, ...] = ()
    federate: str = "any"
    federate_allow: tuple[values.Listed, ...] = ()
    federate_deny: tuple[bytes, ...] = ()
    max_connections: int = 20_000
    max_connections_per_address: int = 256
    max_unproven: int = 256
    rate_bytes: int = 64 * MIB
    rate_items: int = 20_000
    rate_address_bytes: int = 64 * MIB
    rate_address_items: int = 40_000
    max_frame: int = MAX_FRAME
    max_mail: int = MAX_MAIL
    mail_ttl: int = 14 * DAY
    recipient_bytes: int = 64 * MIB
    recipient_count: int = 20_000
    sender_bytes: int = 64 * MIB
    sender_count: int = 20_000
    address_bytes: int = 256 * MIB
    address_count: int = 80_000
    relay_bytes: int = 256 * MIB
    relay_count: int = 100_000
    total_bytes: int = 8 * 1024 * MIB
    window_bytes: int = 4 * MIB
    window_count: int = 256
    drain: int = 10

    @property
    def address(self) -> tuple[str, int]:
        """Host and port at which to listen."""
        return host_and_port(self.listen or (TLS_LISTEN if self.tls_certificate else PLAIN_LISTEN))

    def url(self, port: int) -> str:
        """Return where clients find the relay when it listens on ``port``."""
        if self.public_url:
            return self.public_url
        host = self.address[0]
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = socket.getfqdn()
        scheme, usual = ("wss", 443) if self.tls_certificate else ("ws", 80)
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}/" if port == usual else f"{scheme}://{host}:{port}/"

    def limits(self) -> Limits:
        """Return the limits that clients are told."""
        return Limits(
            frame=self.max_frame,
            mail=self.max_mail,
            mail_ttl=self.mail_ttl * 1000,
            recipient_bytes=self.recipient_bytes,
            recipient_count=self.recipient_count,
            sender_bytes=self.sender_bytes,
            sender_count=self.sender_count,
            rate_bytes=self.rate_bytes,
            rate_items=self.rate_items,
            window_bytes=self.window_bytes,
            window_count=self.window_count,
        )

    def access(self) -> Access:
        """Return who may sign in."""
        return Access(
            frozenset(self.allow),
            frozenset(self.deny),
            self.federate,
            frozenset(listed.key for listed in self.federate_allow),
            frozenset(self.federate_deny),
        )


NAMES: Final = tuple(one.name.replace("_", "-") for one in fields(Config))
PARSERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "data": values.path,
    "identity": values.path,
    "name": values.text,
    "listen": values.listening,
    "public_url": values.url,
    "door": values.each(values.door),
    "tls_certificate": values.path,
    "tls_key": values.path,
    "proxies": values.each(values.network),
    "rmb": values.flag,
    "rmb_name": values.each(values.rmb_name),
    "twins": values.path,
    "chain": values.each(values.url),
    "store": values.store,
    "metrics": values.metrics,
    "allow": values.each(values.key),
    "deny": values.each(values.key),
    "federate": values.federate,
    "federate_allow": values.each(values.relay),
    "federate_deny": values.each(values.key),
    "max_connections": values.count,
    "max_connections_per_address": values.count,
    "max_unproven": values.count,
    "rate_bytes": values.size,
    "rate_items": values.count,
    "rate_address_bytes": values.size,
    "rate_address_items": values.count,
    "max_frame": values.size,
    "max_mail": values.size,
    "mail_ttl": values.duration,
    "recipient_bytes": values.size,
    "recipient_count": values.count,
    "sender_bytes": values.size,
    "sender_count": values.count,
    "address_bytes": values.size,
    "address_count": values.count,
    "relay_bytes": values.size,
    "relay_count": values.count,
    "total_bytes": values.size,
    "window_bytes": values.size,
    "window_count": values.count,
    "drain": values.duration,
}


def load(flags: Mapping[str, Any], file: Path | None = None) -> Config:
    """Return the settings of ``file`` and ``flags``, which win. Raises LocalError, with a line for each wrong value."""
    wrong: list[str] = []
    chosen: dict[str, Any] = {}
    for where, given in ((f"{file}: ", _read(file) if file is not None else {}), ("--", flags)):
        chosen.update(_parsed(where, given, wrong))
    config = Config(**chosen)
    wrong += _together(config)
    if wrong:
        raise LocalError("\n".join(wrong))
    return config


def host_and_port(text: str) -> tuple[str, int]:
    """Split HOST:PORT."""
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or 0


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise LocalError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LocalError(f"{file}: not TOML: {error}") from None


def _parsed(where: str, given: Mapping[str, Any], wrong: list[str]) -> dict[str, Any]:
    parsed = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in PARSERS:
            wrong.append(f"{where}{key}: there is no such setting")
            continue
        try:
            parsed[name] = PARSERS[name](value)
        except ValueError as error:
            wrong.append(f"{where}{name.replace('_', '-')}: {error}")
    return parsed


def _together(config: Config) -> list[str]:
    """Return what is wrong with values that are right by themselves, a line each."""
    wrong = []
    if (config.tls_certificate is None) != (config.tls_key is None):
        wrong.append("tls-certificate and tls-key go together")
    if config.max_frame > MAX_FRAME:
        wrong.append(f"max-frame: at most {MAX_FRAME} bytes")
    if config.max_mail > MAX_MAIL:
        wrong.append(f"max-mail: at most {MAX_MAIL} bytes")
    if not config.mail_ttl or config.mail_ttl > 14 * DAY:
        wrong.append("mail-ttl: more than nothing and at most 14 d, as long as peers keep the keys of their mail")
    if config.federate == "listed" and not config.federate_allow:
        wrong.append("federate = listed: federate-allow lists nobody")
    if config.public_url.startswith("ws:") and config.tls_certificate is not None:
        wrong.append("public-url: a relay with TLS is wss://")
    if not config.door or len(set(config.door)) < len(config.door):
        wrong.append("door: at least one, and each of them once")
    if not config.rmb and (config.rmb_name or config.twins is not None or config.chain):
        wrong.append("rmb-name, twins and chain go with rmb")
    if len(config.name) > 255:
        wrong.append("name: at most 255 characters")
    return wrong


def beyond_this_machine(config: Config) -> bool:
    """Whether the relay listens for other hosts without TLS, which is right behind a proxy or a tunnel only."""
    host = config.address[0]
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return config.tls_certificate is None and not loopback
