"""Writes and reads the TXT record in which a node announces itself (docs/find-your-peers-lan.rst, "The record").

::

    v=1               version of this layout; others are ignored
    id=<signId>       whose announcement it is
    r0=<base64> r1=…  the signed NodeInfo in pieces, when all of it fits

A record that came along is proven at once. Without one, ``id`` and the addresses are only named, and the handshake
proves them.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mmplatform.addresses import has_zone, link_local
from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import SignId, parse_sign_id
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo

SERVICE_TYPE: Final = "_mm._tcp.local."
VERSION: Final = b"1"
MAX_TXT: Final = 1300  # bytes of all strings together, so that one Ethernet frame holds the answer (RFC 6763, 6.1)
PIECE: Final = 250  # characters of a record in one string, which holds 255 bytes with its name
MAX_PIECES: Final = 6
MAX_LOCAL: Final = 4  # addresses of this link

Properties = Mapping[bytes, bytes | None]


class Announcement(NamedTuple):
    """What an instance says; ``addresses`` that are not in its record (``info``) are only named: those of this link,
    which mean nothing elsewhere, or all when there is no record."""

    sign_id: SignId
    info: NodeInfo | None
    addresses: tuple[str, ...]


def instance_name(sign_id: str) -> str:
    """Make our name for this run: short, and new, as others may remember the records of the run before."""
    return f"{hashlib.blake2b(sign_id.encode(), digest_size=4).hexdigest()}-{secrets.token_hex(3)}"


def write(info: NodeInfo) -> dict[str, bytes]:
    """Return the strings of the TXT record that announces ``info``."""
    strings = {"v": VERSION, "id": info.sign_id.encode()}
    text = base64.b64encode(info.encode())
    pieces = {f"r{n}": text[start : start + PIECE] for n, start in enumerate(range(0, len(text), PIECE))}
    size = sum(len(key) + len(value) + 2 for key, value in (strings | pieces).items())
    return strings | pieces if size <= MAX_TXT else strings


def read(properties: Properties, named: Iterable[str], now: float) -> Announcement:
    """Read a TXT record; ``named`` are the addresses beside it. Raises InvalidRecord or InvalidKey."""
    if properties.get(b"v") != VERSION:
        raise InvalidRecord("version: the announcement is of another version")
    sign_id = parse_sign_id((properties.get(b"id") or b"").decode("ascii", "replace"))
    text = b"".join(properties.get(f"r{n}".encode()) or b"" for n in range(MAX_PIECES))
    if not text:
        return Announcement(sign_id, None, tuple(named)[:MAX_ADDRESSES])
    try:
        info = NodeInfo.decode(base64.b64decode(text, validate=True), now)
    except binascii.Error as error:
        raise InvalidRecord(f"malformed: {error}") from None
    if info.sign_id != sign_id:
        raise InvalidRecord("sign-id: the announcement carries somebody else's record")
    local = sorted(address for address in named if any(link_local(host) for host, _ in tcp_endpoints([address])))
    proven = [address for address in info.connection_info if not has_zone(address)]
    return Announcement(sign_id, info, (*proven, *local[:MAX_LOCAL]))


def tcp_endpoints(addresses: Iterable[str]) -> list[tuple[str, int]]:
    """Return (host, port) of each well-formed address that begins with ``tcp:``."""
    found = []
    for address in addresses:
        try:
            parts = urlsplit(address)
            if parts.scheme == "tcp" and parts.hostname and parts.port:
                found.append((parts.hostname, parts.port))
        except ValueError:
            continue
    return found
