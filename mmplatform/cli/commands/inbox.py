"""mm inbox: what came and nobody here has listened to yet, and what handlers failed at."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from mmplatform.cli import completing
from mmplatform.cli.command import FAILED, OK, Failure, Group, Settings, execute, pass_settings
from mmplatform.cli.commands import forms
from mmplatform.cli.commands.asking import ask_rows
from mmplatform.cli.commands.forms import Form
from mmplatform.cli.node.access import rows
from mmplatform.cli.output import amount, counted, emit, lasting, note, say, show, table, to_json
from mmplatform.cli.terminal import is_terminal

SHOWN: Final = 50
HEADINGS: Final = ("ID", "SENDER", "TOPIC", "AGE", "SIZE", "ERROR")

payload_option = click.option("--payload", "payload_only", is_flag=True, help="Print the payload only.")
ids_argument = click.argument("ids", nargs=-1, required=True, metavar="ID...")


def _list_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of the list, which is also what ``mm inbox`` does by itself."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), help=f"Show so many at most; {SHOWN} on a terminal."),
        click.option(
            "--from", "sender", metavar="PEER", shell_complete=completing.peers, help="Only what came from this one."
        ),
        click.option("--failed", is_flag=True, help="What handlers failed at, instead of what waits for one."),
    ):
        command = option(command)
    return command


@click.group("inbox", cls=Group, invoke_without_command=True)
@_list_options
@click.pass_context
def inbox(context: click.Context, failed: bool, sender: str | None, limit: int | None) -> int:
    """List what friends and devices sent and nobody here has listened to yet, the oldest first within each topic.

    It is kept on disk until something listens to it (mm on, or a program), or it expires.

    \b
      mm inbox
      mm inbox --failed --from bob
      mm inbox show ID
      mm inbox drop $(mm inbox --failed --json | jq -r .id)
    """
    if context.invoked_subcommand is None:
        return int(execute(lambda: _list(context.ensure_object(Settings), failed, sender, limit)))
    if failed or sender is not None or limit is not None:
        raise click.UsageError("--failed, --from and --limit go with the list: mm inbox list --failed")
    return OK


@inbox.command("list")
@_list_options
@pass_settings
def list_them(settings: Settings, failed: bool, sender: str | None, limit: int | None) -> int:
    """List what is kept, as mm inbox does by itself.

    \b
      mm inbox list --failed
      mm inbox list --json | jq -r .topic | sort | uniq -c
    """
    return int(execute(lambda: _list(settings, failed, sender, limit)))


@inbox.command("show")
@click.argument("id")
@payload_option
@pass_settings
def show_one(settings: Settings, id: str, payload_only: bool) -> int:  # noqa: A002 - the word in the usage line
    """Print the message ID as mm on does; it stays where it is.

    \b
      mm inbox show ID
      mm inbox show ID --json | jq .payload
    """
    kept = ask_rows(settings, "kept", id=id)
    show(_printed(kept, forms.chosen(payload_only, False), settings.json and not payload_only))
    return OK


@inbox.command()
@ids_argument
@payload_option
@pass_settings
def take(settings: Settings, ids: tuple[str, ...], payload_only: bool) -> int:
    """Print messages as mm on does, and take them out: their senders are told "delivered".

    \b
      mm inbox take ID
    """
    form = forms.chosen(payload_only, False)
    return int(execute(lambda: _take(settings, ids, form, settings.json and not payload_only)))


@inbox.command()
@ids_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_settings
def drop(settings: Settings, ids: tuple[str, ...], yes: bool) -> int:
    """Throw messages away unread: their senders are told "refused", those of failed ones nothing more.

    \b
      mm inbox drop ID
      mm inbox drop --yes $(mm inbox --failed --json | jq -r .id)
    """
    if not yes and not _agreed(f"throw {counted(len(ids), 'messages')} away?"):
        raise Failure("nothing dropped; --yes drops without a question")
    return _change(settings, "drop", ids, "dropped")


@inbox.command()
@ids_argument
@pass_settings
def retry(settings: Settings, ids: tuple[str, ...]) -> int:
    """Give failed messages to their handlers again; their senders have been told "failed", and hear nothing more.

    \b
      mm inbox retry $(mm inbox --failed --json | jq -r .id)
    """
    return _change(settings, "retry", ids, "to be handled again:")


async def _list(settings: Settings, failed: bool, sender: str | None, limit: int | None) -> int:
    """Print what comes as it comes: there may be a hundred thousand."""
    most = limit or (SHOWN if is_terminal(1) and not settings.json else None)
    shown = 0
    async with (
        rows(settings.data) as there,
        await there.open("inbox", sender=sender, failed=failed, limit=most) as channel,
    ):
        async for chunk in channel:
            shown += len(chunk)
            if settings.json:
                for message in chunk:
                    emit(message)
            else:
                table(HEADINGS, map(_row, chunk))
    waiting, gone_wrong = channel.result
    if not settings.json:
        _sum_up(failed, shown, waiting, gone_wrong)
    return OK


def _sum_up(failed: bool, shown: int, waiting: int, gone_wrong: int) -> None:
    total = gone_wrong if failed else waiting
    if not total:
        note("nothing has failed" if failed else "nothing waits for a handler")
    elif total > shown:
        note(f"and {total - shown:,} more; --limit {total} shows all, --json too")
    if gone_wrong and not failed:
        note(f"handlers failed at {counted(gone_wrong, 'messages')}: mm inbox --failed")


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    return (
        message["id"], message["name"] or message["sender"], message["topic"],
        lasting(message["age"]), amount(message["size"]), message["error"],
    )  # fmt: skip


async def _take(settings: Settings, ids: Sequence[str], form: Form, as_json: bool) -> int:
    """A message is taken out once it is printed: what is not written when this is killed is still there."""
    async with rows(settings.data) as there, await there.open("take", ids=list(ids)) as channel:
        async for message in channel:
            show(_printed(message, form, as_json))
            await channel.send(True)
    return _complain(channel.result)


def _change(settings: Settings, operation: str, ids: Sequence[str], done: str) -> int:
    missing = ask_rows(settings, operation, ids=list(ids))
    changed = len(ids) - len(missing)
    if settings.json:
        emit({operation: changed})
    elif changed:
        say(f"{done} {counted(changed, 'messages')}")
    return _complain(missing)


def _complain(missing: Sequence[str]) -> int:
    for text in missing:
        note(text)
    return FAILED if missing else OK


def _printed(message: dict[str, Any], form: Form, as_json: bool) -> str:
    if as_json:
        return to_json(message)
    return form((message["topic"], message["sender"], message["name"], message["payload"], {}))


def _agreed(question: str) -> bool:
    """Ask a person; a script that has not said --yes means no."""
    return is_terminal(0) and click.confirm(question, err=True)
