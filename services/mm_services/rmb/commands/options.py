"""What the commands of ``mm rmb`` have in common: who we are, where twins are found, which relays we use."""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mmplatform.cli.command import Settings
from mmplatform.cli.completing import peers
from mmplatform.cli.output import note
from mmplatform.errors import LocalError, Unreachable

if TYPE_CHECKING:
    from mm_services.rmb.asked_directory import AskedDirectory
    from mm_services.rmb.twin import Twin
    from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
    from mm_transports.rmb.twins.registry import TwinRegistry
    from mmplatform.cli.node.access import NodeHandle

PATIENCE: Final = 10.0  # seconds for a directory
HERE: Final = "local"  # the directory of the node that runs on the data folder
FILE: Final = "twins.toml"  # in the data folder
LONGEST_SECRET: Final = 4096  # characters

F = TypeVar("F", bound=Callable[..., Any])

file_option = click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE",
    help=f"The file of twins (TOML).  [default: {FILE} in the data folder]",
)  # fmt: skip
directory_option = click.option(
    "--directory", "directories", multiple=True, metavar="PEER", shell_complete=peers,
    help=f"The directory at this peer, or {HERE}: that of our own node; may be repeated.",
)  # fmt: skip
key_type_option = click.option(
    "--key-type", type=click.Choice(["sr25519", "ed25519"]), default="sr25519", help="Of the account of that secret.",
)  # fmt: skip
_OPTIONS: Final = (
    click.option(
        "--secret-file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", required=True,
        envvar="MM_RMB_SECRET_FILE",
        help="Who we are: a phrase of 12 to 24 words, or 0x and the seed; - reads stdin.  [env: MM_RMB_SECRET_FILE]",
    ),
    key_type_option,
    click.option(
        "--twin", "number", type=click.IntRange(1, 2**32 - 1), metavar="NUMBER",
        help="Our number; by default the one that the account of the secret has.",
    ),
    click.option(
        "--relay", "relays", multiple=True, metavar="URL",
        help="A relay of ours, as wss://relay.example; up to four. By default those that our twin names.",
    ),
    click.option("--plain", is_flag=True, help="Also send and take payloads that are not encrypted."),
    file_option,
    directory_option,
)  # fmt: skip


def twin_options(function: F) -> F:
    """Give a command the options that say which twin we are; it hands them to :func:`our_twin`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def twins_file(settings: Settings, file: Path | None) -> Path:
    """Return the file of twins."""
    return file.expanduser() if file is not None else settings.data / FILE


def keys_of(file: Path, key_type: "KeyType") -> "TwinKeys":
    """Return the keys of the secret in a file. Raises InvalidKey, OSError."""
    from mm_transports.rmb.protocol.keys import TwinKeys

    if str(file) == "-":
        return TwinKeys.from_secret(sys.stdin.read(LONGEST_SECRET), key_type)
    with file.expanduser().open(encoding="utf-8", errors="replace") as source:
        return TwinKeys.from_secret(source.read(LONGEST_SECRET), key_type)


def source_of(there: "NodeHandle", peer: str) -> "AskedDirectory":
    """Return the directory at ``peer``, asked by way of the node ``there``."""
    from mm_services.rmb.asked_directory import AskedDirectory

    asked = None if peer == HERE else peer

    async def ask(topic: str, payload: Any) -> Any:
        return await there.call("request", peer=asked, topic=topic, payload=payload, timeout=PATIENCE)

    return AskedDirectory("this node" if asked is None else peer, ask)


@asynccontextmanager
async def our_twin(
    settings: Settings, *, secret_file: Path, key_type: "KeyType", number: int | None, relays: Sequence[str],
    plain: bool, file: Path | None, directories: Sequence[str], session: str | None = None, at_once: int | None = None,
) -> "AsyncIterator[Twin]":  # fmt: skip
    """Give the twin that we are, not started yet. ``session``: None for the one that others address."""
    from mm_services.rmb.twin import AT_ONCE, Twin
    from mm_transports.rmb.protocol.address import url_of

    keys = keys_of(secret_file, key_type)
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(_registry(settings, file, directories))
        try:
            ours = await registry.find(number if number is not None else keys.account)
        except Unreachable:
            ours = None
        if ours is None and number is None:
            raise LocalError(f"{registry.name} has no twin with the account of this secret; mm rmb twin add adds it")
        if ours is not None and ours.account != keys.account:
            raise LocalError(f"twin {ours.number} has another account; see --secret-file, --key-type and --twin")
        named = [url_of(name) for name in ours.relays] if ours is not None else []
        if not (relays or named):
            raise LocalError("our twin names no relay; say which one: --relay wss://relay.example")
        yield Twin(
            keys, number or (ours.number if ours is not None else 0), registry=registry, relays=relays or named,
            session=session, plain=plain, at_once=at_once or AT_ONCE,
        )  # fmt: skip


@asynccontextmanager
async def _registry(settings: Settings, file: Path | None, directories: Sequence[str]) -> "AsyncIterator[TwinRegistry]":
    """Open the file, when it is there or named, and the directories."""
    import time

    from mm_services.rmb.lent_registry import LentRegistry
    from mm_transports.rmb.twins.directory_registry import DirectoryRegistry
    from mm_transports.rmb.twins.file_registry import FileRegistry
    from mm_transports.rmb.twins.several_registries import SeveralRegistries
    from mmplatform.cli.node.access import node

    found: list[TwinRegistry] = []
    path = twins_file(settings, file)
    if file is not None or path.exists() or not directories:
        found.append(FileRegistry(path, note))
    async with AsyncExitStack() as stack:
        if directories:
            there = await stack.enter_async_context(node(settings.data))
            for peer in directories:
                found.append(DirectoryRegistry(f"the directory of {peer}", source_of(there, peer), time.time))
        registry = SeveralRegistries(found)
        await registry.open()
        stack.push_async_callback(registry.close)
        yield LentRegistry(registry)
