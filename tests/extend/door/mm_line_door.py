"""A door for lines of text: any WebSocket client, a browser's too, talks to peers of a relay without a library.

It dials ``/line?`` with a :func:`token`, then each text message is a signId, a space, and a line for that peer. What
comes is a line of the same form; one that begins with an exclamation mark says why the line before did not arrive.
Each line is a link of its own with one frame, so nothing has to be remembered between lines.
"""

from collections.abc import Iterable
from urllib.parse import parse_qs, urlencode

from mm_relay.doors.door import Door, DoorHost
from mm_relay.doors.upgrade import UpgradeRefused, UpgradeRequest
from mm_transports.relay.protocol.items import Bye, Closed, Data, Item, Open
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import BadSignature, InvalidKey, ProtocolError
from mmplatform.identity.keys import Identity, parse_sign_id, raw_key, sign_id_of, verify

LABEL = "mm-line token"
LONGEST = 300  # seconds a token may hold: who finds it in a log comes too late


class LineDoor(Door):
    text = True
    max_message = 4096

    @classmethod
    def takes(cls, request: UpgradeRequest) -> bool:
        if request.path == "/line" and not request.query:
            raise UpgradeRefused(401, "dial /line?key=...&until=...&proof=...")
        return request.path == "/line"

    def __init__(self, socket: WebSocket, host: DoorHost, request: UpgradeRequest) -> None:
        super().__init__(socket, host, request)
        self._link = 0
        try:
            key = bearer(request.query, host.identity.sign_key, host.now())
        except (BadSignature, KeyError, ValueError):
            self.refuse("bad-token")
        else:
            self.begin_session(key)

    def decode(self, message: bytes) -> list[Item]:
        name, _, line = message.decode().partition(" ")
        try:
            peer = raw_key(parse_sign_id(name))
        except (InvalidKey, ValueError):
            raise ProtocolError("bad-item", "a line begins with a signId") from None
        self._link += 1
        return [Open(peer, self._link, line.encode())]

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        for item in items:
            match item:
                case Open(peer=peer, data=data) | Data(peer=peer, data=data):
                    yield f"{sign_id_of(peer)} {data.decode(errors='replace')}".encode()
                case Closed(peer=peer, reason=reason) if reason != "closed":
                    yield f"!{sign_id_of(peer)} {reason}".encode()
                case Bye(reason=reason):
                    yield f"!{reason}".encode()


def token(identity: Identity, relay_key: bytes, until: int) -> str:
    """The query that proves the key of ``identity`` to the relay with ``relay_key``, until then (Unix seconds)."""
    proof = identity.sign(LABEL, relay_key, until.to_bytes(8))
    return urlencode({"key": identity.sign_key.hex(), "until": until, "proof": proof.hex()})


def bearer(query: str, relay_key: bytes, now: float) -> bytes:
    """The key that a token proves. Raises BadSignature, KeyError or ValueError."""
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    key, until = bytes.fromhex(fields["key"]), int(fields["until"])
    if not now < until <= now + LONGEST:
        raise ValueError("a token holds for minutes")
    verify(key, bytes.fromhex(fields["proof"]), LABEL, relay_key, until.to_bytes(8))
    return key
