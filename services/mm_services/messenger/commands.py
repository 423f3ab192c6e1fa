"""mm messenger: what is carried, with whom, and who may have what carried."""

from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli.command import OK, Failure, Group, Settings, execute, pass_settings
from mmplatform.cli.output import amount, emit, note, say, table
from mmplatform.errors import NoResponders

if TYPE_CHECKING:
    from mmplatform.cli.node.access import NodeHandle

PATIENCE: Final = 15.0  # seconds
SHORT: Final = 8  # digits of an id that people are shown
FOLDER: Final = "messenger"  # in the data folder


@click.group("messenger", cls=Group)
def messenger() -> None:
    """Carry messages for people who are never online together: store, carry, forward.

    \b
      mm run --service messenger --service mdns
      mm messenger allow everyone           # at a campfire
      mm messenger status
    """


@messenger.command("status")
@pass_settings
def show_status(settings: Settings) -> int:
    """Say how much is carried, and with whom this node talks.

    \b
      mm messenger status
    """
    from mm_services.messenger.asked import STATUS

    found = _ask(settings, STATUS, {})
    if settings.json:
        emit(found)
        return OK
    say(f"bundles    {found['bundles']} ({amount(found['bytes'])}), {found['underWay']} under way")
    say(f"remembered {found['remembered']} that are gone, {found['evicted']} had to give way")
    say(f"policy     {found['policy']}{'' if found['carries'] else ', for others nothing is kept'}")
    say(f"met        {found['met']}, neighbours {found['neighbours']}")
    if found["failed"]:
        say(f"failed     {found['failed']}: their handlers raise")
    rows = [
        (each["peer"], each["state"], str(each["sent"]), str(each["taken"]), str(each["errors"]))
        for each in found["talkedTo"]
    ]
    if rows:
        table(("neighbour", "state", "sent", "taken", "errors"), rows)
    return OK


@messenger.command("list")
@pass_settings
def list_bundles(settings: Settings) -> int:
    """List the bundles that are here, those that are over first coming first.

    \b
      mm messenger list
      mm messenger list --json | jq .sender
    """
    from mm_services.messenger.asked import LIST

    found = _ask(settings, LIST, {})
    if settings.json:
        for bundle in found:
            emit(bundle)
        return OK
    rows = [
        (
            each["id"][:SHORT], each["kind"], _from(each), ", ".join(each["recipients"]) or "everybody",
            amount(each["bytes"]), str(each["hops"]), _left(each),
        )
        for each in found
    ]  # fmt: skip
    table(("id", "kind", "sender", "for", "size", "hops", "left"), rows)
    return OK


@messenger.command("show")
@click.argument("identifier", metavar="ID")
@pass_settings
def show_bundle(settings: Settings, identifier: str) -> int:
    """Show one bundle: who wrote it, over whom it came, who has it.

    \b
      mm messenger show 3f2a90c1
    """
    from mm_services.messenger.asked import SHOW

    found = _ask(settings, SHOW, identifier)
    if found is None:
        raise _not_found(identifier)
    if settings.json:
        emit(found)
        return OK
    for name, text in (
        ("id", found["id"]), ("kind", found["kind"]), ("sender", found["sender"]),
        ("for", ", ".join(found["recipients"]) or "everybody"), ("size", amount(found["bytes"])),
        ("left", _left(found)), ("hops", f"{found['hops']} of {found['maxHops']}"),
        ("came over", ", ".join(found["carriers"]) or "nobody: it is ours"),
        ("received by", ", ".join(f"{peer} ({state})" for peer, state in found["receipts"].items()) or "nobody yet"),
    ):  # fmt: skip
        say(f"{name:<12} {text}")
    return OK


@messenger.command("drop")
@click.argument("identifier", metavar="ID")
@pass_settings
def drop_bundle(settings: Settings, identifier: str) -> int:
    """Delete a bundle, and take it no more. Carriers that have it keep it.

    \b
      mm messenger drop 3f2a90c1
    """
    from mm_services.messenger.asked import DROP

    if not _ask(settings, DROP, identifier):
        raise _not_found(identifier)
    emit({"dropped": identifier}) if settings.json else say("dropped")
    return OK


@messenger.command("allow")
@click.argument("who")
@click.option(
    "--rate", type=click.IntRange(min=1), metavar="N", default=None,
    help="So many bundles a minute, for each of them; no limit for friends, 60 for everyone if not told.",
)  # fmt: skip
@pass_settings
def allow_carrying(settings: Settings, who: str, rate: int | None) -> int:
    """Let WHO give us bundles and have ours, and carry what they write and what is for them.

    WHO is everyone, a list as @family, a name or a key. Without this friends and our own devices may. It counts at
    once, and stays; the rules are in messenger/rights.toml in the data folder.

    \b
      mm messenger allow everyone
      mm messenger allow @collectors --rate 600
    """
    from mm_services.messenger.protocol.rules import EVERYONE, STRANGERS_RATE
    from mm_services.messenger.rights_file import NAME, allow

    if rate is None and who == EVERYONE:
        rate = int(STRANGERS_RATE)
    folder = settings.data / FOLDER
    allow(folder, who, rate)
    said = f"{who} may, {'without a limit' if rate is None else f'{rate:g} bundles a minute each'}"
    emit({"allowed": who, "rate": rate}) if settings.json else say(f"{said}; see {folder / NAME}")
    return OK


def _ask(settings: Settings, topic: str, payload: Any) -> Any:
    """Ask the messenger of the node that runs on the folder."""
    from mmplatform.cli.node.access import node

    async def asked() -> Any:
        async with node(settings.data) as there:
            return await _answer(there, topic, payload)

    return execute(asked)


async def _answer(there: "NodeHandle", topic: str, payload: Any) -> Any:
    try:
        return await there.call("request", peer=None, topic=topic, payload=payload, timeout=PATIENCE)
    except NoResponders:
        note("start it with: mm run --service messenger --service mdns")
        raise Failure("no messenger runs on this data folder") from None


def _not_found(identifier: str) -> Failure:
    return Failure(f"no bundle, or more than one, has an id that begins with {identifier}; see mm messenger list")


def _from(bundle: dict[str, Any]) -> str:
    return "we" if bundle["own"] else str(bundle["sender"])


def _left(bundle: dict[str, Any]) -> str:
    """Return how long a bundle still lives, in the largest unit that it has one of."""
    import time

    left = max(0.0, bundle["expires"] - time.time())
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if left >= seconds:
            return f"{left / seconds:.0f} {unit}"
    return f"{left:.0f} s"
