"""mm doctor: what is wrong, and what to do about it."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import click

import mmplatform
from mmplatform.cli import completing
from mmplatform.cli.command import FAILED, OK, Command, Settings, execute, pass_settings, relay_option
from mmplatform.cli.node.access import NodeHandle, Remote
from mmplatform.cli.output import counted, emit, say, styled
from mmplatform.errors import FolderInUse, MMError
from mmplatform.plugins.check import Check, CheckState, unchecked
from mmplatform.storage.folder import DataFolder

COLOURS: Final = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.FAULT: "red",
    CheckState.UNCHECKED: "bright_black",
}
UNSTARTED: Final = "the rest"
MANUAL: Final = Path(mmplatform.__file__).parent / "diagnosis" / "when-it-does-not-work.rst"  # installed with the code


@click.command("doctor", cls=Command)
@click.argument("peer", required=False, shell_complete=completing.peers)
@click.option("--listen", multiple=True, metavar="URI", help="Where a node would listen, when none runs; as of mm run.")
@relay_option
@click.option("--service", "services", multiple=True, metavar="NAME", help="What would run beside it; as of mm run.")
@click.option(
    "--stun",
    "servers",
    multiple=True,
    metavar="URL",
    help="Try UDP with this server, stun:HOST[:PORT].",
)
@pass_settings
def doctor(
    settings: Settings,
    peer: str | None,
    listen: tuple[str, ...],
    relays: tuple[str, ...],
    services: tuple[str, ...],
    servers: tuple[str, ...],
) -> int:
    """Say what is wrong with the node here, or with the way to a PEER, and what to do about it.

    Each line is ok, a warning, a fault, or was not checked. The running node is examined; when none runs, one that is
    started for that moment. Exits with 1 when there is a fault.

    \b
      mm doctor
      mm doctor bob
      mm doctor --stun stun:stun.example.org
      mm doctor --json | jq -r 'select(.state == "fault").word'
    """
    from mmplatform.diagnosis import causes

    for url in servers:
        _check_url(url)
    found = causes.sorted_out(execute(lambda: _examined(settings, peer, listen, relays, services, servers)))
    for check in found:
        if settings.json:
            emit(check._asdict())
        else:
            _show(check)
    worst = causes.worst(found)
    if not settings.json:
        _sum_up(found)
    return FAILED if worst is CheckState.FAULT else OK


async def _examined(
    settings: Settings,
    peer: str | None,
    listen: Sequence[str],
    relays: Sequence[str],
    services: Sequence[str],
    servers: Sequence[str],
) -> list[Check]:
    from mmplatform.cli.node.host import Host
    from mmplatform.diagnosis import causes, folder

    there = Remote(DataFolder(settings.data).control)
    if there.answers():
        return await _asked(there, peer, servers)
    found = await folder.without_node(settings.data)
    if causes.worst(found) is CheckState.FAULT:
        return [*found, unchecked(UNSTARTED, "no node can start on this folder")]
    async with AsyncExitStack() as stack:
        try:
            own = await stack.enter_async_context(Host(settings.data, listen=listen, relays=relays, services=services))
        except FolderInUse:
            if there.answers():  # it has just started
                return await _asked(there, peer, servers)
            raise
        except MMError as error:
            return [*found, folder.explained(error), unchecked(UNSTARTED, "the node does not start")]
        asked = await _asked(own, peer, servers)
        told = {check.subject for check in asked}  # the node says the same of its folder, and more
        return [check for check in found if check.subject not in told] + asked


async def _asked(node: NodeHandle, peer: str | None, servers: Sequence[str]) -> list[Check]:
    rows = await node.call("diagnose", peer=peer, servers=list(servers))
    return [Check(subject, CheckState(state), word, text, remedy) for subject, state, word, text, remedy in rows]


def _show(check: Check) -> None:
    mark = styled(f"{check.state:11}", fg=COLOURS[check.state])
    word = f" [{check.word}]" if check.word else ""
    say(f" {check.subject}: {check.text}{word}", mark=mark)
    if check.remedy:
        say(f"{'':11} -> {check.remedy}")


def _sum_up(found: Sequence[Check]) -> None:
    faults = sum(check.state is CheckState.FAULT for check in found)
    warnings = sum(check.state is CheckState.WARNING for check in found)
    if faults or warnings:
        say(f"{counted(faults, 'faults')}, {counted(warnings, 'warnings')}; more about each word in brackets: {MANUAL}")
    else:
        say("nothing is wrong that can be seen from here")


def _check_url(url: str) -> None:
    from mmplatform.links import stun

    try:
        stun.parse_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--stun") from None
