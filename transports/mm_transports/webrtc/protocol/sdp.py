"""Session descriptions, as far as a data channel needs them (docs/protocol/webrtc.rst, "Descriptions").

Descriptions of peers are hostile input: the few lines that matter are parsed strictly here, all others are dropped, and
the WebRTC library gets a text written anew from the result. We never contact an address that no honest peer has.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from mm_transports.webrtc.protocol.pieces import SMALLEST
from mmplatform.addresses import LOWEST_PORT
from mmplatform.errors import ProtocolError

MAX_CANDIDATES: Final = 10  # candidates of a peer that we try: more would make us a port scanner
MAX_LINES: Final = 200  # lines of a description: no honest peer has more
MAX_NAMES: Final = 3  # candidates with names, which are looked up by multicast
MAX_MESSAGE: Final = 65536  # bytes a message has at most when the peer does not say (RFC 8841, 6.1)

_UFRAG: Final = re.compile("[A-Za-z0-9+/]{4,256}")
_PASSWORD: Final = re.compile("[A-Za-z0-9+/]{22,256}")
_FINGERPRINT: Final = re.compile("(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")
_MID: Final = re.compile("[A-Za-z0-9_-]{1,32}")
_FOUNDATION: Final = re.compile("[A-Za-z0-9+/]{1,32}")
_NUMBER: Final = re.compile("[0-9]{1,10}")
_MDNS: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local")
_SETUP: Final = ("actpass", "active", "passive")
_KINDS: Final = ("host", "srflx", "relay")
_MEDIA: Final = "m=application "


@dataclass(frozen=True)
class IceCandidate:
    """A UDP address where the peer may be reached; ``host`` may be a name that mDNS knows."""

    foundation: str
    priority: int
    host: str
    port: int
    kind: str

    def line(self) -> str:
        """Return the line ``candidate:...``; the related address stays private."""
        related = "" if self.kind == "host" else " raddr 0.0.0.0 rport 9"
        return f"candidate:{self.foundation} 1 udp {self.priority} {self.host} {self.port} typ {self.kind}{related}"


@dataclass(frozen=True)
class Description:
    """An offer or answer. ``complete``: no candidates will come later."""

    ufrag: str
    password: str
    fingerprint: str
    setup: str
    mid: str = "0"
    port: int = 5000
    max_message: int = MAX_MESSAGE
    candidates: tuple[IceCandidate, ...] = ()
    complete: bool = True

    def text(self) -> str:
        """Return the description as SDP (RFC 8866)."""
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {self.mid}",
            f"{_MEDIA}9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            *(f"a={candidate.line()}" for candidate in self.candidates),
            *(["a=end-of-candidates"] if self.complete else []),
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            f"a=fingerprint:sha-256 {self.fingerprint}",
            f"a=setup:{self.setup}",
            f"a=mid:{self.mid}",
            f"a=sctp-port:{self.port}",
            f"a=max-message-size:{self.max_message}",
        ]
        return "\r\n".join(lines) + "\r\n"


def parse(text: str) -> Description:
    """Parse a description. Raises ProtocolError("bad-sdp")."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) > MAX_LINES or lines[0] != "v=0":
        raise _bad("not a session description")
    media = [line for line in lines if line.startswith("m=")]
    if len(media) != 1 or not re.fullmatch(_MEDIA + "[0-9]+ UDP/DTLS/SCTP webrtc-datachannel", media[0]):
        raise _bad("not of one data channel")
    found = _attributes(lines)
    candidates = [parse_candidate(line.removeprefix("a=")) for line in lines if line.startswith("a=candidate:")]
    return Description(
        _match(_UFRAG, found, "ice-ufrag"),
        _match(_PASSWORD, found, "ice-pwd"),
        _match(_FINGERPRINT, found, "fingerprint"),
        _setup(found.get("setup", "")),
        _match(_MID, found, "mid"),
        _number(found.get("sctp-port", "5000"), 1, 65535),
        _size(found.get("max-message-size", str(MAX_MESSAGE))),
        chosen([candidate for candidate in candidates if candidate is not None]),
        "end-of-candidates" in found,
    )


def parse_candidate(line: str) -> IceCandidate | None:
    """Parse a line ``candidate:...``; None for a candidate that is useless or unsafe. Raises ProtocolError."""
    fields = line.removeprefix("candidate:").split(" ")
    if not line.startswith("candidate:") or len(fields) < 8 or fields[6] != "typ":
        raise _bad("not a candidate")
    foundation, component, protocol, priority, host, port, _, kind = fields[:8]
    if not _FOUNDATION.fullmatch(foundation):
        raise _bad("foundation of a candidate")
    ranked, number = _number(priority, 0, 2**32 - 1), _number(port, 0, 65535)
    useful = component == "1" and protocol.lower() == "udp" and kind in _KINDS and number >= LOWEST_PORT
    return IceCandidate(foundation, ranked, host, number, kind) if useful and _contactable(host) else None


def chosen(candidates: list[IceCandidate]) -> tuple[IceCandidate, ...]:
    """Return as many candidates as may be tried, those that others see before those of a host's own interfaces."""
    distinct = dict.fromkeys(sorted(candidates, key=lambda candidate: candidate.kind == "host"))
    named = [candidate for candidate in distinct if is_name(candidate.host)]
    spare = set(named[MAX_NAMES:])
    return tuple(candidate for candidate in distinct if candidate not in spare)[:MAX_CANDIDATES]


def is_name(host: str) -> bool:
    """Whether ``host`` is one of the names that browsers give instead of addresses."""
    return host.endswith(".local")


def _contactable(host: str) -> bool:
    """Whether an honest peer may have this address or name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(_MDNS.fullmatch(host))
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return False
    return not (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or address.is_reserved
    )


def _attributes(lines: list[str]) -> dict[str, str]:
    """Return the first attribute of each name; of fingerprints the first by SHA-256, which every browser has."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line[2:].partition(":")
        if line.startswith("a=") and (name != "fingerprint" or value.lower().startswith("sha-256 ")):
            found.setdefault(name, value[8:].upper() if name == "fingerprint" else value)
    return found


def _match(pattern: re.Pattern[str], found: dict[str, str], name: str) -> str:
    value = found.get(name, "")
    if not pattern.fullmatch(value):
        raise _bad(name)
    return value


def _setup(value: str) -> str:
    if value not in _SETUP:
        raise _bad("setup")
    return value


def _number(value: str, lowest: int, highest: int) -> int:
    if not _NUMBER.fullmatch(value) or not lowest <= int(value) <= highest:
        raise _bad("a number that is none, or out of range")
    return int(value)


def _size(value: str) -> int:
    """Return the limit of a message in bytes; 0 is no limit."""
    size = _number(value, 0, 2**32 - 1)
    if 0 < size < SMALLEST:
        raise _bad("max-message-size")
    return size


def _bad(what: str) -> ProtocolError:
    return ProtocolError("bad-sdp", what)
