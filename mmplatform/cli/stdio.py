"""stdin and stdout as an event loop needs them: reads and writes may take for ever, and must not hold up the node."""

import asyncio
import json
import os
import select
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import click

from mmplatform.errors import InvalidPayload
from mmplatform.message import MAX_PAYLOAD

T = TypeVar("T")

CHUNK: Final = 64 * 1024


class Worker:
    """A daemon thread that does one thing after the other: a process can end while it is stuck in a read."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, job: Callable[[], T]) -> T:
        """The result of ``job``, run in the thread."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    def _run(self) -> None:
        while True:
            job, future = self._jobs.get()
            try:
                result, error = job(), None
            except BaseException as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, future, result, error)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, also to a pipe that takes a part, or that was left non-blocking by another process."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def read_some(descriptor: int) -> bytes:
    """What is there, b"" at the end."""
    while True:
        try:
            return os.read(descriptor, CHUNK)
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()


async def read_lines(descriptor: int) -> AsyncIterator[list[bytes]]:
    """Lines with their ends, as many at a time as are there; the last one may have no end."""
    worker = Worker("mm stdin")
    rest: list[bytes] = []
    size = 0
    while chunk := await worker.do(lambda: read_some(descriptor)):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest.append(chunk)
            size += len(chunk)
            if size > MAX_PAYLOAD:
                raise InvalidPayload(f"a line of more than {MAX_PAYLOAD} bytes; a message carries no more")
            continue
        whole = b"".join((*rest, chunk[:cut]))
        rest, size = [chunk[cut:]], len(chunk) - cut
        yield [line + b"\n" for line in whole[:-1].split(b"\n")]
    if last := b"".join(rest):
        yield [last]


async def read_all(descriptor: int) -> bytes:
    """Everything up to the end. Raises InvalidPayload beyond what a message carries."""
    worker = Worker("mm stdin")
    parts: list[bytes] = []
    size = 0
    while chunk := await worker.do(lambda: read_some(descriptor)):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_PAYLOAD:
            raise InvalidPayload(f"more than {MAX_PAYLOAD} bytes; send it in parts, or a line a message with --lines")
    return b"".join(parts)


async def reader_gone(descriptor: int) -> None:
    """Returns when nobody reads the pipe ``descriptor`` any longer; never for anything else."""
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        await asyncio.Event().wait()
    poll = select.poll()
    poll.register(descriptor, select.POLLERR)
    await Worker("mm stdout").do(poll.poll)


def decoded(data: bytes, as_json: bool, what: str = "the payload") -> Any:
    """The value that ``data`` stands for; raises UsageError."""
    if as_json:
        try:
            return json.loads(data)
        except ValueError as error:
            raise click.UsageError(f"{what} is not JSON: {error}") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
