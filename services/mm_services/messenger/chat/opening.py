"""Opens the chat of a data folder: a node of its own, with the messenger, as mm run has one; and its history."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from mm_services.messenger.chat.chat import Chat
from mm_services.messenger.chat.conversations import Conversations
from mm_services.messenger.chat.files import IncomingFiles
from mm_services.messenger.chat.history import HistoryFile
from mm_services.messenger.chat.options import ChatOptions
from mm_services.messenger.chat.people import ChatPeople
from mm_services.messenger.chat.talk import Talk
from mm_services.messenger.chat.view import ChatView
from mm_services.messenger.service import NAME, Messenger
from mmplatform.cli.node.access import taken
from mmplatform.cli.node.host import Host
from mmplatform.errors import FolderInUse
from mmplatform.platform import Platform
from mmplatform.program import freeze_loaded

HISTORY: Final = "chat.jsonl"
INCOMING: Final = "incoming"


@asynccontextmanager
async def opened(options: ChatOptions, view: ChatView) -> AsyncIterator[Chat]:
    """Give the chat of a data folder, while the block runs.

    Args:
        options: which one, and how.
        view: who shows it.

    Raises FolderInUse, or what else keeps a node from starting; InvalidKey or LocalError for the destination.

    """

    def made() -> Host:
        return Host(options.folder, relays=options.relays, services=(), also=(NAME,), purpose="run")

    try:
        async with taken(options.folder, made) as host:
            messenger = host.platform.service(Messenger)
            async with begun(host.platform, messenger, options, view) as chat:
                freeze_loaded()
                yield chat
    except FolderInUse as error:
        error.add_note("mm chat runs a node of its own: stop mm run first, or chat in another folder (--data)")
        raise


@asynccontextmanager
async def begun(platform: Platform, talk: Talk, options: ChatOptions, view: ChatView) -> AsyncIterator[Chat]:
    """Give the chat over a messenger that runs, while the block runs; see :func:`opened`."""
    history = HistoryFile(options.folder / HISTORY) if options.keeps_history else None
    conversations, people = Conversations(history), ChatPeople(platform)
    incoming = IncomingFiles(options.incoming or options.folder / INCOMING)
    try:
        if history is not None:
            history.open()
            await asyncio.to_thread(conversations.load)
        chat = Chat(talk, people, conversations, incoming, view)
        chat.current = conversations.with_(people.members(options.destination))
        chat.open()
        try:
            yield chat
        finally:
            await chat.close()
    finally:
        if history is not None:
            history.close()
