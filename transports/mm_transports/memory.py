"""Moves frames between two ends in one process, with scripted cuts and delays: for tests, yours included.

Nodes of one :class:`Network` reach each other at ``memory://name``. ``network.cut()`` ends every connection,
``network.up = False`` lets nobody dial, ``network.delay`` holds each frame that many seconds, and
``network.drop(frame)`` decides which frames are lost (a link whose frame is lost is cut, as an ordered connection
cannot skip one).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import ClassVar

from mmplatform.errors import LocalError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import IN_PROCESS, LENGTH_LIMIT, Accept, Connection, FrameReceiver, Transport


class Network:
    """A network within the process: its nodes reach each other and nobody else.

    ``up``: whether anybody may dial. ``delay``: seconds that each frame takes. ``drop(frame)``: whether it is lost.
    """

    def __init__(self) -> None:
        self.up = True
        self.delay = 0.0
        self.drop: Callable[[bytes | bytearray], bool] = lambda frame: False
        self.max_frame = LENGTH_LIMIT
        self._listening: dict[str, Accept] = {}
        self._open: set[MemoryConnection] = set()
        self._numbers = count(1)

    def cut(self) -> None:
        """End every connection at once; frames under way are lost."""
        for connection in list(self._open):
            connection.abort()


_default = Network()


class Memory(Transport):
    """The transport of ``memory://name``, on the given network or on one that the process shares."""

    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    cost: ClassVar[int] = IN_PROCESS
    everyday: ClassVar[bool] = False

    def __init__(self, network: Network | None = None) -> None:
        self.network = network or _default
        self._names: list[str] = []

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        if not address.startswith("memory://"):
            raise ValueError(f"{address!r} is not memory://name")
        answer = self.network._listening.get(address)
        if answer is None or not self.network.up:
            raise Unreachable(f"{address}: nobody is there")
        near, far = MemoryConnection(self.network, address), MemoryConnection(self.network, "memory://dialler")
        near._join(far, accept)
        far._join(near, answer)
        return near

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        if not hint.startswith("memory://"):
            raise ValueError(f"{hint!r} is not memory://name")
        name = hint.removeprefix("memory://")
        address = f"memory://{name}" if name not in ("", "0") else f"memory://{next(self.network._numbers)}"
        if address in self.network._listening:
            raise LocalError(f"somebody listens at {address} already")
        self.network._listening[address] = accept
        self._names.append(address)
        return [address]

    async def close(self) -> None:
        for name in self._names:
            self.network._listening.pop(name, None)
        self._names = []


class MemoryConnection(Connection):
    """One end of a connection. The receiver of the other end gets frames in a later loop turn."""

    cost = IN_PROCESS

    def __init__(self, network: Network, address: str) -> None:
        self.address = address
        self.max_frame = network.max_frame
        self._network = network
        self._other: MemoryConnection | None = None
        self._receiver: FrameReceiver
        self._coming: deque[bytes | bytearray | None] = deque()  # frames under way to this end, then None for the close
        self._closed = False
        self._paused = False
        self._due = 0  # frames under way that would be delivered, were reading not paused
        self._loop = asyncio.get_running_loop()

    def write(self, frame: bytes | bytearray) -> None:
        other = self._other
        if other is None or self._closed:
            return
        if self._network.drop(frame):
            self.abort()
        else:
            other._expect(frame)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            due, self._due = self._due, 0
            for _ in range(due):
                self._loop.call_soon(self._deliver)

    def close(self) -> None:
        if self._other is not None and not self._closed:
            self._closed = True
            self._other._expect(None)
            self._loop.call_later(self._network.delay, self._lose)

    def abort(self) -> None:
        other, self._other = self._other, None
        if other is not None:
            other._other = None
            for end in (self, other):
                self._loop.call_soon(end._lost, ConnectionResetError("the connection was cut"))

    def _join(self, other: "MemoryConnection", accept: Accept) -> None:
        self._other = other
        self._network._open.add(self)
        self._receiver = accept(self)

    def _expect(self, frame: bytes | bytearray | None) -> None:
        """Deliver a frame later; a timer releases the next frame in order, whatever the delays."""
        self._coming.append(frame)
        if self._network.delay:
            self._loop.call_later(self._network.delay, self._deliver)
        else:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        if self._paused:
            self._due += 1
            return
        frame = self._coming.popleft()
        if frame is None:
            self._lose()
        elif self._other is not None and not self._closed:
            self._receiver.frame_received(memoryview(frame))

    def _lose(self) -> None:
        if self._other is not None:
            self._other = None
            self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        self._network._open.discard(self)
        self._receiver.connection_lost(error)
