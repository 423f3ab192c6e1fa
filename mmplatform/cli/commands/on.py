"""mm on: prints messages, and confirms each only once its line is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from mmplatform.cli.command import OK, Command, Interrupted, Settings, execute, pass_settings, relay_option
from mmplatform.cli.commands import forms
from mmplatform.cli.commands.forms import Message
from mmplatform.cli.commands.replies import Program, Replies, Text
from mmplatform.cli.control import PARTING, Channel, NodeStopped
from mmplatform.cli.node.access import HANDOVER, LOOK_AGAIN, Remote, node
from mmplatform.cli.output import note
from mmplatform.cli.stdio import Worker, reader_gone, write_all
from mmplatform.cli.terminal import is_terminal
from mmplatform.program import freeze_loaded
from mmplatform.storage.folder import DataFolder


@click.command("on", cls=Command)
@click.argument("pattern")
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("--payload", "payload_only", is_flag=True, help="Print the payload only.")
@click.option("--reply", metavar="TEXT", help="Reply this to requests.")
@click.option("--exec", "command", metavar="CMD", help="Reply to a request what CMD writes; it reads the payload.")
@relay_option
@pass_settings
def listen(
    settings: Settings,
    pattern: str,
    count: int | None,
    payload_only: bool,
    reply: str | None,
    command: str | None,
    relays: tuple[str, ...],
) -> int:
    """Print messages whose scope.topic matches PATTERN (* is one segment, > the rest), one a line.

    What friends and devices sent before comes first (mm inbox). A message is confirmed to its sender once its line is
    written: what is not written when this command is killed comes again when it is started again.

    Whatever steers a terminal or breaks a line is shown escaped, as \\x1b, on a terminal and in a pipe; --json tells
    everything, with bytes that are no text as {"base64": ...}. Only --payload to a file or a pipe writes text as it
    was sent: what reads it there has to know what to do with it (cat -v shows it safely).

    Requests are answered with --reply or --exec only, and printed like messages then; else nobody listens to them, as
    far as whoever asks can tell.

    \b
      mm on 'friends.chat'
      mm on '*.>' --json | jq .payload
      mm on friends.lines --payload > received.txt
      mm on public.job --count 1
      mm on friends.time --exec date
    """
    from mmplatform.messaging.patterns import check_pattern

    check_pattern(pattern)
    printer = _Printer(forms.chosen(payload_only, settings.json), count, _replies(reply, command))
    try:
        execute(lambda: _listen(settings, pattern, printer, relays))
    except Interrupted as interrupted:
        return interrupted.ended if count is None else interrupted.code
    return OK


async def _listen(settings: Settings, pattern: str, printer: _Printer, relays: tuple[str, ...]) -> None:
    """Whichever node this command uses may stop: then it starts one itself, or finds the next."""
    printer.open()
    gone = asyncio.ensure_future(reader_gone(1))
    try:
        while not printer.done and not gone.done():
            yielded = False
            with suppress(NodeStopped):
                async with (
                    node(settings.data, expected=pattern, relays=relays) as there,
                    await there.open("listen", pattern=pattern, answers=printer.replies is not None) as channel,
                ):
                    freeze_loaded()
                    if is_terminal(2) and not settings.json:
                        note(f"listening to {pattern}; Ctrl-C ends it", once=True)
                    await _until_gone(channel, printer, gone, there.yielding)
                    yielded = there.yielding.is_set()
            if yielded:
                await _successor(settings)
    finally:
        gone.cancel()


async def _successor(settings: Settings) -> None:
    """mm run asked for the folder: let it have it."""
    until = time.monotonic() + HANDOVER
    there = Remote(DataFolder(settings.data).control)
    while time.monotonic() < until and not there.answers():  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(LOOK_AGAIN)


async def _until_gone(channel: Channel, printer: _Printer, gone: asyncio.Future[None], yielding: asyncio.Event) -> None:
    printing = asyncio.ensure_future(_print(channel, printer))
    asked = asyncio.ensure_future(yielding.wait())
    try:
        waiting: list[asyncio.Future[Any]] = [printing, gone, asked]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if printing.done():
            printing.result()
    finally:
        printing.cancel()
        asked.cancel()
        await asyncio.gather(printing, asked, return_exceptions=True)


async def _print(channel: Channel, printer: _Printer) -> None:
    """Ctrl-C between a line and its confirmation would print it again next time: that step is finished first."""
    async for batch in channel:
        if batch:
            step = asyncio.ensure_future(_print_one(channel, printer, batch))
            try:
                await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait([step], timeout=PARTING)
                raise
        if printer.done:
            return


async def _print_one(channel: Channel, printer: _Printer, batch: list[Message]) -> None:
    await channel.send(await printer.print(batch))


class _Printer:
    """Writes in a thread: whoever reads our stdout may be slow."""

    def __init__(self, form: Callable[[Message], str], count: int | None, replies: Replies | None) -> None:
        self._form, self._left, self.replies = form, count, replies
        self._worker: Worker | None = None

    def open(self) -> None:
        self._worker = Worker("mm stdout")

    @property
    def done(self) -> bool:
        return self._left == 0

    async def print(self, batch: list[Message]) -> tuple[int, list[dict[str, Any] | None]]:
        """How many of them are written, and what is replied to them. Raises BrokenPipeError."""
        assert self._worker is not None
        wanted = batch if self._left is None else batch[: self._left]
        data = "".join([f"{self._form(message)}\n" for message in wanted]).encode(errors="replace")
        await self._worker.do(lambda: write_all(1, data))
        if self._left is not None:
            self._left -= len(wanted)
        return len(wanted), await self.replies.to(wanted) if self.replies is not None else []


def _replies(text: str | None, command: str | None) -> Replies | None:
    if text is not None and command is not None:
        raise click.UsageError("--reply and --exec are two ways to reply; give one")
    if command is not None and not command.strip():
        raise click.BadParameter("no command", param_hint="--exec")
    return Program(command) if command is not None else Text(text) if text is not None else None
