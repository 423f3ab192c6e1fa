"""Changes a file of twins, and leaves as they are the comments, and all else, that somebody wrote there.

The home of tomlkit: tomllib only reads, and tomli_w writes a file anew, without comments.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mm_transports.rmb.twins.toml_file import MISSING, TABLE, read_twins
from mmplatform.errors import LocalError, PluginError
from mmplatform.storage.replacing import replaced
from mmplatform.storage.watched_file import content, reason

try:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
except ImportError as error:
    raise PluginError(f"a file of twins needs a library ({error}); pip install 'mm-platform[rmb]'") from None


def put_twin(path: Path, twin: TwinInfo, *, replace: bool = False) -> None:
    """Write a twin into the file, which need not be there.

    Raises InvalidRecord for a twin that cannot be, LocalError for a file that cannot be read or written, and for a
    number that is taken unless ``replace``.
    """
    check_twin(twin)
    data = _content(path)
    twins = _twins(path, data)
    before = twins.get(twin.number)
    if before == twin:
        return
    if before is not None and not replace:
        raise LocalError(f"{path} has a twin {twin.number} already; --replace puts this one in its place")
    _save(path, data, twins | {twin.number: twin}, twin.number)


def remove_twin(path: Path, number: int) -> bool:
    """Take a twin out of the file; return False when it is not there. Raises LocalError."""
    data = _content(path)
    twins = _twins(path, data)
    if twins.pop(number, None) is None:
        return False
    _save(path, data, twins, number)
    return True


def _save(path: Path, data: bytes, twins: Mapping[int, TwinInfo], number: int) -> None:
    """Write the file so that ``twins`` are in it, of which the one with this number is the change."""
    try:
        changed = _edited(data.decode(), number, twins.get(number))
    except (TOMLKitError, ValueError, KeyError) as error:
        raise LocalError(f"{path} is written in a way that cannot be changed ({error}); edit it by hand") from None
    if _twins(path, changed) != twins:
        raise LocalError(f"{path} is written in a way that cannot be changed; edit it by hand")
    if _content(path) != data:
        raise LocalError(f"{path} was changed by somebody else meanwhile; run the command again")
    try:
        _replace(path.resolve(), changed)
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror or error}") from None


def _replace(path: Path, data: bytes) -> None:
    """Replace the file; who could read it still can, as the relay whose twins they are."""
    about = path.stat() if path.exists() else None
    with replaced(path) as file:
        file.write(data)
        if about is not None:
            os.fchmod(file.fileno(), stat.S_IMODE(about.st_mode))
            with suppress(PermissionError):
                os.fchown(file.fileno(), about.st_uid, about.st_gid)


def _edited(text: str, number: int, twin: TwinInfo | None) -> bytes:
    document = tomlkit.parse(text)
    if TABLE not in document:
        document[TABLE] = tomlkit.table(is_super_table=True)
    tables: Any = document[TABLE]  # one of several classes, by how the file is written
    if twin is None:
        del tables[str(number)]
    elif (table := tables.get(str(number))) is not None:
        _fill(table, twin)
    else:
        table = tomlkit.table()
        _fill(table, twin)
        tables[str(number)] = table
    return tomlkit.dumps(document).encode()


def _fill(table: Any, twin: TwinInfo) -> None:
    for name, value in (("account", twin.account.hex()), ("pk", twin.pk.hex()), ("relays", list(twin.relays))):
        if value:
            table[name] = value
        else:
            table.pop(name, None)


def _content(path: Path) -> bytes:
    """Return what is in the file, nothing when it is not there."""
    try:
        return content(path)
    except FileNotFoundError:
        return b""
    except (OSError, LocalError) as error:
        raise LocalError(f"{path}: {reason(error, MISSING)}") from None


def _twins(path: Path, data: bytes) -> dict[int, TwinInfo]:
    try:
        return read_twins(data)
    except LocalError as error:
        raise LocalError(f"{path}: {error}") from None
