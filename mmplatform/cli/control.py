"""The control protocol, between a command and the node it uses, in this process or over the socket in the folder.

One connection is one operation. A frame is a MessagePack list, on a socket behind four bytes of length (big endian)::

    command -> node   ["open", operation, {argument: value}]     first, once
    both ways         ["item", value]                            as the operation says (operations.py)
    node -> command   ["end", value]                             last: how it ended
                      ["error", kind, text]                      last: a class of mmplatform.errors and its text

A command that goes away ends its operation; a node that goes away ends the command with :class:`NodeStopped`. Neither
end reads ahead of its reader by more than a few frames, so a slow one holds the other back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import mmplatform.errors
from mmplatform.cli.output import debugging, note_trace
from mmplatform.codec import Decoder, encode
from mmplatform.errors import InvalidPayload, LocalError, MMError, ProtocolError
from mmplatform.message import MAX_PAYLOAD

MAX_FRAME: Final = MAX_PAYLOAD + 1024 * 1024
READ_AHEAD: Final = 4  # frames
PARTING: Final = 1.0  # seconds

_frames: Decoder[list[Any]] = Decoder(list[Any], MAX_FRAME)


class NodeStopped(LocalError):
    """The node that a command was using is gone."""


class Pipe(Protocol):
    """Moves frames in order; one end of a connection."""

    async def write(self, frame: list[Any]) -> None:
        """Send, waiting for a slow reader. Raises NodeStopped when the other end is gone."""

    async def read(self) -> list[Any] | None:
        """The next frame, None when the other end is gone. Raises ProtocolError."""

    def close(self) -> None: ...


class SocketPipe:
    """Over a stream socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def write(self, frame: list[Any]) -> None:
        data = encode(frame)
        if len(data) > MAX_FRAME:
            raise InvalidPayload(f"{len(data)} bytes; a message carries at most {MAX_PAYLOAD}")
        try:
            self._writer.writelines((len(data).to_bytes(4), data))
            await self._writer.drain()
        except (OSError, RuntimeError):
            raise NodeStopped("the other end of the control socket is gone") from None

    async def read(self) -> list[Any] | None:
        try:
            size = int.from_bytes(await self._reader.readexactly(4))
            if size > MAX_FRAME:
                raise ProtocolError("too-long", f"a control frame of {size} bytes; at most {MAX_FRAME}")
            return _frames.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError):
            return None
        except mmplatform.errors.CodecError as error:
            raise ProtocolError("bad-packet", str(error)) from None

    def close(self) -> None:
        self._writer.close()


class MemoryPipe:
    """In one process; :meth:`pair` gives both ends. Values are handed over as they are."""

    def __init__(
        self, incoming: "asyncio.Queue[list[Any] | None]", outgoing: "asyncio.Queue[list[Any] | None]"
    ) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    @classmethod
    def pair(cls) -> tuple["MemoryPipe", "MemoryPipe"]:
        there: asyncio.Queue[list[Any] | None] = asyncio.Queue(READ_AHEAD)
        back: asyncio.Queue[list[Any] | None] = asyncio.Queue(READ_AHEAD)
        return cls(there, back), cls(back, there)

    async def write(self, frame: list[Any]) -> None:
        await self._outgoing.put(frame)

    async def read(self) -> list[Any] | None:
        return await self._incoming.get()

    def close(self) -> None:
        if self._outgoing.full():
            self._outgoing.get_nowait()
        self._outgoing.put_nowait(None)


class Channel:
    """The command's end of one operation. ``async for`` gives its items; ``result`` is what it ended with."""

    def __init__(self, pipe: Pipe, served_by: "asyncio.Task[None] | None" = None) -> None:
        self._pipe, self._served_by = pipe, served_by
        self.result: Any = None

    async def send(self, item: Any) -> None:
        await self._pipe.write(["item", item])

    def __aiter__(self) -> "Channel":
        return self

    async def __anext__(self) -> Any:
        frame = await self._pipe.read()
        if frame is None:
            raise NodeStopped("the node that this command was using has stopped; run the command again")
        if frame[0] == "item":
            return frame[1]
        if frame[0] == "error":
            raise _error(frame[1], frame[2])
        self.result = frame[1]
        raise StopAsyncIteration

    async def end(self) -> Any:
        """The result, past whatever items come before it."""
        async for _ in self:
            pass
        return self.result

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._served_by is not None:  # in this process: the other side should still read what was sent last
            await asyncio.wait([self._served_by], timeout=PARTING)

    def close(self) -> None:
        """Go away; the operation ends."""
        self._pipe.close()


class Served:
    """The node's end of one operation."""

    def __init__(self, pipe: Pipe) -> None:
        self.send_frame = pipe.write
        self.incoming: asyncio.Queue[Any] = asyncio.Queue(READ_AHEAD)

    async def send(self, item: Any) -> None:
        await self.send_frame(["item", item])

    async def receive(self) -> Any:
        """The next item. What is done with it up to the next await is done even when the command is gone."""
        item = await self.incoming.get()
        self.incoming.task_done()
        return item


Operation = Callable[..., Awaitable[Any]]


async def serve(pipe: Pipe, operations: Mapping[str, Operation], *first: Any) -> None:
    """Run the operation that the other end opens, as ``operation(*first, served, **arguments)``."""
    try:
        frame = await pipe.read()
        if frame is None:
            return
        try:
            await _run(pipe, operations, first, frame)
        except NodeStopped:
            return  # the command is gone: nobody is left to tell
        except Exception as error:
            await pipe.write(["error", *_told(error)])
    except (ProtocolError, NodeStopped):
        return
    finally:
        pipe.close()


async def _run(pipe: Pipe, operations: Mapping[str, Operation], first: tuple[Any, ...], frame: list[Any]) -> None:
    if len(frame) != 3 or frame[0] != "open" or frame[1] not in operations or not isinstance(frame[2], dict):
        raise ProtocolError("unknown-operation", "mm and the running node are of different versions; restart the node")
    served = Served(pipe)
    work = asyncio.ensure_future(operations[frame[1]](*first, served, **frame[2]))
    feeder = asyncio.ensure_future(_feed(pipe, served, work))
    try:
        await asyncio.wait([work])
        if work.cancelled():
            return
        await pipe.write(["end", work.result()])
    finally:
        for task in (work, feeder):
            task.cancel()
        await asyncio.gather(work, feeder, return_exceptions=True)


async def _feed(pipe: Pipe, served: Served, work: "asyncio.Future[Any]") -> None:
    """Hand on what the command sends; when it goes away, so does its operation."""
    with suppress(ProtocolError):
        while (frame := await pipe.read()) is not None:
            await served.incoming.put(frame[1] if len(frame) > 1 else None)
    await served.incoming.join()
    work.cancel()


def _told(error: Exception) -> tuple[str, str]:
    if isinstance(error, MMError):
        return type(error).__name__, str(error)
    if isinstance(error, TimeoutError):
        return "Unreachable", "no answer in time"
    if debugging():
        note_trace(error)
    return "LocalError", str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _error(kind: str, text: str) -> MMError:
    found = getattr(mmplatform.errors, kind, None)
    if isinstance(found, type) and issubclass(found, MMError):
        return found(text)
    return NodeStopped(text) if kind == "NodeStopped" else LocalError(text)
