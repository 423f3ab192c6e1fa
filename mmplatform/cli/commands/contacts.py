"""mm id, add, accept and peers: who we are and whom we know."""

import sys
import time
from typing import Any

import click

from mmplatform.cli import completing, passphrases
from mmplatform.cli.command import OK, Command, Failure, Settings, execute, named, pass_settings
from mmplatform.cli.commands.asking import ask_node, ask_rows
from mmplatform.cli.node.access import node, rows
from mmplatform.cli.output import amount, emit, lasting, note, say, show, table


@click.command("id", cls=Command)
@click.option("--ticket", is_flag=True, help="Print the ticket: address and where we listen, to be given to a peer.")
@click.option("--qr", is_flag=True, help="Show the ticket as a QR code.")
@click.option(
    "--encrypt", "change", flag_value="encrypt", help="Encrypt the key with a passphrase, or with another one."
)
@click.option("--keyring", "change", flag_value="keyring", help="Encrypt it with one that the system's keyring keeps.")
@click.option("--decrypt", "change", flag_value="decrypt", help="Keep the key in the folder as it is.")
@pass_settings
def identity(settings: Settings, ticket: bool, qr: bool, change: str | None) -> int:
    """Print our address, the signId.

    A ticket says where the node listens, or listened last. The first one of a folder starts a node for a moment, which
    chooses the ports that will be used from then on; nothing else here opens a port.

    An encrypted key is opened when a node starts: mm asks for the passphrase, or takes it from the file that
    MM_PASSPHRASE_FILE names. Whoever forgets it has lost the key.

    \b
      mm id
      mm id --ticket | ssh bob mm add - --friend --name alice
      mm id --qr
      mm id --encrypt
    """
    if change is not None:
        if ticket or qr:
            raise click.UsageError(f"--{change} goes with no other option")
        return _change_key(settings, change)
    found, relays = execute(lambda: _who_we_are(settings, ticket or qr))
    if settings.json:
        emit(found | {"relays": relays})
        return OK
    if not ticket and not qr:
        _tell(relays)
    if qr:
        _show_qr(found["ticket"])
    else:
        say(found["ticket"] if ticket else found["signId"])
    return OK


@click.command("add", cls=Command)
@click.argument("ticket", shell_complete=completing.peers)
@click.option("--friend", "circle", flag_value="friends", help="Its messages arrive as friends.TOPIC.")
@click.option("--device", "circle", flag_value="devices", help="It is another device of yours: self.TOPIC.")
@click.option("--name", default="", callback=named, help="What to call it here.")
@pass_settings
def add(settings: Settings, ticket: str, circle: str | None, name: str) -> int:
    """Know a peer by its TICKET, signId or name here; - reads it from stdin.

    Without --friend or --device its messages arrive as public.TOPIC.

    \b
      mm add mm1ca5mfjq... --friend --name bob
      mm add bob --device
    """
    if ticket == "-":
        ticket = sys.stdin.read().strip()
    found = ask_node(settings, "add", ticket=ticket, name=name, circle=circle)
    if settings.json:
        emit(found)
        return OK
    say(f"{_called(found)} is known; its messages arrive as {found['scope']}.TOPIC")
    if not found["known"]:
        note("where it listens is not known: it has to be found by mm run, or reach this node first, or add its ticket")
    return OK


@click.command("accept", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.option("--decline", is_flag=True, help="No: what it sends to friends is refused from now on.")
@click.option("--name", default="", callback=named, help="What to call it here.")
@pass_settings
def accept(settings: Settings, peer: str, decline: bool, name: str) -> int:
    """Make a friend of PEER, who has added us as one: mm peers --asking lists them.

    What it has sent meanwhile is still with it, and comes as friends.TOPIC from now on.

    \b
      mm peers --asking
      mm accept PxuYwJ2...= --name carol
      mm accept --decline PxuYwJ2...=
    """
    if decline and name:
        raise click.UsageError("--decline gives nobody a name")
    if decline:
        return _decline(settings, peer)
    found = ask_node(settings, "accept", peer=peer, name=name)
    if settings.json:
        emit(found)
    else:
        say(f"{_called(found)} is a friend; its messages arrive as {found['scope']}.TOPIC")
    return OK


@click.command("peers", cls=Command)
@click.option("--asking", is_flag=True, help="List who asks to be a friend instead.")
@pass_settings
def peers(settings: Settings, asking: bool) -> int:
    """List whom we know, how each was found, and whether there is a link.

    \b
      mm peers
      mm peers --json | jq -r 'select(.connected).name'
      mm peers --asking
    """
    if asking:
        return _list_asking(settings)
    found, relays = execute(lambda: _whom_we_know(settings))
    for peer in found if settings.json else ():
        emit(peer)
    if not settings.json:
        if not found:
            note("nobody yet; mm add TICKET makes a peer known, mm id --ticket prints our own ticket")
        table(("NAME", "SIGNID", "SCOPE", "FOUND BY", "LINK", "NOTE"), map(_row, found))
        _tell(relays)
    return OK


def _change_key(settings: Settings, change: str) -> int:
    made = (
        passphrases.decrypt(settings.data)
        if change == "decrypt"
        else passphrases.encrypt(settings.data, keyring=change == "keyring")
    )
    if settings.json:
        emit({"signId": made.sign_id, "encrypted": made.keeper or None})
        return OK
    how = {"": "is not encrypted", "passphrase": "is encrypted", "keyring": "is encrypted, for this user's keyring"}
    say(f"the key of {made.sign_id} {how[made.keeper]}")
    if made.keeper:
        note("copies of the folder from before have it as it was; remove them")
    return OK


def _decline(settings: Settings, peer: str) -> int:
    if not ask_rows(settings, "decline", peer=peer):
        raise Failure(f"{peer} does not ask to be a friend; mm peers --asking lists who does")
    if settings.json:
        emit({"peer": peer, "declined": True})
    else:
        say(f"declined {peer}")
    return OK


def _list_asking(settings: Settings) -> int:
    found = ask_rows(settings, "asking")
    for peer in found if settings.json else ():
        emit(peer)
    if not settings.json:
        if not found:
            note("nobody asks to be a friend")
        table(
            ("NAME", "SIGNID", "SINCE"),
            ((peer["name"] or "-", peer["signId"], f"{lasting(time.time() - peer['since'])} ago") for peer in found),
        )
    return OK


def _called(found: dict[str, Any]) -> str:
    return f"{found['name']} ({found['signId']})" if found["name"] else str(found["signId"])


async def _who_we_are(settings: Settings, ticket: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """A folder on which no node has listened yet is the exception that starts one: a ticket says where it will be."""
    async with rows(settings.data, makes=True) as there:
        found = await there.call("identity", ticket=ticket or settings.json)
        relays = await there.call("relays")
    if ticket and not found["ticket"]:
        async with node(settings.data) as there:
            found = await there.call("identity")
    return found, relays


async def _whom_we_know(settings: Settings) -> tuple[list[dict[str, Any]], dict[str, str]]:
    async with rows(settings.data) as there:
        return await there.call("peers"), await there.call("relays")


def _tell(relays: dict[str, str]) -> None:
    for address, trouble in relays.items():
        note(f"{address}: {trouble or 'up'}")


def _row(peer: dict[str, Any]) -> tuple[str, ...]:
    link = _link(peer["links"][0]) if peer["connected"] else "-"
    notes = ["blocked"] if peer["blocked"] else []
    notes += ["messages wait for it"] if peer["waiting"] else []
    if not peer["connected"] and peer["reason"]:
        notes.append(peer["reason"])
    notes += [f"{other['state']}: {_link(other)}" for other in peer["links"][1:]]
    notes += [f"not {address}: {why}" for address, why in peer["troubles"].items() if peer["connected"]]
    return peer["name"] or "-", peer["signId"], peer["scope"], peer["foundBy"] or "-", link, "; ".join(notes)


def _link(link: dict[str, Any]) -> str:
    rtt = f" {link['rtt'] * 1000:.1f} ms" if link["rtt"] else ""
    return f"{link['address']}{rtt}, {amount(link['bytesIn'])} in, {amount(link['bytesOut'])} out"


def _show_qr(text: str) -> None:
    try:
        import segno
    except ModuleNotFoundError:
        raise Failure("QR codes need segno; install it with: pip install 'mm-platform[cli]'") from None
    import io

    shown = io.StringIO()
    segno.make(text.upper(), error="l").terminal(shown, compact=True)
    show(shown.getvalue().rstrip("\n"))
