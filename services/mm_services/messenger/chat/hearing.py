"""Takes in what others say: lines, files, questions who is there, and the answers to ours."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from mm_services.messenger.chat import files, payloads
from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.conversations import Conversations
from mm_services.messenger.chat.files import IncomingFiles
from mm_services.messenger.chat.lines import ChatLine
from mm_services.messenger.chat.payloads import TOPIC, ChatFile, ChatPing, ChatPong, ChatText
from mm_services.messenger.chat.people import ChatPeople
from mm_services.messenger.chat.pings import Pings
from mm_services.messenger.chat.talk import EVERYBODY, Talk, TalkReceived
from mm_services.messenger.chat.view import ChatView
from mmplatform.cli.output import amount, counted
from mmplatform.errors import LocalError, MMError
from mmplatform.identity.keys import SignId
from mmplatform.text import escaped

PING_LIFESPAN: Final = 60.0  # seconds
MAX_UNSEEN: Final = 1000  # messages, the latest, whose senders are told once they are on the screen

Job = Callable[[], Awaitable[None]]


class Hearing:
    """The handler of the chat's messages.

    Args:
        talk: the messenger.
        people: who is known.
        conversations: what was said.
        incoming: where files of others go.
        view: who shows it.
        note: shows a text of the chat itself, in a conversation or in the current one.
        later: has something sent, behind what waits; says whether there was room.

    """

    def __init__(
        self,
        talk: Talk,
        people: ChatPeople,
        conversations: Conversations,
        incoming: IncomingFiles,
        view: ChatView,
        note: Callable[[str, Conversation | None], None],
        later: Callable[[Job], bool],
    ) -> None:
        self._talk, self._people, self._conversations, self._incoming = talk, people, conversations, incoming
        self._view, self._note, self._later = view, note, later
        self._pings = Pings[Conversation]()
        self._unseen: OrderedDict[str, tuple[Conversation, TalkReceived]] = OrderedDict()  # by the id of the message

    async def heard(self, topic: str, sender: SignId, payload: Any, bundle: TalkReceived) -> None:
        """Take in a message; it comes again when this raises, or is cut off by a kill."""
        if sender == self._people.own or self._people.blocked(sender) or self._conversations.has(bundle.id):
            return
        match payloads.parse(payload):
            case ChatText() as text:
                shown = f"{text.text}... ({text.cut:,} characters)" if text.cut else text.text
                await self._hear(bundle, shown, followed=not text.cut and len(payload) == 1)  # it is held: a small one
            case ChatFile() as file:
                await self._take(bundle, file)
            case ChatPing() as ping if self._pings.may_answer(sender, time.monotonic()):
                self._later(partial(self._answer, sender, payloads.pong(ping, len(bundle.hops))))
            case ChatPong() as pong:
                self._answered(sender, pong, len(bundle.hops))

    def seen(self, conversation: Conversation) -> None:
        """Say that all of a conversation was shown: those who wrote to us are told."""
        if conversation.unread:
            self._conversations.seen(conversation)
        read = [received for where, received in self._unseen.values() if where is conversation]
        for received in read:
            del self._unseen[received.id]
        if read:
            self._later(partial(_tell_read, read))

    async def ask(self, conversation: Conversation) -> None:
        """Ask who is there; each answer is noted in the conversation."""
        token = secrets.token_hex(8)
        self._pings.ask(token, conversation, time.monotonic())
        to = conversation.members or EVERYBODY
        try:
            await self._talk.send(TOPIC, to, payloads.ping(token), lifespan=PING_LIFESPAN)
        except MMError as error:
            self._note(f"not sent: {error}", conversation)
        else:
            self._note(f"{self._people.label(conversation)} is asked who is there", conversation)

    async def _hear(self, bundle: TalkReceived, text: str, file: str = "", *, followed: bool = False) -> None:
        now = time.time()
        known = self._people.known(bundle.sender)
        conversation = self._conversations.of_message(self._people.own, bundle.sender, bundle.recipients, known)
        age = max(now - bundle.created, 0.0)
        line = ChatLine(bundle.created, bundle.sender, text, bundle.id, len(bundle.hops), age, file)
        await self._view.first(conversation, line)
        self._conversations.hear(conversation, line, now)
        self._view.changed()
        await self._conversations.saved()
        if followed and bundle.recipients:
            self._unseen[bundle.id] = conversation, bundle
            if len(self._unseen) > MAX_UNSEEN:
                self._unseen.popitem(last=False)
            self._view.changed()

    async def _take(self, bundle: TalkReceived, file: ChatFile) -> None:
        shown = f"{files.safe_name(file.name)}, {amount(len(file.data))}"
        if not self._people.known(bundle.sender):
            await self._hear(bundle, f"{shown}: not taken, as its sender is not known here (mm add)")
            return
        try:
            path = await asyncio.to_thread(self._incoming.save, file.name, file.data, bundle.id)
        except (LocalError, OSError) as error:
            self._note(f"{shown} of {self._people.name(bundle.sender)} is not saved yet: {escaped(error)}", None)
            raise
        await self._hear(bundle, shown, str(path))

    async def _answer(self, peer: SignId, pong: dict[str, Any]) -> None:
        with suppress(MMError):  # who asks is told nothing then, and asks again
            await self._talk.send(TOPIC, [peer], pong, lifespan=PING_LIFESPAN)

    def _answered(self, peer: SignId, pong: ChatPong, hops: int) -> None:
        found = self._pings.answered(pong.token, peer, time.monotonic())
        if found is not None:
            where, seconds = found
            there, back = counted(pong.hops, "hops"), counted(hops, "hops")
            self._note(f"{self._people.name(peer)} is there: {seconds:.3f} s, {there} there, {back} back", where)


async def _tell_read(read: list[TalkReceived]) -> None:
    for received in read:
        with suppress(MMError):  # its sender knows no more then than that it was received
            await received.read()
