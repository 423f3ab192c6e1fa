"""mm rmb twin: twins in a file, and in directories of signed records."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mm_services.rmb.commands.options import (
    directory_option,
    file_option,
    key_type_option,
    keys_of,
    source_of,
    twins_file,
)
from mmplatform.cli.command import OK, Failure, Group, Settings, execute, pass_settings
from mmplatform.cli.output import emit, fields, note, say, table
from mmplatform.errors import InvalidRecord, LocalError

if TYPE_CHECKING:
    from mm_transports.rmb.protocol.keys import TwinKeys
    from mm_transports.rmb.protocol.twin import TwinInfo
    from mm_transports.rmb.twins.registry import Key

MOST_DAYS: Final = 32
LONGEST_NUMBER: Final = 10  # digits

NUMBER: Final = click.IntRange(1, 2**32 - 1)


def _hex(context: click.Context, parameter: click.Parameter, text: str | None) -> bytes | None:
    """Return the bytes of hexadecimal digits. Raises BadParameter."""
    from mm_transports.rmb.twins.toml_file import hex_bytes

    try:
        return hex_bytes(text) if text is not None else None
    except ValueError:
        raise click.BadParameter("not hexadecimal digits") from None


@click.group("twin", cls=Group)
def twin() -> None:
    """Say which twins there are: numbers, each with the public keys of somebody and the names of relays.

    \b
      mm rmb twin add 30 --account 7548...b363 --pk 02f7...514c --relay relay.example
      mm rmb twin show 30
      mm rmb twin show 30 --directory bob
    """


@twin.command("add")
@click.argument("number", type=NUMBER)
@click.option("--account", callback=_hex, metavar="HEX", help="The public key of its account, 32 bytes.")
@click.option("--pk", callback=_hex, metavar="HEX", help="The public key that payloads are encrypted to, 33 bytes.")
@click.option(
    "--secret-file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
    help="In place of both: a phrase of 12 to 24 words, or 0x and the seed; - reads stdin. It is not kept.",
)  # fmt: skip
@key_type_option
@click.option("--relay", "relays", multiple=True, metavar="NAME", help="Where it is found; at most four.")
@click.option("--replace", is_flag=True, help="Put it in the place of the twin that the file has.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=7, help="How long a directory has it.  [default: 7]")
@file_option
@directory_option
@pass_settings
def add_twin(
    settings: Settings, /, number: int, relays: tuple[str, ...], replace: bool, days: int, file: Path | None,
    directories: tuple[str, ...], **keys: Any,
) -> int:  # fmt: skip
    """Add the twin NUMBER to a file, or, with its secret, to directories.

    A relay is named as its clients name it, letter by letter: the npm client has its URL without wss:// and slashes.
    In a directory first come holds a number. A record ends after --days, and is renewed with the same secret.

    \b
      mm rmb twin add 30 --account 7548...b363 --pk 02f7...514c --relay relay.example
      mm rmb twin add 30 --secret-file secret --key-type ed25519 --relay relay.example
      mm rmb twin add 30 --secret-file secret --relay relay.example --directory bob
    """
    if keys["secret_file"] is not None and (keys["account"] or keys["pk"]):
        raise click.UsageError("either --secret-file, or --account and --pk")
    secret = keys_of(keys["secret_file"], keys["key_type"]) if keys["secret_file"] is not None else None
    if directories and secret is None:
        raise click.UsageError("a record for a directory is signed by the account of the twin; give its --secret-file")
    made = _made(number, secret, keys["account"], keys["pk"], relays)
    if secret is not None and directories:
        if file is not None or replace:
            raise click.UsageError("either a --file, or a --directory")
        execute(lambda: _publish(settings, secret, made, days, directories))
    else:
        from mm_transports.rmb.twins.toml_edit import put_twin
        from mmplatform.storage.folder import DataFolder

        if file is None:
            DataFolder(settings.data).make()
        put_twin(twins_file(settings, file), made, replace=replace)
    _tell(settings, made, "added to", *(directories or [str(twins_file(settings, file))]))
    return OK


@twin.command("list")
@file_option
@pass_settings
def list_twins(settings: Settings, file: Path | None) -> int:
    """List the twins in the file.

    \b
      mm rmb twin list
      mm rmb twin list --file /etc/mm/twins.toml --json
    """
    path = twins_file(settings, file)
    found = [one for _, one in sorted(_read(path, named=file is not None).items())]
    if settings.json:
        for one in found:
            emit({**_facts(one), "foundBy": str(path)})
        return OK
    rows = [(str(one.number), one.account.hex(), "yes" if one.pk else "no", " ".join(one.relays)) for one in found]
    table(("twin", "account", "encrypted", "relays"), rows)
    if not found:
        note(f"no twins in {path}; mm rmb twin add adds one")
    return OK


@twin.command("show")
@click.argument("key", metavar="NUMBER|ACCOUNT")
@file_option
@directory_option
@pass_settings
def show_twin(settings: Settings, key: str, file: Path | None, directories: tuple[str, ...]) -> int:
    """Show the twin with this NUMBER, or ACCOUNT in hex: of the file, else of the first directory that has it.

    \b
      mm rmb twin show 30
      mm rmb twin show 30 --directory bob --directory carol
    """
    wanted = _key(key)
    path = twins_file(settings, file)
    known = {name: one for one in _read(path, named=file is not None).values() for name in (one.number, one.account)}
    found = (known[wanted], str(path)) if wanted in known else None
    if found is None and directories:
        found = execute(lambda: _ask(settings, wanted, directories))
    if found is None:
        places = ", ".join((str(path), *(f"the directory of {peer}" for peer in directories)))
        raise Failure(f"there is no twin {key} in {places}; mm rmb twin add adds one, --directory asks elsewhere")
    _tell(settings, found[0], "found in", found[1])
    return OK


@twin.command("remove")
@click.argument("number", type=NUMBER)
@file_option
@pass_settings
def remove_twin(settings: Settings, number: int, file: Path | None) -> int:
    """Take the twin NUMBER out of the file; records in directories end by themselves.

    \b
      mm rmb twin remove 30
    """
    from mm_transports.rmb.twins import toml_edit

    path = twins_file(settings, file)
    if not toml_edit.remove_twin(path, number):
        raise Failure(f"there is no twin {number} in {path}")
    if settings.json:
        emit({"twin": number, "removed": str(path)})
    else:
        say(f"removed from {path}")
    return OK


def _read(path: Path, *, named: bool) -> "dict[int, TwinInfo]":
    """Return the twins in the file; one that nobody named need not be there."""
    from mm_transports.rmb.twins.toml_file import MISSING, read_twins
    from mmplatform.storage.watched_file import content, reason

    if not named and not path.exists():
        return {}
    try:
        return read_twins(content(path))
    except (OSError, LocalError) as error:
        raise LocalError(f"{path}: {reason(error, MISSING)}") from None


def _made(
    number: int, keys: "TwinKeys | None", account: bytes | None, pk: bytes | None, relays: Sequence[str]
) -> "TwinInfo":
    from mm_transports.rmb.protocol.twin import TwinInfo, check_twin

    if keys is not None:
        account, pk = keys.account, keys.pk
    if account is None:
        raise click.UsageError("whose twin is it? give its --account, or its --secret-file")
    try:
        return check_twin(TwinInfo(number, account, pk or b"", tuple(relays)))
    except InvalidRecord as error:
        raise click.UsageError(str(error)) from None


def _key(text: str) -> "Key":
    from mm_transports.rmb.twins.toml_file import hex_bytes

    if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER:
        return int(text)
    try:
        return hex_bytes(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither the number of a twin nor an account in hex") from None


async def _publish(
    settings: Settings, keys: "TwinKeys", made: "TwinInfo", days: int, directories: Sequence[str]
) -> None:
    import time

    from mm_transports.rmb.twins.publishing import TwinPublication
    from mmplatform.cli.node.access import node

    async with node(settings.data) as there:
        for peer in directories:
            source = source_of(there, peer)
            await TwinPublication(source, keys, made.number, made.relays, time.time, days * 24 * 3600).publish()


async def _ask(settings: Settings, key: "Key", directories: Sequence[str]) -> "tuple[TwinInfo, str] | None":
    import time

    from mm_transports.rmb.twins.directory_registry import DirectoryRegistry
    from mm_transports.rmb.twins.several_registries import SeveralRegistries
    from mmplatform.cli.node.access import node

    async with node(settings.data) as there:
        asked = [
            DirectoryRegistry(f"the directory of {peer}", source_of(there, peer), time.time) for peer in directories
        ]
        found = await SeveralRegistries(asked).where(key)
        return (found[0], found[1].name) if found is not None else None


def _tell(settings: Settings, one: "TwinInfo", how: str, *places: str) -> None:
    if settings.json:
        emit({**_facts(one), **({"foundBy": places[0]} if how == "found in" else {"addedTo": places})})
        return
    fields(
        [
            ("twin", str(one.number)),
            ("account", one.account.hex()),
            ("pk", one.pk.hex() or "none: nothing is encrypted to it"),
            ("relays", " ".join(one.relays) or "none"),
            (how, ", ".join(places)),
        ]
    )


def _facts(one: "TwinInfo") -> dict[str, Any]:
    return {"twin": one.number, "account": one.account.hex(), "pk": one.pk.hex(), "relays": list(one.relays)}
