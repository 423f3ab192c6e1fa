"""The chat itself, whoever shows it: does what is typed, sends what is said, and follows its way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from mm_services.messenger.chat import files, payloads, typed
from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.conversations import Conversations
from mm_services.messenger.chat.files import IncomingFiles
from mm_services.messenger.chat.hearing import Hearing, Job
from mm_services.messenger.chat.lines import STATES
from mm_services.messenger.chat.payloads import MAX_TEXT, TOPIC
from mm_services.messenger.chat.people import ChatPeople
from mm_services.messenger.chat.talk import EVERYBODY, Talk, TalkSent
from mm_services.messenger.chat.view import ChatView
from mmplatform.cli.output import amount, counted, to_json
from mmplatform.errors import LocalError, MMError

MAX_LATER: Final = 100  # answers and the like that wait to be sent; what is typed always waits
PARTING: Final = 10.0  # seconds in which what was said goes to the messenger, when the chat ends

Payload = Callable[[], Awaitable[dict[str, Any]]]


class Chat:
    """Between the messenger and a view, from :meth:`open` to :meth:`close`.

    Args:
        talk: the messenger.
        people: who is known.
        conversations: what was said.
        incoming: where files of others go.
        view: who shows it.

    """

    def __init__(
        self, talk: Talk, people: ChatPeople, conversations: Conversations, incoming: IncomingFiles, view: ChatView
    ) -> None:
        self._talk, self.people, self.conversations, self._view = talk, people, conversations, view
        self.current = conversations.with_(())  # the conversation that what is typed goes into
        self._hearing = Hearing(talk, people, conversations, incoming, view, self.note, self._later)
        self.seen = self._hearing.seen
        self._lines: asyncio.Queue[Job] = asyncio.Queue()
        self._files: asyncio.Queue[Job] = asyncio.Queue()  # apart: a line need not wait for a large file
        self._workers: list[asyncio.Task[None]] = []
        self._unwatch: Callable[[], None] = lambda: None

    def open(self) -> None:
        """Take in messages from now on."""
        self._talk.on(TOPIC)(self._hearing.heard)
        self._unwatch = self._talk.watch(self._moved)
        for message_id in self.conversations.under_way():  # something may have come while no chat ran
            self._look_at(self._talk.sent(message_id))
        self._workers = [asyncio.create_task(self._work(lane), name="mm chat") for lane in (self._lines, self._files)]

    async def flush(self) -> None:
        """Wait until all that was said is with the messenger, on the disk."""
        await self._lines.join()
        await self._files.join()

    async def close(self) -> None:
        """Send what was said, and end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                await self.flush()
        self._unwatch()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def enter(self, line: str) -> None:
        """Do what somebody has typed: say it, or do what the command says. Raises MMError; then nothing was said."""
        command, rest = typed.parse(line)
        match command:
            case "":
                self.say(rest)
            case "/ping":
                self._lines.put_nowait(partial(self._hearing.ask, self.current))
            case "/share":
                self.share(Path(typed.path(rest)))
            case "/to":
                self.turn_to(self.conversations.with_(self.people.members(rest)))
            case "/history":
                self.current.cleared = 0
                self._view.history(rest)
            case "/clear":
                self.current.cleared = self.current.end
                self._view.changed()
            case "/debug":
                self._show(self._debug_lines())
            case "/help":
                self._show(typed.help_lines())
            case "/quit":
                self._view.quit()

    def turn_to(self, conversation: Conversation) -> None:
        """Have what is typed go into another conversation."""
        self.current = conversation
        self._view.changed()

    def say(self, text: str) -> None:
        """Say ``text`` in the current conversation. Raises LocalError, or StorageError."""
        if len(text) > MAX_TEXT:
            raise LocalError(f"{len(text):,} characters are too many for a line, at most {MAX_TEXT:,}: /share a file")
        if text.strip():
            self._put(self._lines, text, partial(_given, payloads.text(text)))

    def share(self, path: Path) -> None:
        """Send a file to the current conversation; a line says how far it is. Raises LocalError, or StorageError."""

        async def read() -> dict[str, Any]:
            return payloads.file(path.name, await asyncio.to_thread(files.read, path))

        self._put(self._files, f"[file] {path.name}, {amount(files.size(path))}", read)

    def note(self, text: str, where: Conversation | None = None) -> None:
        """Show a line of the chat itself; ``where`` else than in the current conversation."""
        self.conversations.note(where or self.current, text, time.time())
        self._view.noted(text)
        self._view.changed()

    def _put(self, lane: "asyncio.Queue[Job]", text: str, payload: Payload) -> None:
        """Show a line of ours, and have it sent behind those before it."""
        conversation = self.current
        if not conversation.members and conversation.key != EVERYBODY:
            raise LocalError("who is in this conversation is not known, and nothing can be sent; /to says to whom")
        number = self.conversations.say(conversation, text, time.time())
        lane.put_nowait(partial(self._send, conversation, number, payload))
        self._view.changed()

    def _later(self, job: Job) -> bool:
        if self._lines.qsize() >= MAX_LATER:
            return False
        self._lines.put_nowait(job)
        return True

    async def _work(self, lane: "asyncio.Queue[Job]") -> None:
        while True:
            job = await lane.get()
            try:
                await job()
            except Exception as error:
                self.note(f"{type(error).__name__}: {error} (a defect of mm chat)")
            finally:
                lane.task_done()

    async def _send(self, conversation: Conversation, number: int, payload: Payload) -> None:
        try:
            sent = await self._talk.send(TOPIC, conversation.members or EVERYBODY, await payload())
        except MMError as error:
            self.conversations.refused(conversation, number)
            self._view.moved(conversation, number)
            self.note(f"not sent: {error}", conversation)
            return
        self.conversations.sent(conversation, number, sent.id)
        self._view.moved(conversation, number)
        self._look_at(sent)

    def _look_at(self, sent: TalkSent | None) -> None:
        """See how far a message of ours is."""
        if sent is not None:
            for peer, state in (*sent.states.items(), ("", sent.state)):
                self._moved(sent.id, peer, state)

    def _moved(self, message_id: str, peer: str, state: str) -> None:
        line = self.conversations.moved(message_id, peer, STATES[state]) if state in STATES else None
        if line is not None:
            self._view.moved(*line)

    def _show(self, texts: list[str]) -> None:
        for text in texts:
            self.note(text)

    def _debug_lines(self) -> list[str]:
        near = [
            f"{self.people.name(neighbour.peer)}: {neighbour.state}, {neighbour.sent} sent, {neighbour.taken} taken,"
            f" {counted(neighbour.errors, 'errors')}"
            for neighbour in self._talk.neighbours()
        ]
        return [*near, *(f"{name}: {to_json(value)}" for name, value in self._talk.status().items())]


async def _given(payload: dict[str, Any]) -> dict[str, Any]:
    return payload
