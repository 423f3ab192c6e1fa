"""Puts large values together from consecutive slices, within a memory budget shared by all peers."""

from typing import Final

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
    """One value in assembly. Memory grows with what has arrived, never with what was announced."""

    __slots__ = ("_budget", "_data", "_limit", "total")

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget = budget
        self._limit = limit
        self._data = bytearray()
        self.total = 0

    @property
    def held(self) -> int:
        """Bytes held so far."""
        return len(self._data)

    def add(self, offset: int, total: int, data: bytes) -> bytes | None:
        """Take one slice, without the bytes that are held already; return the whole value once its last byte is there.

        Raises ProtocolError("bad-piece") for a gap, an overrun, an empty slice or a total that is too large or changes.
        """
        if not data or total > self._limit or offset + len(data) > total or (self.total and total != self.total):
            raise ProtocolError("bad-piece", f"{len(data)} bytes at {offset} of {total}")
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
