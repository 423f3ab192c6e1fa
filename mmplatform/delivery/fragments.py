"""Puts large values together from consecutive slices, each held in the account of who sends it."""

from collections.abc import Callable

from mmplatform.accounts import Account
from mmplatform.delivery.wire import TOO_LARGE
from mmplatform.errors import ProtocolError


class Assembler:
    """One value in assembly. Memory grows with what has arrived, never with what was announced.

    ``largest`` says how many bytes a value may have; it is asked when the first slice comes.
    """

    __slots__ = ("_account", "_data", "_largest", "total")

    def __init__(self, account: Account, largest: Callable[[], int]) -> None:
        self._account = account
        self._largest = largest
        self._data = bytearray()
        self.total = 0

    @property
    def held(self) -> int:
        """Bytes held so far."""
        return len(self._data)

    def add(self, offset: int, total: int, data: bytes) -> bytes | None:
        """Take one slice, without the bytes that are held already; return the whole value once its last byte is there.

        Raises ProtocolError: ``bad-piece`` for a gap, an overrun, an empty slice or a total that changes, ``too-large``
        at the first slice of a value that may not be so large, ``overloaded`` when the account has no room.
        """
        if not data or offset + len(data) > total or (self.total and total != self.total):
            raise ProtocolError("bad-piece", f"{len(data)} bytes at {offset} of {total}")
        if not self.total and total > self._largest():
            raise ProtocolError(TOO_LARGE, f"{total} bytes, at most {self._largest()} here")
        if offset > self.held:
            raise ProtocolError("bad-piece", f"slice at {offset}, expected {self.held}")
        data = data[self.held - offset :]  # another link may have cut the value elsewhere
        if not data:
            return None
        self._account.charge(len(data))
        self.total = total
        self._data += data
        if self.held < total:
            return None
        whole = bytes(self._data)
        self.clear()
        return whole

    def clear(self) -> None:
        """Forget what is held."""
        self._account.credit(self.held)
        self._data = bytearray()
        self.total = 0
