"""Encodes the signals by which two nodes agree on a channel (docs/protocol/webrtc.rst, "Signalling")."""

import re
from dataclasses import dataclass
from typing import Final

from mmplatform.errors import ProtocolError

VERSION: Final = 1
OFFER: Final = 1
ANSWER: Final = 2
CANDIDATE: Final = 3
END: Final = 4
KINDS: Final = (OFFER, ANSWER, CANDIDATE, END)
ATTEMPT: Final = 8  # bytes of the number of an attempt
HEADER: Final = 2 + ATTEMPT
MAX_SIGNAL: Final = 16 * 1024  # bytes of a whole signal
_REASON: Final = re.compile("[a-z][a-z-]{0,31}")


@dataclass(frozen=True)
class Signal:
    """One signal; ``attempt`` is drawn by the node that offers.

    ``body`` is SDP (OFFER, ANSWER), a candidate, empty after the last one (CANDIDATE), or a reason word (END).
    """

    kind: int
    attempt: bytes
    body: str = ""


def encode_signal(signal: Signal) -> bytes:
    """Return the bytes of a signal. Raises ValueError when it is too long."""
    data = bytes((VERSION, signal.kind)) + signal.attempt + signal.body.encode("ascii")
    if len(data) > MAX_SIGNAL:
        raise ValueError(f"a signal of {len(data)} bytes")
    return data


def decode_signal(data: bytes) -> Signal:
    """Parse the bytes of a signal. Raises ProtocolError("bad-signal")."""
    if not HEADER <= len(data) <= MAX_SIGNAL:
        raise ProtocolError("bad-signal", f"{len(data)} bytes")
    version, kind = data[0], data[1]
    if version != VERSION or kind not in KINDS:
        raise ProtocolError("bad-signal", f"version {version}, kind {kind}")
    try:
        body = data[HEADER:].decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("bad-signal", "not ASCII") from None
    if kind == END and not _REASON.fullmatch(body):
        raise ProtocolError("bad-signal", "not a reason word")
    return Signal(kind, data[2:HEADER], body)
