"""Addresses of relays: ``relay+wss://host[:port][/path]/KEY``, KEY the relay's signId in base64url without padding.

``relay+ws://`` is the same without TLS: for one machine, a laboratory, or behind a proxy on the same host.
"""

import base64
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mmplatform.addresses import TLS_PORT, Reach, parsed
from mmplatform.errors import InvalidKey
from mmplatform.identity.keys import SignId, parse_sign_id, raw_key, sign_id_of
from mmplatform.identity.nodeinfo import is_address

SCHEMES: Final = ("relay+wss", "relay+ws")
PLAIN_PORT: Final = 80  # where a WebSocket without TLS is, unless its address says
_KEY_LENGTH: Final = 43


class RelayAddress(NamedTuple):
    """The address of a relay: ``url`` of its WebSocket, the ``key`` to expect there, and the canonical ``text``."""

    text: str
    url: str
    key: SignId


def parse_relay(text: str) -> RelayAddress:
    """Return the parts of a relay's address. Raises ValueError, which says what is wrong."""
    if not is_address(text):
        raise ValueError(f"{text[:80]!r} is not an address: at most 256 visible ASCII characters")
    parts = urlsplit(text)
    path, _, key = parts.path.rpartition("/")
    if parts.scheme not in SCHEMES or not parts.hostname or set(text) & set("?#@"):
        raise ValueError(f"{text!r} is not relay+wss://host[:port]/KEY")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    try:
        sign_id = _key(key)
    except (InvalidKey, ValueError):
        raise ValueError(
            f"{text!r} does not end with the key of a relay (43 characters; `mm relay` prints it)"
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = parts.scheme.removeprefix("relay+")
    url = f"{scheme}://{host}" + (f":{port}" if port is not None else "") + path.rstrip("/") + "/"
    return RelayAddress(format_relay(url, sign_id), url, sign_id)


def may_name(relay: RelayAddress, reach: Reach) -> bool:
    """Whether somebody with this ``reach`` may have us connect to ``relay``, as far as its address shows.

    A stranger names no path: with one it could have any page of any server asked for.
    """
    if reach.anywhere:
        return True
    host, port, tls = place(relay)
    if urlsplit(relay.url).path != "/" or not (tls or reach.home) or not reach.names(host):
        return False
    return parsed(host) is None or reach.admits(host, port, tls)


def place(relay: RelayAddress) -> tuple[str, int, bool]:
    """Return the host and the port of a relay, and whether it speaks TLS."""
    where = urlsplit(relay.url)
    tls = where.scheme == "wss"
    return where.hostname or "", where.port or (TLS_PORT if tls else PLAIN_PORT), tls


def format_relay(url: str, key: SignId) -> str:
    """Return the address of the relay with ``key`` whose WebSocket is at ``url`` (``wss://host/``)."""
    return f"relay+{url.rstrip('/')}/{base64.urlsafe_b64encode(raw_key(key)).decode().rstrip('=')}"


@lru_cache(maxsize=4096)
def relay_key(address: str) -> bytes:
    """Return the key (32 bytes) in the address of a relay, b"" when the address is not one."""
    try:
        return raw_key(parse_relay(address).key)
    except ValueError:
        return b""


def _key(text: str) -> SignId:
    """Decode a key; refuses characters that a lenient decoder skips, so that one key has one form."""
    raw = base64.urlsafe_b64decode(text + "=") if len(text) == _KEY_LENGTH else b""
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
        raise ValueError("not canonical base64")
    return parse_sign_id(sign_id_of(raw))
