"""mm outbox and delivery: what was sent and has not ended, why, how to take it back, and how a message ended."""

from typing import Any

import click

from mmplatform.cli import completing
from mmplatform.cli.command import OK, Command, Failure, Group, Settings, execute, pass_settings
from mmplatform.cli.commands.asking import ask_rows
from mmplatform.cli.node.access import rows
from mmplatform.cli.output import columns, counted, emit, lasting, note, say, table

SHOWN = 50


@click.group("outbox", cls=Group, invoke_without_command=True)
@click.option("--peer", shell_complete=completing.peers, help="Only what waits for this one.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Show so many at most; {SHOWN} without --json.")
@click.pass_context
def outbox(context: click.Context, peer: str | None, limit: int | None) -> int:
    """List what has not ended, oldest first for each peer, and why: what waits here, is on its way, or at a relay.

    What is received is on the disk of its peer until something there listens to it; here only its id is kept.

    \b
      mm outbox
      mm outbox --peer bob --json | jq -r .id
      mm outbox cancel 'ID'
    """
    if context.invoked_subcommand is not None:
        return OK
    settings = context.ensure_object(Settings)
    most = limit or (None if settings.json else SHOWN)

    async def show() -> tuple[int, int]:
        shown = 0
        async with rows(settings.data) as there, await there.open("waiting", peer=peer, limit=most) as channel:
            async for chunk in channel:  # a chunk at a time: there may be very many
                shown += len(chunk)
                _show(chunk, settings)
        return shown, channel.result

    shown, total = execute(show)
    if settings.json:
        return OK
    if not total:
        note("nothing waits")
    elif total > shown:
        note(f"and {total - shown:,} more; --limit {total} shows all, --json too")
    return OK


@click.command("delivery", cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@pass_settings
def delivery(settings: Settings, ids: tuple[str, ...]) -> int:
    """Tell how far the message ID is that was sent from here, or how it ended.

    waiting (on this disk), sent, relayed (on the disk of a relay), received (on the peer's), delivered, failed,
    expired, refused or cancelled; unknown for what was forgotten, or never sent from here.

    \b
      mm delivery "$(mm send bob chat hello --json | jq -r .id)"
    """

    async def ask() -> list[Any]:
        async with rows(settings.data) as there:
            return [await there.call("delivery", id=name) for name in ids]

    for found in execute(ask):
        if settings.json:
            emit(found)
        else:
            shown = f"{found['state']}: {found['reason']}" if found["reason"] else found["state"]
            columns(*([shown] if len(ids) == 1 else [found["id"], shown]))
    return OK


@outbox.command()
@click.argument("id", required=False)
@click.option("--peer", shell_complete=completing.peers, help="All that waits for this one.")
@click.option("--all", "everything", is_flag=True, help="All that waits for anybody.")
@pass_settings
def cancel(settings: Settings, id: str | None, peer: str | None, everything: bool) -> int:  # noqa: A002
    """Take back the message ID, or all that waits, unless it is on its way already.

    \b
      mm outbox cancel "$(mm outbox --json | head -1 | jq -r .id)"
      mm outbox cancel --peer bob
      mm outbox cancel --all
    """
    if (id is not None) + (peer is not None) + everything != 1:
        raise click.UsageError("give the ID of a message, --peer PEER or --all")
    if id is None:
        return _cancel_all(settings, peer)
    found = ask_rows(settings, "cancel", id=id)
    if not found["cancelled"]:
        states = {"sent": "it is on its way", "unknown": "there is no such message", "waiting": "it is on its way"}
        raise Failure(f"not cancelled: {states.get(found['state'], 'it is ' + found['state'])}")
    if settings.json:
        emit(found)
    else:
        say(f"cancelled {id}")
    return OK


def _cancel_all(settings: Settings, peer: str | None) -> int:
    found = ask_rows(settings, "cancel_all", peer=peer)
    if settings.json:
        emit(found)
        return OK
    say(f"cancelled {counted(found['cancelled'], 'messages')}")
    if found["left"]:
        note(f"not cancelled, as they are on their way: {counted(found['left'], 'messages')}")
    return OK


def _show(messages: list[dict[str, Any]], settings: Settings) -> None:
    if settings.json:
        for message in messages:
            emit(message)
    else:
        table(("ID", "PEER", "TOPIC", "BYTES", "EXPIRES IN", "STATE", "WHY"), map(_row, messages))


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    return (
        message["id"], message["name"] or message["peer"], message["topic"] or "-",
        "-" if message["size"] is None else str(message["size"]),
        lasting(left) if (left := message["expiresIn"]) > 0 else "past", message["state"], message["why"],
    )  # fmt: skip
