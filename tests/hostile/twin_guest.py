"""A bare client of RMB: the token in the request, envelopes as quick as they can be made, whatever comes back."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.envelope import (
    RmbEnvelope,
    RmbMessage,
    RmbPing,
    RmbRequest,
    decode_envelope,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.tokens import make_token
from mmplatform.errors import ProtocolError
from tests.hostile.raw_link import Traffic
from tests.hostile.twins import keys_of
from tests.hostile.web_socket_wire import WebSocketWire, framed, request

TTL: Final = 300  # seconds
MARK: Final = b"MARKMARK"  # in uids that are made anew by a replacement
_UNSIGNED: Final = b"e" + bytes(64)  # a door does not look at the signatures of who has signed in


class TwinGuest(WebSocketWire):
    """One connection of a twin. ``heard`` is called for each envelope that comes. Without ``pongs`` it answers no pings
    of WebSocket, which is how genuine clients take mail."""

    def __init__(self, traffic: Traffic, number: int, session: str | None = None, *, pongs: bool = True) -> None:
        super().__init__(traffic)
        self.at = TwinAddress(number, session)
        self.heard: Callable[[RmbEnvelope], None] | None = None
        self._pongs = pongs

    async def sign_in(self, token: str = "", **claims: Any) -> None:
        """Come with a token. Raises Gone."""
        await self.upgrade(asked(token or token_of(self.at.twin, self.at.session, **claims)))

    async def say(self, message: bytes) -> None:
        await self.write(framed(message))

    def message(self, payload: bytes) -> None:
        if self.heard is None:
            return
        try:
            self.heard(decode_envelope(payload))
        except ProtocolError as error:
            self.ended(str(error))

    def pinged(self, payload: bytes) -> None:
        if self._pongs:
            super().pinged(payload)


def token_of(number: int, session: str | None = None, **claims: Any) -> str:
    """Return a token that is good now."""
    return make_token(keys_of(number), number, session, int(time.time()), **claims)


def asked(token: str) -> bytes:
    """Return the request with this token."""
    return request(f"/?{token}") + b"\r\n"


def envelope(
    source: TwinAddress, to: int, uid: str, size: int = 0, *, session: str | None = None,
    message: RmbMessage | None = None, signed: bool = False, **fields: Any,
) -> bytes:  # fmt: skip
    """Return the bytes of an envelope, a request unless another ``message`` is given; ``size``: of its payload."""
    made = RmbEnvelope(
        uid=uid, message=message or RmbRequest("a"), timestamp=int(time.time()), expiration=TTL, source=source,
        destination=TwinAddress(to, session), plain=bytes(size), signature=_UNSIGNED,
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    if signed:
        sign_envelope(made, keys_of(source.twin))
    return encode_envelope(made)


def ping(uid: str, places: bytes | None = None) -> bytes:
    """Return the bytes of a ping envelope."""
    return encode_envelope(
        RmbEnvelope(uid=uid, message=RmbPing(), timestamp=int(time.time()), expiration=TTL, plain=places)
    )


def posted(body: bytes, *headers: str) -> bytes:
    """Return the request that posts an envelope; without ``headers`` it is the last one of its connection."""
    lines = ("POST / HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *(headers or ("Connection: close",)))
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def call(method: str, *params: object) -> bytes:
    """Return the bytes of a call of the chain."""
    return json.dumps({"id": 1, "jsonrpc": "2.0", "method": method, "params": params}).encode()


class Fresh:
    """Frames of envelopes whose uids, which have MARK in them, are other ones each time: they are made once."""

    def __init__(self, messages: list[bytes]) -> None:
        self._frames = b"".join(map(framed, messages))
        self._number = 0

    def __call__(self) -> bytes:
        self._number += 1
        return self._frames.replace(MARK, b"%08x" % self._number)


def marked(number: int) -> str:
    """Return a uid for :class:`Fresh`."""
    return f"{number:x}-{MARK.decode()}"
