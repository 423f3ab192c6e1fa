"""The group ``mm``: its commands in the order one needs them, those of plugins behind, and how a command fails."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from mmplatform.cli import logs, passphrases, plugin_commands
from mmplatform.cli.command import FAILED, OK, USAGE, Group, Interrupted
from mmplatform.cli.command_table import commands
from mmplatform.cli.output import debugging, emit, note, note_trace, say
from mmplatform.errors import FolderNotOurs, MMError
from mmplatform.plugins.installed import version


class MainGroup(Group):
    """The core's commands in the order they were added, then those of plugins; each is imported when it is named."""

    def invoke(self, ctx: click.Context) -> Any:
        """A reader of our stdout that has gone is a clean end; click would call it a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _forget_stdout()
            return OK

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *(name for name in plugin_commands.names() if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a plugin, whose help nobody else has, but not for a shell, which waits for the user."""
        return super().get_command(ctx, cmd_name) or plugin_commands.find(cmd_name, ctx.resilient_parsing)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say which commands of plugins stand back, because mm has one of that name itself."""
        super().format_epilog(ctx, formatter)
        for name in plugin_commands.names():
            if name in self.commands:
                formatter.write_paragraph()
                formatter.write_text(plugin_commands.taken(name))


def _say_version(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        say(f"mm, version {version()}")
        ctx.exit()


@click.group(cls=MainGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_say_version,
    help="Show the version and exit.",
)  # fmt: skip
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


for _command in commands():
    mm.add_command(_command)


def run(arguments: list[str] | None = None) -> int:
    """Run ``mm`` and return its exit code; what goes wrong is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logs.switch_on(0, as_json=False)
    try:
        with passphrases.asked_for():
            result = mm.main(arguments, prog_name="mm", standalone_mode=False)
        sys.stdout.flush()
        return result if type(result) is int else OK
    except Interrupted as interrupted:
        return interrupted.code
    except click.Abort:  # Ctrl-C before a command began
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _forget_stdout()
        return OK
    except OSError as error:
        if error.errno != errno.EBADF:
            return _failed(error, "--json" in arguments)
        _forget_stdout()
        note("mm: stdin or stdout is closed, and is needed; give it /dev/null to do without")
        return FAILED
    except Exception as error:
        return _failed(error, "--json" in arguments)
    finally:
        logs.switch_off()


def _failed(error: Exception, as_json: bool) -> int:
    """Say what went wrong, and return the exit code."""
    if debugging():
        note_trace(error)
    code, text, kind = _explained(error)
    _complain([text, *getattr(error, "__notes__", ())], kind, as_json)
    return code


def _explained(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return USAGE, error.format_message(), "UsageError"
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "mm"
        told = " ".join(error.format_message().rstrip(".").split())  # click lists choices a line each
        return USAGE, f"{told}; see {command} --help", "UsageError"
    if isinstance(error, click.ClickException):
        return FAILED, error.format_message(), "Failure"
    if isinstance(error, FolderNotOurs):
        return USAGE, str(error), type(error).__name__
    if isinstance(error, MMError):
        return FAILED, str(error), type(error).__name__
    if isinstance(error, OSError):
        told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return FAILED, told, "OSError"
    if isinstance(error, ModuleNotFoundError):
        raise error
    return FAILED, f"{type(error).__name__}: {error} (a defect of mm; MM_DEBUG=1 shows where)", "Defect"


def _complain(texts: Sequence[str], kind: str, as_json: bool) -> None:
    """Each of ``texts`` is a line, whatever it holds; but the help of mm itself has many."""
    if as_json:
        emit({"error": "\n".join(texts), "kind": kind}, err=True)
        return
    first, *others = texts
    if kind == "UsageError" and "\n" in first:
        others = first.splitlines() + others
    else:
        note(f"mm: {first}")
    for line in others:
        note(line)


def _forget_stdout() -> None:
    """Whoever read our stdout is gone; Python would complain when it flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
