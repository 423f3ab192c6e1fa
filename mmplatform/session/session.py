"""An established session: seal, open, rekey, close (docs/protocol/session.rst, "DATA").

Each direction has a key of its own and counts its frames from 0; the count is the nonce and is not sent, so a
frame lost, repeated, swapped or reflected does not open. After every 2**16 frames of a direction its key takes
one step through BLAKE2b, which cannot be walked back: a key stolen later opens nothing sealed before the step.

Wiping is dropping the references. Python cannot overwrite a ``bytes`` object: the memory of a dropped key keeps
its content until the allocator uses it again, and whoever reads the memory (or swap) of the process may find it.
"""

from typing import Final

from nacl.exceptions import CryptoError

from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import digest
from mmplatform.session import box
from mmplatform.session.packets import MAX_FRAME, MAX_PLAINTEXT

REKEY_EVERY: Final = 2**16  # frames of one direction
CLIENT_LABEL: Final = b"mm1-c2s-"
SERVER_LABEL: Final = b"mm1-s2c-"

_REKEY_MASK: Final = REKEY_EVERY - 1


class Session:
    """The two keys of one link. :attr:`dead` says why the session ended; it is empty as long as the session lives."""

    __slots__ = ("_open_key", "_open_label", "_opened", "_seal_key", "_seal_label", "_sealed", "dead")

    def __init__(self, seal_key: bytes, seal_label: bytes, open_key: bytes, open_label: bytes) -> None:
        self._seal_key = seal_key
        self._seal_label = seal_label
        self._sealed = 0
        self._open_key = open_key
        self._open_label = open_label
        self._opened = 0
        self.dead = ""

    @classmethod
    def of_client(cls, shared: bytes, transcript: bytes) -> "Session":
        """Derive the client's session from the agreed secret (32 bytes) and the hash of the handshake."""
        client_key, server_key = data_keys(shared, transcript)
        return cls(client_key, CLIENT_LABEL, server_key, SERVER_LABEL)

    @classmethod
    def of_server(cls, shared: bytes, transcript: bytes) -> "Session":
        """Derive the server's session from the agreed secret (32 bytes) and the hash of the handshake."""
        client_key, server_key = data_keys(shared, transcript)
        return cls(server_key, SERVER_LABEL, client_key, CLIENT_LABEL)

    def seal(self, plaintext: bytes) -> bytearray:
        """Seal the next frame to send. Raises ProtocolError: "too-long", which changes nothing, or "dead"."""
        if len(plaintext) > MAX_PLAINTEXT:
            raise ProtocolError("too-long", f"a frame carries at most {MAX_PLAINTEXT} bytes, not {len(plaintext)}")
        number = self._sealed
        try:
            frame = box.seal(plaintext, self._seal_label + number.to_bytes(16, "big"), self._seal_key)
        except CryptoError:  # the only way to fail: the key is gone
            raise ProtocolError("dead", f"the session ended: {self.dead}") from None
        self._sealed = number = number + 1
        if not number & _REKEY_MASK:
            self._seal_key = next_key(self._seal_key)
        return frame

    def open(self, frame: bytes | memoryview) -> bytearray:
        """Open the next frame received. Raises ProtocolError: "bad-box", which kills the session, or "dead"."""
        number = self._opened
        try:
            if len(frame) > MAX_FRAME:
                raise CryptoError("longer than any frame")
            plain = box.unseal(frame, self._open_label + number.to_bytes(16, "big"), self._open_key)
        except CryptoError:
            raise self._violated(frame) from None
        self._opened = number = number + 1
        if not number & _REKEY_MASK:
            self._open_key = next_key(self._open_key)
        return plain

    def close(self) -> None:
        """Drop the keys. Sealing and opening raise "dead" from now on."""
        self._end("closed")

    def _violated(self, frame: bytes | memoryview) -> ProtocolError:
        if self.dead:
            return ProtocolError("dead", f"the session ended: {self.dead}")
        self._end("bad-box")
        return ProtocolError("bad-box", f"{len(frame)} bytes are not frame {self._opened} of this session")

    def _end(self, reason: str) -> None:
        self.dead = self.dead or reason
        self._seal_key = self._open_key = b""


def data_keys(shared: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    """Return the first key from client to server, and the first from server to client."""
    return digest("mm/1 data client", shared, transcript), digest("mm/1 data server", shared, transcript)


def next_key(key: bytes) -> bytes:
    """Return the key that follows ``key`` after 2**16 frames; the step cannot be walked back."""
    return digest("mm/1 rekey", key)
