"""What every command is made of: the common options and settings, exit codes, and running a coroutine until Ctrl-C.

Every answer to a shell that completes a line begins with an import of this file: it needs click, and nothing of a node.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli import logs
from mmplatform.errors import InvalidName

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
DEFAULT_FOLDER: Final = "~/.mm"
MOST_SECONDS: Final = 1e9  # some thirty years
NARROW: Final = 60  # columns of a terminal at which options and what is said of them have lines of their own
NARROW_NAMES: Final = 12

_ends: list[Callable[[], object]] = []  # of what would outlive the process


class Failure(click.ClickException):
    """A command did not do what it was asked to."""


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM.

    ``code`` is the exit code of a command that is not done then, ``ended`` that of one that runs until it is ended:
    only whoever sends SIGTERM, as systemd, takes that for the usual end.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number
        self.ended = OK if number == signal.SIGTERM else self.code


@dataclass
class Settings:
    """Where the node lives and how to answer. ``folder`` is what --data says."""

    folder: Path | None = None
    json: bool = False
    verbosity: int = 0  # how often -v was given
    log_json: bool = False

    @property
    def data(self) -> Path:
        """The data folder. Raises UsageError when none is named and there is no home."""
        if self.folder is not None:
            return self.folder
        named = os.environ.get("MM_DATA")
        return _expanded(named or DEFAULT_FOLDER)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


class _Folder(click.Path):
    """A folder that may be missing; "" is not the working directory."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        if not value:
            self.fail("it is empty; name a folder, or leave the option out", parameter, context)
        return Path(super().convert(_expanded(value), parameter, context))  # type: ignore[arg-type]


class _Seconds(click.ParamType):  # type: ignore[type-arg]
    """More than none, and no more than a clock can bear: "nan" and "inf" are numbers to Python, too."""

    name = "seconds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < MOST_SECONDS:
            self.fail(f"{value!r} is no number of seconds above 0 and below 1e9", parameter, context)
        return seconds


SECONDS: Final = _Seconds()


def _expanded(folder: str | Path) -> Path:
    """Raises UsageError where ~ stands for nothing."""
    try:
        found = Path(folder).expanduser()
    except RuntimeError:
        raise click.UsageError(
            f"no home folder is known for {folder}; name another one: --data PATH, or MM_DATA"
        ) from None
    if str(folder).startswith("~") and not os.environ.get("HOME", "/home"):
        raise click.UsageError(
            f"HOME is empty, so {folder} is nowhere; set it, or name a folder: --data PATH, or MM_DATA"
        )
    return found


def _set_data(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Settings).folder = value


def _set_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).json = True


def _set_verbosity(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        settings = context.ensure_object(Settings)
        settings.verbosity += value
        logs.switch_on(settings.verbosity, settings.log_json)


def _set_log_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        settings = context.ensure_object(Settings)
        settings.log_json = True
        logs.switch_on(settings.verbosity, settings.log_json)


def common_options() -> list[click.Parameter]:
    """Those that may stand before and behind the name of the command."""
    return [
        click.Option(
            ["--data"], type=_Folder(), metavar="PATH", expose_value=False, callback=_set_data,
            help=f"The data folder of the node.  [env: MM_DATA; default: {DEFAULT_FOLDER}]",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON, one object a line."
        ),
        click.Option(
            ["-v"], count=True, expose_value=False, callback=_set_verbosity,
            help="Log to stderr what happens to links, mail and relays; -vv: every frame, too.",
        ),
        click.Option(
            ["--log-json"], is_flag=True, expose_value=False, callback=_set_log_json,
            help="Log in JSON, one object a line.",
        ),
    ]  # fmt: skip


relay_option = click.option(
    "--relay", "relays", multiple=True, metavar="ADDRESS",
    help="Be reached through this relay, and have mail kept there; may be repeated. The folder remembers them; none"
    " forgets.  [env: MM_RELAYS]",
)  # fmt: skip

stun_option = click.option(
    "--stun", multiple=True, metavar="URL",
    help="Ask this server where we are seen at, for direct links through NATs: stun:HOST[:PORT]. Remembered as relays"
    " are.  [env: MM_STUN]",
)  # fmt: skip
turn_option = click.option(
    "--turn", multiple=True, metavar="URL[,USER,PASSWORD]",
    help="Have links carried by this server where no direct one can be made: turn:HOST[:PORT]. Remembered as relays"
    " are.  [env: MM_TURN]",
)  # fmt: skip


proxy_option = click.option(
    "--proxy", multiple=True, metavar="URL",
    help="Go to relays through this proxy, or none; by default what https_proxy, all_proxy and no_proxy say:"
    " http://[USER:PASSWORD@]HOST:PORT, or socks5://. The folder remembers it; default forgets.  [env: MM_PROXY]",
)  # fmt: skip


class _Formatter(click.HelpFormatter):
    """Help as wide as the terminal, also where that is narrow; click's own is never narrower than 50."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, col_max if self.width > NARROW else NARROW_NAMES, col_spacing)


class _Context(click.Context):
    def make_formatter(self) -> click.HelpFormatter:
        across = min(shutil.get_terminal_size().columns, self.max_content_width or 80)
        return _Formatter(width=max(across - 2, NARROW_NAMES + 10))


class Command(click.Command):
    """One command of mm; its docstring's part behind a line with \\b is shown as it is written."""

    context_class = _Context

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += common_options()


class Group(click.Group):
    """Commands in the order one needs them, each with the common options."""

    command_class = Command
    context_class = _Context

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += common_options()


def named(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """Return a name that a peer can have, or "", for options and arguments. Raises BadParameter."""
    from mmplatform.identity.names import check_name

    try:
        if name:
            check_name(name)
    except InvalidName as error:
        raise click.BadParameter(str(error)) from None
    return name


@contextmanager
def interruptible() -> Iterator[None]:
    """Where no loop runs: SIGINT and SIGTERM raise Interrupted while the block runs, so that it cleans up."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_at_once(end: Callable[[], object]) -> Iterator[None]:
    """Call ``end`` when a second signal ends the process while the block runs: of what would outlive it."""
    _ends.append(end)
    try:
        yield
    finally:
        _ends.remove(end)


def execute(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a command's coroutine; SIGINT and SIGTERM cancel it, a second one ends the process at once."""
    import asyncio

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_interruptible(main))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _interruptible(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    import asyncio

    loop = asyncio.get_running_loop()
    task = loop.create_task(main())
    heard: list[int] = []

    def interrupt(number: int) -> None:
        if heard:
            for end in reversed(_ends):
                end()
            os._exit(128 + number)  # what was accepted is on disk
        heard.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    await asyncio.wait([task])
    if task.cancelled():
        raise Interrupted(heard[0] if heard else signal.SIGINT)
    return task.result()


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    return factory
