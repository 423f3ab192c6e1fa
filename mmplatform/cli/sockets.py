"""The control socket of a data folder: a Unix socket, 0600, for this user only, however long the folder's path."""

import asyncio
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mmplatform.errors import LocalError

LONGEST: Final = 100  # bytes of a path that every system takes for a Unix socket (Linux 107, macOS 103)
BUFFER: Final = 1024 * 1024


def bind(path: Path) -> socket.socket:
    """Listen at ``path``. The caller holds the folder's lock, so a socket that lies there is a dead process's."""
    path.unlink(missing_ok=True)
    listener = _unix_socket()
    try:
        with _short(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise LocalError(f"no control socket can be made at {path}: {error}; use a folder on a local disk") from None
    except BaseException:
        listener.close()
        raise
    return listener


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Streams to the node that listens at ``path``; None when there is none."""
    caller = _dial(path)
    return None if caller is None else await asyncio.open_unix_connection(sock=caller, limit=BUFFER)


def answers(path: Path) -> bool:
    """Whether a node listens at ``path``."""
    caller = _dial(path)
    if caller is not None:
        caller.close()
    return caller is not None


def is_ours(peer: socket.socket) -> bool:
    """Whether the process at the other end runs as this user, where the system tells."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # pragma: no cover - not Linux: the folder's and the socket's modes stand alone
        return True
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(uid == os.geteuid())


def _unix_socket() -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover
        raise LocalError("mm needs Unix sockets, which this system has not; use the Python API")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _dial(path: Path) -> socket.socket | None:
    caller = _unix_socket()
    try:
        with _short(path) as address:
            caller.connect(address)
        caller.setblocking(False)
        return caller
    except (ConnectionError, FileNotFoundError, NotADirectoryError):
        caller.close()
        return None
    except PermissionError:
        caller.close()
        raise LocalError(f"{path} cannot be opened by this user; use a data folder of your own") from None
    except BaseException:
        caller.close()
        raise


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """``path`` itself, or while the block runs a short way to it through a link in the temporary folder."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = Path(tempfile.mkdtemp(prefix="mm-"))
    link = folder / "d"
    try:
        link.symlink_to(path.parent, target_is_directory=True)
        address = str(link / path.name)
        if len(os.fsencode(address)) > LONGEST:
            raise LocalError(
                f"{path} is too long for a socket, and so is {folder}; use a shorter data folder or TMPDIR"
            )
        yield address
    finally:
        with suppress(OSError):
            link.unlink(missing_ok=True)
            folder.rmdir()
