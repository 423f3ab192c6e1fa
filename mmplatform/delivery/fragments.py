"""Puts large values together from consecutive slices, within a memory budget shared by all peers."""

from collections.abc import Callable
from typing import Final

from mmplatform.delivery.wire import TOO_LARGE
from mmplatform.errors import ProtocolError

KNOWN: Final = 256 * 1024 * 1024  # bytes for all values in assembly from devices and friends
STRANGERS: Final = 80 * 1024 * 1024  # bytes for all values in assembly from everybody else


class Budget:
    """Bytes that values in assembly may hold together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def reserve(self, size: int) -> None:
        """Take ``size`` bytes. Raises ProtocolError("overloaded") when the budget is spent."""
        if self.used + size > self.limit:
            raise ProtocolError("overloaded", "too many large messages at once")
        self.used += size

    def release(self, size: int) -> None:
        """Give back ``size`` bytes."""
        self.used -= size


class Assembler:
    """One value in assembly. Memory grows with what has arrived, never with what was announced.

    ``largest`` says how many bytes a value may have; it is asked when the first slice comes.
    """

    __slots__ = ("_budget", "_data", "_largest", "total")

    def __init__(self, budget: Budget, largest: Callable[[], int]) -> None:
        self._budget = budget
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
        at the first slice of a value that may not be so large.
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
        self._budget.reserve(len(data))
        self.total = total
        self._data += data
        if self.held < total:
            return None
        whole = bytes(self._data)
        self.clear()
        return whole

    def clear(self) -> None:
        """Forget what is held."""
        self._budget.release(self.held)
        self._data = bytearray()
        self.total = 0
