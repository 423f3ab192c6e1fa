"""A bare connection to a node that speaks the session as far as an attacker wants it to."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, cast

from mmplatform.codec import pack
from mmplatform.delivery.wire import (
    Ack,
    Batch,
    Event,
    Frame,
    Packet,
    Part,
    Ping,
    Pong,
    Reply,
    Request,
    Resumption,
    decode_packet,
    encode_packet,
)
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.events import Established, Send
from mmplatform.session.handshake import Initiator
from mmplatform.session.session import Session

PATIENCE: Final = 10.0  # seconds for a connection and for a handshake
HIGH_WATER: Final = 64 * 1024  # bytes that wait here while the victim does not read
LARGEST: Final = 256 * 1024 - 16  # bytes of one packet
SLICE: Final = LARGEST - 64  # bytes of a frame that one part carries


class Gone(Exception):
    """The connection is gone, or was never there."""


class Traffic:
    """Bytes that an attacker sent and got, over all of its connections."""

    def __init__(self) -> None:
        self.sent = self.received = self.connections = 0


class Wire(asyncio.Protocol):
    """A TCP connection that counts its bytes and waits while the other end does not read."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._room = asyncio.Event()
        self._room.set()
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._traffic.connections += 1

    def data_received(self, data: bytes) -> None:
        self._traffic.received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    async def write(self, data: bytes | bytearray) -> None:
        """Send ``data`` once there is room. Raises Gone."""
        await self.room()
        self.write_now(data)

    async def room(self) -> None:
        """Wait until the other end has read enough. Raises Gone."""
        await self._room.wait()
        if self.gone.is_set():
            raise Gone("closed by the other end")

    def write_now(self, data: bytes | bytearray) -> None:
        """Send ``data`` whether there is room or not."""
        if not self.gone.is_set():
            self._traffic.sent += len(data)
            self.transport.write(data)

    def abort(self) -> None:
        if hasattr(self, "transport"):
            self.transport.abort()


async def dial(wire: Wire, host: str, port: int, source: str) -> None:
    """Connect ``wire`` from the address ``source``. Raises Gone."""
    try:
        async with asyncio.timeout(PATIENCE):
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: wire, host, port, local_addr=(source, 0))
    except (OSError, TimeoutError) as error:
        raise Gone(f"no connection: {error or 'no answer'}") from None


class RawLink(Wire):
    """A connection with a session; ``heard`` is called for each packet that comes in, when it is set."""

    def __init__(self, traffic: Traffic, identity: Identity, server: SignId, record: bytes, resume: bytes) -> None:
        super().__init__(traffic)
        self.identity, self.closed_for = identity, ""
        self.heard: Callable[[Packet], None] | None = None
        self.machine = Initiator(identity, record, server, lambda: resume, secrets.token_bytes)
        self.session: Session | None = None
        self.holding = False  # whether frames are sealed that are not written yet: answers would come out of turn
        self._owed: list[int] = []  # pings that are answered later
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()

    async def shake(self) -> None:
        """Go through the handshake. Raises Gone."""
        self._frame_out(self.machine.hello())
        try:
            async with asyncio.timeout(PATIENCE):
                await self.ready
        except TimeoutError:
            raise Gone("no handshake in time") from None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4])
            if len(self._buffer) < 4 + size:
                return
            frame = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._frame_in(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.ready.done():
            self.ready.set_exception(Gone(f"closed in the handshake: {exc or ''}"))
            self.ready.exception()

    # What goes out.

    def seal(self, *packets: Packet | bytes) -> bytes:
        """Return the bytes that carry these packets, in this order: to be written before anything sealed later."""
        session = self.session
        assert session is not None
        sealed = bytearray()
        for packet in packets:
            frame = session.seal(packet if isinstance(packet, bytes) else encode_packet(packet))
            sealed += len(frame).to_bytes(4) + frame
        return bytes(sealed)

    def seal_ahead(self, packets: Iterable[bytes], each: int = 500) -> list[bytes]:
        """Seal many packets before they are written; pings that come meanwhile are answered by :meth:`release`."""
        self.holding = True
        rest, chunks = iter(packets), list[bytes]()
        while batch := list(islice(rest, each)):
            chunks.append(self.seal(*batch))
        return chunks

    def release(self) -> None:
        """Answer what was asked: all that was sealed ahead is written."""
        self.holding = False
        for number in self._owed:
            self._frame_out(self.seal(Pong(number))[4:])
        self._owed = []

    def seal_parts(self, data: bytes, total: int = 0) -> Iterable[bytes]:
        """Yield the bytes that carry ``data``, an encoded packet too large for one frame."""
        for offset in range(0, len(data), SLICE):
            yield self.seal(Part(offset, total or len(data), data[offset : offset + SLICE]))

    def parts_ahead(self, data: bytes) -> list[bytes]:
        """Seal the parts of a large packet before they are written."""
        self.holding = True
        return list(self.seal_parts(data))

    async def send(self, *packets: Packet | bytes) -> None:
        """Send packets, sealed once there is room: an answer to a ping must not get between the two. Raises Gone."""
        await self.put(lambda _: self.seal(*packets))

    async def put(self, make: "Callable[[RawLink], bytes]") -> None:
        """Send what ``make`` seals, once there is room. Raises Gone."""
        await self.room()
        self.write_now(make(self))

    async def send_large(self, data: bytes) -> None:
        """Send an encoded packet in parts. Raises Gone."""
        for offset in range(0, len(data), SLICE):
            await self.send(Part(offset, len(data), data[offset : offset + SLICE]))

    # What comes in.

    def _frame_in(self, frame: bytes) -> None:
        try:
            if self.session is None:
                self._shaken(frame)
            else:
                self._packet(decode_packet(self.session.open(frame)))
        except ProtocolError as error:
            self.closed_for = self.closed_for or str(error)
            self.transport.abort()

    def _shaken(self, frame: bytes) -> None:
        for event in self.machine.receive(frame, time.time()):
            if isinstance(event, Send):
                self._frame_out(event.frame)
            elif isinstance(event, Established):
                self.session = event.session
                self.ready.set_result(None)

    def _packet(self, packet: Packet) -> None:
        if isinstance(packet, Ping) and self.holding:
            self._owed.append(packet.id)
        elif isinstance(packet, Ping):
            self._frame_out(self.seal(Pong(packet.id))[4:])
        elif not isinstance(packet, Frame | Part | Pong):
            self.closed_for = getattr(packet, "reason", self.closed_for)
        if self.heard is not None:
            self.heard(packet)

    def _frame_out(self, frame: bytes) -> None:
        self.write_now(len(frame).to_bytes(4) + frame)


def record_of(identity: Identity, addresses: Sequence[str] = (), seq: int = 0, mail_key: bytes = b"") -> bytes:
    """Return a signed record of ``identity``, good for a day."""
    now = time.time()
    return NodeInfo.create(identity, addresses, seq or int(now * 1000), int(now) + 86_400, mail_key).encode()


def resumption(acks: Sequence[Ack] = (), epoch: int = 0) -> bytes:
    """Return the resume state of a handshake."""
    return encode_packet(Resumption(epoch or secrets.randbits(52) + 1, int(time.time() * 1000), list(acks)))


def frame(
    acks: Sequence[Ack] = (),
    batches: Sequence[Batch] = (),
    events: Sequence[Event] = (),
    requests: Sequence[Request] = (),
    replies: Sequence[Reply] = (),
    *,
    now: int = 0,
    floor: int = 0,
) -> bytes:
    """Return an encoded frame; ``now`` is this clock's when it is 0."""
    lists: list[Any] = [list(acks), list(batches), list(events), list(requests), list(replies)]
    return pack(Frame(now or int(time.time() * 1000), floor, *lists))
