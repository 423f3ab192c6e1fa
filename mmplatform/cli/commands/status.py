"""mm status: one screen about the node of a folder."""

import time
from collections.abc import Iterator
from typing import Any

import click

from mmplatform.cli.command import OK, Command, Settings, pass_settings
from mmplatform.cli.commands.asking import ask_rows
from mmplatform.cli.output import amount, counted, emit, fields, lasting


@click.command("status", cls=Command)
@pass_settings
def status(settings: Settings) -> int:
    """Say on one screen who this node is, whether it runs, where it is reached and what waits.

    A stopped node is looked at in its folder: no port is opened, and nobody is dialled.

    \b
      mm status
      mm status --json | jq .outbox
    """
    found = ask_rows(settings, "status")
    if settings.json:
        emit(found)
    else:
        fields(_lines(found))
    return OK


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "node", found["signId"]
    yield "folder", found["folder"]
    yield "runs", _runs(found)
    if found["running"]:
        yield "listens", ", ".join(found["listening"]) or "nowhere"
    for address, trouble in found["relays"].items():
        yield "relay", f"{address}: {trouble or 'up'}"
    for name, trouble in found["services"].items():
        yield "service", f"{name}: {trouble or 'up'}"
    yield "peers", _peers(found)
    yield "outbox", f"{counted(found['outbox'], 'messages')} not ended" if found["outbox"] else "empty"
    failed = f", {counted(found['failed'], 'messages')} failed (mm inbox --failed)" if found["failed"] else ""
    waits = f"{counted(found['inbox'], 'messages')} kept until something listens" if found["inbox"] else "empty"
    yield "inbox", waits + failed
    yield "disk", f"{amount(found['used'])} used, {amount(found['free'])} free"
    yield "version", found["version"]


def _runs(found: dict[str, Any]) -> str:
    if not found["running"]:
        return "no; mm run starts it"
    return f"as mm {found['purpose']}, process {found['pid']}, for {lasting(time.time() - found['since'])}"


def _peers(found: dict[str, Any]) -> str:
    names = ", ".join(peer["name"] or peer["signId"] for peer in found["connected"])
    asking = f"; {found['asking']} asking to be friends (mm peers --asking)" if found["asking"] else ""
    linked = f"{len(found['connected'])} connected" + (f": {names}" if names else "")
    return f"{found['known']} known, {linked}{asking}" if found["running"] else f"{found['known']} known{asking}"
