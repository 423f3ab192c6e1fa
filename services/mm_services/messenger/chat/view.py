"""What the chat knows of who shows it: a window, or what prints line by line."""

from typing import Protocol

from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.lines import ChatLine


class ChatView(Protocol):
    """Who shows the chat."""

    async def first(self, conversation: Conversation, line: ChatLine) -> None:
        """Show a line of somebody else before it counts as taken, where nothing is to be lost on the way."""
        ...

    def changed(self) -> None:
        """There is something that was not shown yet."""
        ...

    def moved(self, conversation: Conversation, number: int) -> None:
        """A line of ours is further on its way."""
        ...

    def noted(self, text: str) -> None:
        """The chat itself has something to say; it is a line of a conversation, too."""
        ...

    def history(self, text: str) -> None:
        """Show what was said before, or where ``text`` was said last."""
        ...

    def quit(self) -> None:
        """Leave."""
        ...
