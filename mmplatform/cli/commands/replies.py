"""What ``mm on`` replies to requests: a text, or what a program says to each of them."""

import asyncio
import os
import shlex
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Final

from mmplatform.cli.commands.forms import Message
from mmplatform.cli.output import to_json
from mmplatform.text import printable

MOST: Final = 200  # characters of what a program that failed is quoted with


class Replies(ABC):
    """Makes replies: {"value": ...}, or {"error": text} where there is none."""

    async def to(self, messages: list[Message]) -> list[dict[str, Any] | None]:
        """Reply to each message that is a request, one after the other; None for the others."""
        return [await self._reply(each) if each[4]["kind"] == "request" else None for each in messages]

    @abstractmethod
    async def _reply(self, message: Message) -> dict[str, Any]: ...


class Text(Replies):
    """The same text to everybody."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def _reply(self, message: Message) -> dict[str, Any]:
        return {"value": self._text}


class Program(Replies):
    """What a program writes to its stdout.

    It gets the payload on its stdin, as text or bytes where it is that, else as JSON, and MM_TOPIC, MM_SENDER and
    MM_NAME in its environment. When it fails, whoever asked is told its exit code.
    """

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)

    async def _reply(self, message: Message) -> dict[str, Any]:
        topic, sender, name, payload, _ = message
        around = {"MM_TOPIC": topic, "MM_SENDER": sender, "MM_NAME": name}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ | around
            )
        except OSError as error:
            return {"error": f"{self._words[0]}: {error.strerror or error}"}
        try:
            said = await _told(process, _as_input(payload))
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            return {"error": f"{printable(self._words[0])[:MOST]} ended with code {process.returncode}"}
        return {"value": said.decode(errors="replace").removesuffix("\n")}


async def _told(process: asyncio.subprocess.Process, payload: bytes) -> bytes:
    """Return what the program says when it is given ``payload``, whether it reads that or not, and wait for its end.

    Unlike communicate(), which raises RuntimeError on uvloop when the program ended before it was given anything.
    """
    given, said = process.stdin, process.stdout
    assert given is not None
    assert said is not None
    reading = asyncio.ensure_future(said.read())
    try:
        with suppress(OSError, RuntimeError):
            given.write(payload)
            await given.drain()
        given.close()
        text = await reading
    finally:
        reading.cancel()
    await process.wait()
    return text


def _as_input(payload: Any) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.encode() if isinstance(payload, str) else to_json(payload).encode()
