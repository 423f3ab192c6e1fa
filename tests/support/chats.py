"""Chats of one process, joined to each other: real platforms that dial nobody, and messengers that hand over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.lines import NOTE, ChatLine, LineState
from mm_services.messenger.chat.opening import begun
from mm_services.messenger.chat.options import ChatOptions
from mm_services.messenger.chat.view import ChatView
from mmplatform.identity.keys import SignId
from mmplatform.platform import Platform
from tests.support.talks import JoinedTalk


class NotingView:
    """A view that notes what it is told. ``failure``: what :meth:`first` raises."""

    def __init__(self) -> None:
        self.firsts: list[ChatLine] = []
        self.changes = 0
        self.moves: list[tuple[str, int, LineState]] = []
        self.notes: list[str] = []
        self.searched: list[str] = []
        self.left = False
        self.failure: Exception | None = None

    async def first(self, conversation: Conversation, line: ChatLine) -> None:
        if self.failure is not None:
            raise self.failure
        self.firsts.append(line)

    def changed(self) -> None:
        self.changes += 1

    def moved(self, conversation: Conversation, number: int) -> None:
        self.moves.append((conversation.key, number, conversation.state(number)))

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def history(self, text: str) -> None:
        self.searched.append(text)

    def quit(self) -> None:
        self.left = True


class Person:
    """One end: a platform, its messenger, and a folder. ``chatting`` begins a chat in it, as often as one likes."""

    def __init__(self, name: str, platform: Platform, talk: JoinedTalk, folder: Path) -> None:
        self.name, self.platform, self.talk, self.folder = name, platform, talk, folder
        self.key: SignId = platform.sign_id
        self.view = NotingView()

    @asynccontextmanager
    async def chatting(
        self, to: str = "", view: ChatView | None = None, keeps_history: bool = True
    ) -> AsyncIterator[Chat]:
        self.view = NotingView()
        options = ChatOptions(self.folder, to, keeps_history)
        async with begun(self.platform, self.talk, options, view or self.view) as chat:
            yield chat
        self.talk.forget_handlers()


@asynccontextmanager
async def people(folder: Path, *names: str) -> AsyncIterator[list[Person]]:
    """Give people who are friends of each other, by their names."""
    room: dict[SignId, JoinedTalk] = {}
    async with AsyncExitStack() as stack:
        made = []
        for name in names:
            platform = await stack.enter_async_context(Platform(transports=[], connection_info=()))
            (folder / name).mkdir(mode=0o700)
            made.append(Person(name, platform, JoinedTalk(platform.sign_id, room), folder / name))
        for one in made:
            for other in made:
                if other is not one:
                    await one.platform.add(other.key, name=other.name, circle="friends")
        yield made
        for one in made:
            await one.talk.settled()


def said(
    chat: Chat, talk: Conversation | None = None, wanted: Callable[[ChatLine], bool] = lambda line: True
) -> list[str]:
    """Return the texts of a conversation, else of the current one; of notes with "-- " before them."""
    talk = talk or chat.current
    lines = (chat.conversations.line(talk, number) for number in range(talk.first, talk.end))
    return [f"{'-- ' if line.by == NOTE else ''}{line.text}" for line in lines if line is not None and wanted(line)]


def states(talk: Conversation) -> list[LineState]:
    """Return how far each line of a conversation is."""
    return [talk.state(number) for number in range(talk.first, talk.end)]
