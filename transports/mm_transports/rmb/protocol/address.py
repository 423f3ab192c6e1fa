"""Addresses of twins: a number, and a session when a twin has several connections; as a text ``30`` or ``30:name``."""

from typing import Final

from mmplatform.codec import Struct
from mmplatform.errors import ProtocolError

MAX_TWIN: Final = 2**32 - 1
MAX_SESSION: Final = 255  # bytes of UTF-8
NPM_PLAIN: Final = "ws:/"  # how the npm client calls a relay without TLS
_LONGEST_NUMBER: Final = len(str(MAX_TWIN))


class TwinAddress(Struct, frozen=True, gc=False):
    """Where a twin is. A ``session`` of None or "" is the one without a name: that of rmb-peer and of services."""

    twin: int
    session: str | None = None

    def __str__(self) -> str:
        return f"{self.twin}:{self.session}" if self.session else str(self.twin)

    def same(self, other: "TwinAddress") -> bool:
        """Whether both are one: an absent session and an empty one are not told apart."""
        return self.twin == other.twin and (self.session or "") == (other.session or "")


def parse_twin(text: str) -> TwinAddress:
    """Read ``twin`` or ``twin:session``. Raises ProtocolError."""
    number, colon, session = text.partition(":")
    canonical = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER and number[0] != "0"
    if not canonical or int(number) > MAX_TWIN or (colon and not session):
        raise ProtocolError("bad-address", "the address of a twin is its number, or number:session")
    if not is_session(session):
        raise ProtocolError("bad-address", f"a session is UTF-8 of at most {MAX_SESSION} bytes")
    return TwinAddress(int(number), session or None)


def is_session(text: str) -> bool:
    """Whether a connection of a twin may be called so."""
    try:
        return len(text.encode()) <= MAX_SESSION
    except UnicodeEncodeError:
        return False


def url_of(name: str) -> str:
    """Return the URL of the relay that clients call ``name``."""
    if "://" in name:
        return name
    return f"ws://{name.removeprefix(NPM_PLAIN)}/" if name.startswith(NPM_PLAIN) else f"wss://{name}/"
