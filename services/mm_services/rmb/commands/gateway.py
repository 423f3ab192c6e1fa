"""mm rmb-peer, and ``rmb-peer``: the gateway as a program, with the flags of ThreeFold's."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli.command import OK, Command, Interrupted, Settings, execute, pass_settings
from mmplatform.cli.output import news, note
from mmplatform.errors import LocalError, Unreachable

if TYPE_CHECKING:
    from mm_services.rmb.gateway.gateway import RmbGateway
    from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
    from mm_transports.rmb.protocol.twin import TwinInfo
    from mm_transports.rmb.twins.registry import TwinRegistry

REDIS: Final = "redis://localhost:6379"
AGAIN: Final = 5.0  # seconds until a registry that is away is asked again
SEEN: Final = (
    "everybody on this machine can see the secret in the list of processes; --secret-file, or MM_RMB_SECRET_FILE with "
    "the name of a file, keeps it"
)


@click.command("rmb-peer", cls=Command)
@click.option(
    "-k", "--key-type", type=click.Choice(["sr25519", "ed25519"]), default="sr25519", show_default=True,
    help="Of the account of the secret.",
)  # fmt: skip
@click.option(
    "-m", "--mnemonic", "--mnemonics", "--seed", "secret", metavar="W",
    help="Who we are: a phrase of 12 to 24 words, or 0x and the seed; others see it in the list of processes.",
)  # fmt: skip
@click.option(
    "--secret-file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", envvar="MM_RMB_SECRET_FILE",
    help="The same from a file; - reads stdin.  [env: MM_RMB_SECRET_FILE]",
)  # fmt: skip
@click.option(
    "-r", "--redis", default=REDIS, show_default=True, metavar="URL", help="Where the queues of programs are."
)
@click.option(
    "-s", "--substrate", multiple=True, metavar="URL", help="A node of the chain that knows twins; may be repeated."
)
@click.option("--twins", type=click.Path(path_type=Path), metavar="FILE", help="A file of twins (TOML), asked first.")
@click.option(
    "--relay", "relays", multiple=True, metavar="URL", help="A relay of ours; up to four. By default the twin's."
)
@click.option("--plain", is_flag=True, help="Also send and take payloads that are not encrypted.")
@click.option("-d", "--debug", is_flag=True, help="Say more on stderr; as mm --log-level debug.")
@click.option("-u", "--uploads", metavar="DIR", help="Taken for the sake of scripts, and not used.")
@click.option(
    "--no-update", is_flag=True, help="Taken for the sake of scripts: a twin is never changed by this program."
)
@pass_settings
def rmb_peer(
    settings: Settings, /, key_type: "KeyType", secret: str | None, secret_file: Path | None, redis: str,
    debug: bool, uploads: str | None, no_update: bool, **where: Any,
) -> int:  # fmt: skip
    """Let programs of any language speak to twins: JSON in queues of Redis, as with ThreeFold's rmb-peer.

    A program puts a request into msgbus.system.local and waits at the queue that it named; one that serves waits at
    msgbus.COMMAND and answers into msgbus.system.reply. Nothing is lost when this program or Redis is killed, as
    long as Redis keeps an append-only file. Ends with Ctrl-C.

    \b
      mm rmb-peer --secret-file secret --twins twins.toml --relay wss://relay.example
      mm rmb-peer --secret-file secret -s wss://tfchain.grid.tf:443 --relay wss://relay.grid.tf:443
    """
    del uploads, no_update
    keys = _keys(secret, secret_file, key_type)
    if debug:
        import logging

        logging.getLogger("mm_services.rmb.gateway").setLevel(logging.DEBUG)

    async def run() -> None:
        import asyncio

        async with _gateway(keys, redis, **where) as (gateway, twin, urls):
            facts = {"twin": twin.number, "redis": redis, "relays": urls}
            news(facts if settings.json else f"twin {twin.number} serves {redis} at {', '.join(urls)}; Ctrl-C stops it")
            await gateway.open()
            try:
                await asyncio.Event().wait()
            finally:
                await gateway.close()

    try:
        execute(run)
    except Interrupted as interrupted:
        return interrupted.ended
    return OK


def main() -> int:
    """Run ``rmb-peer``: the same as ``mm rmb-peer``."""
    from mmplatform.cli import mm

    sys.argv[1:1] = ["rmb-peer"]
    return mm()


def _keys(secret: str | None, secret_file: Path | None, key_type: "KeyType") -> "TwinKeys":
    from mm_services.rmb.commands.options import keys_of
    from mm_transports.rmb.protocol.keys import TwinKeys

    if (secret is None) == (secret_file is None):
        raise click.UsageError("say who we are: either --secret-file FILE, or --mnemonic WORDS")
    if secret_file is not None:
        return keys_of(secret_file, key_type)
    assert secret is not None
    note(SEEN)
    return TwinKeys.from_secret(secret, key_type)


@asynccontextmanager
async def _gateway(
    keys: "TwinKeys", redis: str, substrate: Sequence[str], twins: Path | None, relays: Sequence[str], plain: bool
) -> "AsyncIterator[tuple[RmbGateway, TwinInfo, list[str]]]":
    """Give the gateway of the twin with these keys, not begun; wait for a registry that is away."""
    from functools import partial

    from mm_services.rmb.gateway.gateway import RmbGateway
    from mm_services.rmb.gateway.redis_queues import RedisQueues
    from mm_transports.rmb.client.endpoint import TwinEndpoint
    from mm_transports.rmb.protocol.address import url_of
    from mmplatform.plugins.installed import version

    registry = _registry(substrate, twins)
    await registry.open()
    try:
        twin = await _found(registry, keys)
        urls = list(relays) or [url_of(name) for name in twin.relays]
        if not urls:
            raise LocalError("our twin names no relay; say which one: --relay wss://relay.example")
        made = partial(TwinEndpoint, keys, twin.number, registry=registry, relays=urls, plain=plain)
        queues = RedisQueues(redis, twin.number)
        try:
            gateway = RmbGateway(
                queues, lambda receive, told: made(receive=receive, told=told), version() or "unknown", note
            )
            yield gateway, twin, urls
        finally:
            await queues.close()
    finally:
        await registry.close()


def _registry(substrate: Sequence[str], twins: Path | None) -> "TwinRegistry":
    import time

    from mm_transports.rmb.twins.cached_registry import CachedRegistry
    from mm_transports.rmb.twins.chain_node import ChainNode
    from mm_transports.rmb.twins.chain_registry import ChainRegistry
    from mm_transports.rmb.twins.file_registry import FileRegistry
    from mm_transports.rmb.twins.several_registries import SeveralRegistries

    found: list[TwinRegistry] = []
    if twins is not None:
        found.append(FileRegistry(twins.expanduser(), note))
    if substrate:
        found.append(CachedRegistry(ChainRegistry(ChainNode(substrate, time.monotonic)), time.monotonic))
    if not found:
        raise click.UsageError("say which twins there are: --twins FILE, or -s URL of a chain")
    return SeveralRegistries(found)


async def _found(registry: "TwinRegistry", keys: "TwinKeys") -> "TwinInfo":
    """Return our twin; wait for a registry that is away. Raises LocalError when it says that there is none."""
    import asyncio

    said = False
    while True:
        try:
            twin = await registry.find(keys.account)
        except Unreachable as error:
            if not said:
                note(f"waiting for {registry.name}: {error}")
            said = True
            await asyncio.sleep(AGAIN)
            continue
        if twin is None:
            raise LocalError(f"{registry.name} has no twin with the account of this secret; see --key-type")
        return twin
