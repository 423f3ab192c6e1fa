"""Completes the names and signIds of peers in a shell: from the folder alone, or from the node that runs on it.

A shell waits for this: it needs neither a node nor asyncio, and imports what it needs once a name is asked for.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

import click

from mmplatform.cli.command import Settings
from mmplatform.errors import MMError

if TYPE_CHECKING:
    from mmplatform.storage.folder import DataFolder

MOST: Final = 200  # words that are offered
PATIENCE: Final = 0.5  # seconds for a running node
SPAN: Final = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key"

_plain = re.compile(r"[\w.%+:,/=][\w.%+:,/=@-]*")  # what no shell takes for anything but a word


def peers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so; of peers without a name that can be typed, and where a signId is begun, signIds."""
    import sqlite3

    from mmplatform.storage.folder import DataFolder

    try:
        known = _known(DataFolder(context.ensure_object(Settings).data))
    except (MMError, OSError, sqlite3.Error, TimeoutError, click.ClickException):
        return []  # a shell has no place for errors
    words = {name for name in known.values() if _plain.fullmatch(name)}
    words |= {key for key, name in known.items() if incomplete or not _plain.fullmatch(name)}
    return sorted(word for word in words if word.startswith(incomplete))[:MOST]


def _known(folder: "DataFolder") -> dict[str, str]:
    """Names by signId; of whom no name is known, ""."""
    from mmplatform.cli import sockets

    if sockets.answers(folder.control):
        import asyncio

        return asyncio.run(_asked(folder))
    return dict(_read(folder)) if folder.database.exists() else {}


async def _asked(folder: "DataFolder") -> dict[str, str]:
    import asyncio

    from mmplatform.cli.node.access import Remote

    async with asyncio.timeout(PATIENCE):
        return {str(key): str(name) for key, name in await Remote(folder.control).call("people")}


def _read(folder: "DataFolder") -> Iterator[tuple[str, str]]:
    """From the file as it lies there: no lock is taken, and nothing is written, whatever a node does meanwhile."""
    import sqlite3
    from urllib.parse import quote

    from mmplatform.saved_people import CIRCLES, PEERS, member_in, peer_in

    uri = f"file:{quote(str(folder.database))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        for row, value in connection.execute(SPAN, (CIRCLES, CIRCLES[:-1] + b"0")):
            yield member_in(bytes(row), value)[0], ""
        for row, value in connection.execute(SPAN, (PEERS, PEERS[:-1] + b"0")):
            yield bytes(row).removeprefix(PEERS).decode(errors="replace"), peer_in(value).name
