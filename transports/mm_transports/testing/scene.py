"""Sets the scene of a test: a transport that listens, one that dials, and receivers that keep what they are told."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final

from mmplatform.errors import Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import Connection, Transport

PEER: Final = SignId("p" * 43 + "=")
"""The peer to dial when the address alone leads to a host and the key is of no use."""


@dataclass
class ConnectionEnd:
    """One end of a connection: a receiver that keeps what it is told."""

    connection: Connection
    frames: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    lost: list[Exception | None] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)
    held: int = 0

    def frame_received(self, frame: memoryview) -> None:
        assert not self.lost
        self.frames.put_nowait(bytes(frame))

    def holds(self, size: int) -> None:
        self.held = size

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)
        self.gone.set()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


@dataclass
class Scene:
    """A transport that listens, and one that dials there.

    ``transport`` listens near ``hint``. Where two nodes meet at a third (a relay), ``dialler`` is the transport of the
    one that dials and ``peer`` the key of the one that listens; otherwise ``transport`` dials itself.
    """

    transport: Transport
    hint: str
    dialler: Transport | None = None
    peer: SignId = PEER
    address: str = ""
    came: asyncio.Queue[ConnectionEnd] = field(default_factory=asyncio.Queue)

    async def listen(self) -> None:
        """Let the transport listen; ``address`` is then the first at which it can be dialled."""
        self.address = (await self.transport.listen(self.hint, self.accept))[0]

    def accept(self, connection: Connection) -> ConnectionEnd:
        """Make the receiver of a connection that comes in; it is in ``came``, too."""
        end = ConnectionEnd(connection)
        self.came.put_nowait(end)
        return end

    async def dial(self) -> tuple[ConnectionEnd, ConnectionEnd]:
        """Dial and write a first frame; return our end and theirs. Raises Unreachable."""
        ends: list[ConnectionEnd] = []

        def accept(connection: Connection) -> ConnectionEnd:
            ends.append(ConnectionEnd(connection))
            return ends[0]

        connection = await (self.dialler or self.transport).dial(self.address, self.peer, accept)
        assert ends[0].connection is connection
        connection.write(b"hello")
        far, lost = asyncio.ensure_future(self.came.get()), asyncio.ensure_future(ends[0].gone.wait())
        await asyncio.wait([far, lost], return_when=asyncio.FIRST_COMPLETED)
        if lost.done() and not far.done():
            far.cancel()
            assert isinstance(ends[0].lost[0], Unreachable)
            raise ends[0].lost[0]
        lost.cancel()
        assert await far.result().frames.get() == b"hello"
        return ends[0], far.result()

    @property
    def where(self) -> str:
        """A pattern for the address as errors name it: without the key of a meeting point."""
        return re.escape(self.address.rpartition("/")[0] or self.address if self.dialler else self.address)
