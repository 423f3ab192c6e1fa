"""Completes the names and signIds of peers in a shell: from the folder alone, or from the node that runs on it."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import quote

import click

from mmplatform.cli import sockets
from mmplatform.cli.command import Settings
from mmplatform.cli.node.host import Remote
from mmplatform.contacts import saved_members
from mmplatform.directory.directory import saved_name
from mmplatform.errors import MMError
from mmplatform.storage.folder import DataFolder

MOST: Final = 200  # words that are offered
PATIENCE: Final = 0.5  # seconds for a running node
SPAN: Final = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key"

_plain = re.compile(r"[\w.%+:,/=][\w.%+:,/=@-]*")  # what no shell takes for anything but a word


def peers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so; of peers without a name that can be typed, and where a signId is begun, signIds."""
    try:
        known = _known(DataFolder(context.ensure_object(Settings).data))
    except (MMError, OSError, sqlite3.Error, TimeoutError, click.ClickException):
        return []  # a shell has no place for errors
    words = {name for name in known.values() if _plain.fullmatch(name)}
    words |= {key for key, name in known.items() if incomplete or not _plain.fullmatch(name)}
    return sorted(word for word in words if word.startswith(incomplete))[:MOST]


def _known(folder: DataFolder) -> dict[str, str]:
    """Names by signId; of whom no name is known, ""."""
    if sockets.answers(folder.control):
        return asyncio.run(_asked(folder))
    return dict(_read(folder)) if folder.database.exists() else {}


async def _asked(folder: DataFolder) -> dict[str, str]:
    async with asyncio.timeout(PATIENCE):
        return {str(key): str(name) for key, name in await Remote(folder.control).call("people")}


def _read(folder: DataFolder) -> Iterator[tuple[str, str]]:
    """From the file as it lies there: no lock is taken, and nothing is written, whatever a node does meanwhile."""
    uri = f"file:{quote(str(folder.database))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        for _, value in connection.execute(SPAN, (b"circle/", b"circle0")):
            for key in saved_members(value):
                yield key, ""
        for row, value in connection.execute(SPAN, (b"peer/", b"peer0")):
            yield bytes(row)[5:].decode(errors="replace"), saved_name(value)
