"""Parsers of the settings of a relay, from text or a value of TOML. Each raises ValueError with what is expected."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mm_relay.access import FEDERATE, Network
from mm_relay.config.redis_url import parse_redis
from mm_transports.relay.protocol.address import parse_relay
from mmplatform.errors import InvalidKey
from mmplatform.identity.keys import parse_sign_id, raw_key
from mmplatform.plugins import loading

SAME_PORT: Final = "same"
MIB: Final = 1024 * 1024
DAY: Final = 86400
_SIZES: Final = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
                 "kib": 1024, "mib": MIB, "gib": 1024 * MIB, "tib": MIB * MIB}  # fmt: skip
_TIMES: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def text(value: Any) -> str:
    """Parse a text."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def flag(value: Any) -> bool:
    """Parse whether something is so."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def rmb_name(value: Any) -> str:
    """Parse the name of a relay of RMB, as twins have it."""
    if not re.fullmatch(r"[!-^`-~]{1,255}", text(value)):
        raise ValueError(f"{value!r} is no name of a relay: visible ASCII characters without _")
    return str(value)


def path(value: Any) -> Path:
    """Parse a path; ~ is the home folder."""
    return Path(text(str(value) if isinstance(value, Path) else value)).expanduser()


def count(value: Any) -> int:
    """Parse a number, as in 5000 or 5k."""
    return _scaled(value, {"": 1, "k": 1000, "m": 10**6}, "a number (0 for no limit)")


def size(value: Any) -> int:
    """Parse a size into bytes, as in 64 MiB."""
    return _scaled(value, _SIZES, "a size like 64 MiB (0 for no limit)")


def duration(value: Any) -> int:
    """Parse a time into seconds, as in 14 d."""
    return _scaled(value, _TIMES, "a time like 14 d or 30 s")


def _scaled(value: Any, units: Mapping[str, int], what: str) -> int:
    match = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value))
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{value!r} is not {what}")
    number = float(match[1]) * units[match[2].lower()]
    if not math.isfinite(number) or number >= 2**53:
        raise ValueError(f"{value!r} is too much")
    return int(number)


def listening(value: Any) -> str:
    """Parse HOST:PORT."""
    parts = urlsplit(f"//{text(value)}")
    try:
        if not parts.hostname or parts.port is None or parts.path:
            raise ValueError
    except ValueError:
        raise ValueError(f"{value!r} is not HOST:PORT") from None
    return str(value)


def metrics(value: Any) -> str:
    """Parse HOST:PORT, or "same" for the port of the relay."""
    return SAME_PORT if value == SAME_PORT else listening(value)


def url(value: Any) -> str:
    """Parse the URL of a WebSocket; it ends with a slash then."""
    parts = urlsplit(text(value))
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not wss://HOST[:PORT][/PATH]")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def store(value: Any) -> str:
    """Parse where mail is kept: sqlite, memory, or a URL of Redis."""
    if text(value) not in ("sqlite", "memory"):
        try:
            parse_redis(value)
        except ValueError as error:
            raise ValueError(f"not sqlite, and {error}") from None
    return text(value)


def federate(value: Any) -> str:
    """Parse with which relays to work: any, listed or none."""
    if value not in FEDERATE:
        raise ValueError(f"{value!r} is none of {', '.join(FEDERATE)}")
    return text(value)


def each(parse: Callable[[str], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a parser of lists whose elements ``parse`` takes."""

    def parsed(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"{value!r} is not a list")
        return tuple(parse(text(one)) for one in value)

    return parsed


def door(name: str) -> str:
    """Parse the name of a door that is installed; the door is not imported."""
    installed = loading.names(loading.DOORS)
    if name not in installed:
        raise ValueError(f"there is no door {name!r}; installed: {', '.join(installed) or 'none'}")
    return name


def network(name: str) -> Network:
    """Parse an IP network, as in 127.0.0.0/8."""
    return ip_network(name)


class Listed(NamedTuple):
    """A relay that the operator lists: its key, and the address at which it may be wherever that is, or ""."""

    key: bytes
    address: str


def relay(name: str) -> Listed:
    """Parse the address of a relay, or its key alone."""
    return Listed(key(name), parse_relay(name).text if ":" in name else "")


def key(name: str) -> bytes:
    """Parse the key of a peer (signId) or of a relay (its address, or the end of it) into 32 bytes."""
    try:
        if ":" in name:
            return raw_key(parse_relay(name).key)
        return raw_key(parse_sign_id(name if len(name) != 43 else name.replace("-", "+").replace("_", "/") + "="))
    except (InvalidKey, ValueError) as error:
        raise ValueError(f"{name!r} is neither a signId nor the address of a relay ({error})") from None
