"""The group ``mm``: options that every command has, how a command is run, and how it fails."""

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from mmplatform.cli.output import debugging, say, to_json
from mmplatform.errors import MMError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
DEFAULT_FOLDER: Final = "~/.mm"
ORDER: Final = (
    "id", "add", "peers", "run", "send", "on", "request", "ping", "outbox", "doctor", "dht", "relay", "demo",
    "completion",
)  # fmt: skip


class Failure(click.ClickException):
    """A command did not do what it was asked to."""


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM."""


@dataclass
class Settings:
    """Where the node lives and how to answer."""

    data: Path = field(default_factory=lambda: Path(os.environ.get("MM_DATA") or DEFAULT_FOLDER).expanduser())
    json: bool = False


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _set_data(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Settings).data = value.expanduser()


def _set_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).json = True


def common_options() -> list[click.Parameter]:
    """Those that may stand before and behind the name of the command."""
    folder = click.Path(file_okay=False, path_type=Path)
    return [
        click.Option(
            ["--data"], type=folder, metavar="PATH", expose_value=False, callback=_set_data,
            help=f"The data folder of the node.  [env: MM_DATA; default: {DEFAULT_FOLDER}]",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON, one object a line."
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


class Command(click.Command):
    """One command of mm; its docstring's part behind a line with \\b is shown as it is written."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += common_options()


class Group(click.Group):
    """Commands in the order one needs them, each with the common options."""

    command_class = Command

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += common_options()

    def invoke(self, ctx: click.Context) -> Any:
        """A reader of our stdout that has gone is a clean end; click would call it a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _forget_stdout()
            return OK

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.commands, key=lambda name: (*ORDER, name).index(name))


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("mm-platform"), prog_name="mm")
def mm() -> None:
    """Dial a person or a bot by key, not by address: encrypted, durable, ordered messages between peers.

    A PEER is the name you gave it with mm add, or its signId. When a node runs on the data folder, commands use
    that one; else each starts one for as long as it runs.

    \b
      mm id --ticket                        what to give to a friend
      mm add TICKET --friend --name bob     what to do with the friend's
      mm on 'friends.>'                     in one terminal
      mm send bob chat hello                in another
    """


@mm.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes mm commands in a shell.

    \b
      mm completion bash > ~/.local/share/bash-completion/completions/mm
      mm completion zsh > ~/.zfunc/_mm       # with fpath+=~/.zfunc before compinit
      mm completion fish > ~/.config/fish/completions/mm.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    say(found(mm, {}, "mm", "_MM_COMPLETE").source())


def execute(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a command's coroutine; SIGINT and SIGTERM cancel it, a second one ends the process at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_interruptible(main))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _interruptible(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main())
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            os._exit(128 + signal.SIGINT)  # what was accepted is on disk
        interrupted = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    await asyncio.wait([task])
    if task.cancelled():
        raise Interrupted
    return task.result()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(arguments: list[str] | None = None) -> int:
    """Run ``mm`` and return its exit code; what goes wrong is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if debugging():
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
    else:
        logging.getLogger().addHandler(logging.NullHandler())
    _load_commands()
    try:
        result = mm.main(arguments, prog_name="mm", standalone_mode=False)
        sys.stdout.flush()
        return result if type(result) is int else OK
    except Interrupted:
        return FAILED
    except BrokenPipeError:
        _forget_stdout()
        return OK
    except Exception as error:
        if debugging():
            traceback.print_exc()
        code, text, kind = _explained(error)
        _complain(text, kind, "--json" in arguments)
        return code


def _load_commands() -> None:
    from mmplatform.cli.commands import contacts as people
    from mmplatform.cli.commands import demo, dht, doctor, messages, relay
    from mmplatform.cli.commands import on as listening
    from mmplatform.cli.commands import outbox as waiting
    from mmplatform.cli.commands import run as running

    for module in (people, running, messages, listening, waiting, doctor, dht, relay, demo):
        assert module.__name__ in sys.modules  # each adds its commands to mm when it is imported


def _explained(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return USAGE, error.format_message(), "UsageError"
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "mm"
        return USAGE, f"{error.format_message().rstrip('.')}; see {command} --help", "UsageError"
    if isinstance(error, click.ClickException):
        return FAILED, error.format_message(), "Failure"
    if isinstance(error, click.Abort):
        return FAILED, "interrupted", "Interrupted"
    if isinstance(error, MMError):
        return FAILED, str(error), type(error).__name__
    if isinstance(error, OSError):
        return FAILED, str(error), "OSError"
    if isinstance(error, ModuleNotFoundError):
        raise error
    return FAILED, f"{type(error).__name__}: {error} (a defect of mm; MM_DEBUG=1 shows where)", "Defect"


def _complain(text: str, kind: str, as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"error": text, "kind": kind}), err=True)
    elif kind == "UsageError" and "\n" in text:
        click.echo(text, err=True)
    else:
        click.echo(f"mm: {text}", err=True)


def _forget_stdout() -> None:
    """Whoever read our stdout is gone; Python would complain when it flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
