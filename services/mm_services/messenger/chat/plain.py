"""mm chat --plain: a line that is read is a message, and what others say is printed, for pipes and programs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from mm_services.messenger.chat import wording
from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.lines import OURS, ChatLine, LineState
from mm_services.messenger.chat.view import ChatView
from mmplatform.cli.output import note, to_json
from mmplatform.cli.stdio import Worker, read_lines, reader_gone, write_all
from mmplatform.cli.terminal import is_terminal
from mmplatform.errors import MMError
from mmplatform.text import printable

SHOWN: Final = 20  # lines that /history shows


class PlainChat:
    """A view of the chat that prints: :class:`~mm_services.messenger.chat.view.ChatView`.

    Args:
        as_json: one object a line, our own lines with their states, too.
        everything: whether what is said in other conversations is printed, too.

    """

    def __init__(self, as_json: bool, everything: bool) -> None:
        self._as_json, self._everything = as_json, everything
        self._printer = _Printer()
        self._left = asyncio.Event()
        self._chat: Chat | None = None
        self.refused = 0  # lines that could not be sent

    async def run(self, opening: Callable[[ChatView], AbstractAsyncContextManager[Chat]]) -> None:
        """Chat until there is nothing more to read, or nobody reads what is printed.

        What was read is with the messenger then, on the disk. Raises MMError for a line that cannot be said.
        """
        gone = asyncio.ensure_future(reader_gone(1))
        try:
            async with opening(self) as chat:
                self._chat = chat
                reading, leaving = asyncio.ensure_future(self._read(chat)), asyncio.ensure_future(self._left.wait())
                try:
                    await asyncio.wait((reading, leaving, gone), return_when=asyncio.FIRST_COMPLETED)
                    if reading.done():
                        reading.result()
                finally:
                    reading.cancel()
                    leaving.cancel()
        finally:
            gone.cancel()

    async def _read(self, chat: Chat) -> None:
        typed = is_terminal(0)  # what comes through a pipe is no command, whatever it begins with
        async for batch in _batches():
            for line in batch:
                try:
                    (chat.enter if typed else chat.say)(line)
                except MMError as error:
                    if not typed:
                        raise
                    note(f"mm: {error}")
            await chat.flush()

    # What the chat calls.

    async def first(self, conversation: Conversation, line: ChatLine) -> None:
        """Print a line, which counts as taken only then. Raises OSError."""
        if self._shows(conversation):
            await self._printer.put(self._text(conversation, line, LineState.HEARD))

    def changed(self) -> None:
        """Tell those whose lines were printed."""
        if self._chat is not None:
            for conversation in self._chat.conversations.by_key.values():
                if self._shows(conversation):
                    self._chat.seen(conversation)

    def moved(self, conversation: Conversation, number: int) -> None:
        """Tell programs how far a line of ours is."""
        state = conversation.state(number)
        self.refused += state == LineState.REFUSED
        line = self._chat.conversations.line(conversation, number) if self._chat is not None else None
        if self._as_json and line is not None:
            self._printer.put(self._text(conversation, line, state))

    def noted(self, text: str) -> None:
        """Say what the chat itself has to say on stderr, which is no result."""
        note(to_json({"note": text}) if self._as_json else f"-- {text}")

    def history(self, text: str) -> None:
        """Print the last lines, or those with ``text`` in them."""
        if self._chat is None:
            return
        talks, current = self._chat.conversations, self._chat.current
        found = [number for number in talks.search(current, text, current.end) if number is not None][:SHOWN]
        for number in reversed(found):
            if (line := talks.line(current, number)) is not None:
                self._printer.put(self._text(current, line, current.state(number)))

    def quit(self) -> None:
        """Leave."""
        self._left.set()

    # Helpers.

    def _shows(self, conversation: Conversation) -> bool:
        return self._everything or (self._chat is not None and conversation is self._chat.current)

    def _text(self, conversation: Conversation, line: ChatLine, state: LineState) -> str:
        assert self._chat is not None
        people = self._chat.people
        name = wording.ME if line.by == OURS else people.name(line.by)
        where = people.label(conversation)
        if self._as_json:
            return to_json(_object(line, name, where, state))
        text = "".join(text for text, _ in wording.parts(line, name, state))
        return f"[{printable(where)}] {text}" if self._everything else text


class _Printer:
    """Writes lines to stdout, in a thread: who reads there may be slow. Those that come meanwhile go together."""

    def __init__(self) -> None:
        self._worker = Worker("mm stdout")
        self._texts: list[str] = []
        self._written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing: asyncio.Task[None] | None = None

    def put(self, text: str) -> "asyncio.Future[None]":
        """Have a line written; what is returned ends when it is. It raises OSError."""
        self._texts.append(text)
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())
        return self._written

    async def _write(self) -> None:
        try:
            while self._texts:
                data = "".join(f"{text}\n" for text in self._texts).encode(errors="replace")
                written, self._written = self._written, asyncio.get_running_loop().create_future()
                self._texts.clear()
                try:
                    await self._worker.do(partial(write_all, 1, data))
                    written.set_result(None)
                except OSError as error:
                    written.set_exception(error)
                    written.exception()  # nobody need wait for it
        finally:
            self._writing = None


async def _batches() -> AsyncIterator[list[str]]:
    """Give the lines of stdin, as many as are there."""
    async for batch in read_lines(0):
        yield [line.decode(errors="replace").rstrip("\r\n") for line in batch]


def _object(line: ChatLine, name: str, where: str, state: LineState) -> dict[str, Any]:
    """Return a line as programs read it."""
    found: dict[str, Any] = {"in": where, "time": line.at, "name": name, "text": line.text}
    if line.by == OURS:
        return found | {"state": state.name.lower()}
    return found | {"from": line.by, "id": line.id, "hops": line.hops, "age": line.age, "file": line.file}
