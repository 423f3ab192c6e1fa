"""mm chat: talk with people and circles over the messenger."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_services.messenger.chat.options import ChatOptions
from mmplatform.cli import completing, logs
from mmplatform.cli.command import (
    FAILED,
    OK,
    Command,
    Failure,
    Interrupted,
    Settings,
    execute,
    pass_settings,
    relay_option,
)
from mmplatform.cli.terminal import is_steered, is_terminal

if TYPE_CHECKING:
    from mm_services.messenger.chat.chat import Chat
    from mm_services.messenger.chat.view import ChatView


@click.command("chat", cls=Command)
@click.argument("peer", metavar="[PEER|@LIST]", required=False, default="", shell_complete=completing.peers)
@click.option("--plain", is_flag=True, help="No window: a line that is read is a message, what others say is printed.")
@click.option("--no-history", is_flag=True, help="Keep no line on disk, and show none that was kept.")
@click.option(
    "--incoming-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where files go that people share who are known here.  [default: incoming, in the data folder]",
)  # fmt: skip
@relay_option
@pass_settings
def chat(
    settings: Settings, peer: str, plain: bool, no_history: bool, incoming_dir: Path | None, relays: tuple[str, ...]
) -> int:
    """Talk with PEER, with a list or a circle, or with everybody, also while they are away.

    Messages are stored, carried and handed on by all who run a messenger: each line tells how far ours is (waiting,
    carried, received, read), and over how many hops and after what time others' came. /help lists what can be done.

    Without a terminal, with --json and with --plain there is no window. Then nothing that comes through a pipe is a
    command, and at its end everything that was read is on the disk; what waits is sent by the next mm chat, or by
    mm run --service messenger.

    \b
      mm chat
      mm chat bob
      mm chat @family --no-history
      mm chat bob --plain < notes.txt
      mm chat --json | jq .text
    """
    options = ChatOptions(settings.data, peer, not no_history, incoming_dir, relays)
    try:
        if plain or settings.json or not (is_terminal(0) and is_steered(1) and is_terminal(2)):
            return _line_by_line(settings, options)
        return _in_a_window(settings, options)
    except Interrupted as interrupted:
        return interrupted.ended


def _line_by_line(settings: Settings, options: ChatOptions) -> int:
    from mm_services.messenger.chat.opening import opened
    from mm_services.messenger.chat.plain import PlainChat

    async def run() -> int:
        view = PlainChat(settings.json, everything=not options.destination)
        await view.run(lambda shown_by: opened(options, shown_by))
        return FAILED if view.refused else OK

    return int(execute(run))


def _in_a_window(settings: Settings, options: ChatOptions) -> int:
    try:
        from mm_services.messenger.chat.window.app import ChatWindow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise Failure(
            "the window of mm chat needs textual, which is missing; install it with:"
            " pip install 'mm-platform[tui]', or do without: --plain"
        ) from None

    async def run() -> None:
        import asyncio
        from contextlib import AsyncExitStack
        from importlib import import_module

        async with AsyncExitStack() as stack:

            async def opening(view: "ChatView") -> "Chat":
                module = await asyncio.to_thread(import_module, "mm_services.messenger.chat.opening")  # takes a moment
                return await stack.enter_async_context(module.opened(options, view))

            window = ChatWindow(opening, lambda: logs.switch_on(settings.verbosity, settings.log_json))
            try:
                await window.run_async(mouse=False)  # the mouse marks text, as everywhere in a terminal
            finally:
                logs.switch_on(settings.verbosity, settings.log_json)  # to stderr as it was
            if window.failure is not None:
                raise window.failure
            if window.return_code:
                raise Failure("the window has failed; mm chat --plain does without")
        if window.interrupted:
            raise Interrupted(signal.SIGINT)

    _ask_for_passphrase(options.folder)
    execute(run)
    return OK


def _ask_for_passphrase(folder: Path) -> None:
    """Ask before there is a window, where the key of the node needs a passphrase; it is remembered."""
    from mmplatform.identity.keys import Identity, look_into
    from mmplatform.storage.folder import DataFolder

    path = DataFolder(folder).identity
    if path.exists() and look_into(path).keeper:
        Identity.load_or_create(path)
