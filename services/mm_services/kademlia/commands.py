"""mm dht: shows what the DHT knows, and publishes there. The service in the node does the work: see bridge.py."""

from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli.command import OK, SECONDS, Failure, Group, Settings, execute, pass_settings
from mmplatform.cli.output import counted, emit, note, payload_text, say, table
from mmplatform.errors import InvalidKey, NoResponders
from mmplatform.plugins import topics

if TYPE_CHECKING:
    from mmplatform.cli.node.access import NodeHandle

PATIENCE: Final = 15.0  # seconds
LASTS: Final = 3600.0


@click.group("dht", cls=Group, invoke_without_command=True)
@click.pass_context
def dht(context: click.Context) -> int:
    """Show the state of the DHT, by which nodes find each other across networks.

    \b
      mm run --service kademlia             in one terminal
      mm dht bootstrap kad://seed.example:4000
      mm dht
    """
    return OK if context.invoked_subcommand is not None else _state(context.ensure_object(Settings))


@dht.command("get")
@click.argument("key")
@pass_settings
def get_record(settings: Settings, key: str) -> int:
    """Look for KEY: a PEER (where is it?), PEER/NAME (a record it published), or NAME (one of ours).

    \b
      mm dht get bob
      mm dht get bob/status
    """
    found = execute(lambda: _ask(settings, topics.DIRECTORY_GET, key, named=True))
    if found is None:
        raise Failure(f"nobody in the DHT has {key}")
    if settings.json:
        emit({"key": key, **found})
    elif "nodeInfo" in found:
        for line in (found["value"], *(f"  {uri}" for uri in found["nodeInfo"]["connectionInfo"])):
            say(line)
    else:
        say(payload_text(found["value"]))
    return OK


@dht.command("put")
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--expire-after", type=SECONDS, default=LASTS, help=f"Seconds it outlives this node.  [default: {LASTS:.0f}]"
)
@click.option("--delete", is_flag=True, help="Publish it no more.")
@pass_settings
def put_record(settings: Settings, key: str, value: str | None, expire_after: float, delete: bool) -> int:
    """Publish VALUE under KEY, signed by us, as long as the node runs.

    \b
      mm dht put status busy
      mm dht put status --delete
    """
    if delete == (value is not None):
        raise click.UsageError("either a VALUE, or --delete")
    asked = {"key": key, "value": None if delete else value, "expireAfter": expire_after}
    stored = execute(lambda: _ask(settings, topics.DIRECTORY_PUT, asked))
    if settings.json:
        emit({"key": key, "stored": stored})
    elif delete:
        say("published no more; the copies end when they expire")
    else:
        say(f"on {counted(stored, 'nodes')}")
    return OK


@dht.command("bootstrap")
@click.argument("address")
@pass_settings
def bootstrap(settings: Settings, address: str) -> int:
    """Join the DHT through the node at ADDRESS, kad://host:port; its contacts are kept over restarts.

    \b
      mm dht bootstrap kad://seed.example:4000
    """
    contacts = execute(lambda: _ask(settings, topics.DIRECTORY_BOOTSTRAP, address))
    if not contacts:
        raise Failure(f"{address} does not answer; does a node with the DHT run there, and does UDP get through?")
    if settings.json:
        emit({"contacts": contacts})
    else:
        say(f"{counted(contacts, 'contacts')} known")
    return OK


def _state(settings: Settings) -> int:
    found = execute(lambda: _ask(settings, topics.DIRECTORY_STATE, None))
    if settings.json:
        emit(found)
        return OK
    table(
        ("", ""),
        [
            ("id", found["id"]),
            ("addresses", ", ".join(found["addresses"]) or "-"),
            ("contacts", str(found["contacts"])),
            ("reached by others", "yes" if found["server"] else "no, a client"),
            ("records kept for others", str(found["records"])),
            ("round trip", f"{found['roundTrip'] * 1000:.0f} ms" if found["roundTrip"] else "-"),
            *((f"published {name}", f"on {counted(stored, 'nodes')}") for name, stored in found["published"].items()),
        ],
    )
    if not found["contacts"]:
        note("nobody is known; mm dht bootstrap kad://HOST:PORT names a first node, a ticket does as well")
    return OK


async def _ask(settings: Settings, topic: str, payload: Any, *, named: bool = False) -> Any:
    """Ask the DHT in the node; ``named``: the payload is a key, in front of which the name of a peer may stand."""
    from mmplatform.cli.node.access import node  # not for mm --help

    async with node(settings.data) as there:
        try:
            if topic != topics.DIRECTORY_STATE:  # without a DHT, others listen to keys, and what they answer is none
                await there.call("request", peer=None, topic=topics.DIRECTORY_STATE, payload=None, timeout=PATIENCE)
            asked = await _with_sign_id(there, payload) if named else payload
            return await there.call("request", peer=None, topic=topic, payload=asked, timeout=PATIENCE)
        except NoResponders:
            raise Failure("this node runs no DHT; start it with: mm run --service kademlia") from None


async def _with_sign_id(there: "NodeHandle", key: str) -> str:
    name, slash, rest = key.partition("/")
    try:
        return f"{await there.call('resolve', peer=name)}{slash}{rest}"
    except InvalidKey:
        return key  # a signId with a slash in it, or a name of our own record
