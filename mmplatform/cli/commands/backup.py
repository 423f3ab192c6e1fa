"""mm backup and restore: all that is needed to be the same node again, in one file."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import click

from mmplatform.cli.backup_file import (
    COPY,
    KEY,
    LARGEST,
    NOTES,
    ROWS,
    BackupError,
    BackupHeader,
    BackupReader,
    write_backup,
)
from mmplatform.cli.command import OK, Command, Failure, Settings, interruptible, pass_settings
from mmplatform.cli.commands.asking import ask_rows
from mmplatform.cli.commands.progress import moved
from mmplatform.cli.output import amount, emit, note, say
from mmplatform.cli.terminal import is_terminal
from mmplatform.errors import LocalError
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.replacing import replaced, sync

STREAM: Final = Path("-")
OLD: Final = 3600.0  # seconds after which a copy that a killed command left is removed
WARNING: Final = (
    "what came or was sent after it was made is not in it, and may come again; never run two nodes with one key: they "
    "take each other's place"
)

_HOLDS: Final = {
    "": "the file holds its secret key",
    "passphrase": "the file holds its secret key, encrypted",
    "keyring": "its key opens with the keyring of this user on this machine only: mm id --encrypt sets a passphrase",
}

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))


@click.command("backup", cls=Command)
@file_argument
@pass_settings
def backup(settings: Settings, file: Path) -> int:
    """Save all that is needed to be the same node again in one FILE (- for stdout), also while it runs.

    The file holds the secret key, encrypted only if it is so in the folder (mm id --encrypt), and messages, which are
    not. It gets mode 0600; keep it as safe as the folder. While the database of a running node is copied, its messages
    wait.

    \b
      mm backup /media/stick/laptop.mmbackup
      mm backup - | gpg -c > laptop.mmbackup.gpg
    """
    if file == STREAM and is_terminal(1):
        raise click.UsageError("a backup is not for a terminal; name a FILE, or redirect stdout")
    folder = DataFolder(settings.data)
    if not folder.identity.exists():
        raise Failure(f"there is no node in {settings.data} to be saved")

    _remove_left(folder)
    notes = _notes(folder)
    copied = Path(ask_rows(settings, "copy"))
    with interruptible():
        try:
            header = _write(folder, copied, notes, file, settings.json)
        finally:
            copied.unlink(missing_ok=True)
    from mmplatform.identity.keys import look_into

    if settings.json:
        emit({"file": str(file), "signId": header.sign_id, "bytes": header.size}, err=file == STREAM)
    else:
        note(f"{header.sign_id} is saved, {amount(header.size)}; {_HOLDS[look_into(folder.identity).keeper]}")
    return OK


@click.command("restore", cls=Command)
@file_argument
@click.option("--force", is_flag=True, help="Put the folder that is there aside, and restore into a new one.")
@pass_settings
def restore(settings: Settings, file: Path, force: bool) -> int:
    """Make the data folder anew from FILE (- for stdin), which mm backup has written.

    What came or was sent after the backup was made is not in it: messages since then may come again, and what waits in
    it is sent again; recipients know what they had. The node must not run anywhere else: two with one key take each
    other's place.

    \b
      mm restore /media/stick/laptop.mmbackup
      mm --data ~/.mm-new restore /media/stick/laptop.mmbackup
      gpg -d laptop.mmbackup.gpg | mm restore --force -
    """
    if file == STREAM and is_terminal(0):
        raise click.UsageError("a backup is not typed; name a FILE, or redirect stdin")
    target = Path(os.path.realpath(settings.data))
    with interruptible(), ExitStack() as stack:
        _check_target(target, force, stack)
        source = os.fdopen(0, "rb", closefd=False) if file == STREAM else file.open("rb")
        stack.enter_context(source)
        made = stack.enter_context(_new_folder(target))
        header = _read(source, made, settings.json)
        aside = _put_in_place(made, target)
    if settings.json:
        emit({"signId": header.sign_id, "folder": str(target), "made": header.made, "aside": str(aside or "")})
        return OK
    made_at = time.strftime("%Y-%m-%d %H:%M", time.localtime(header.made))
    say(f"{header.sign_id} is restored in {target}, as of {made_at}")
    if aside is not None:
        note(f"what was there is now {aside}")
    note(WARNING)
    return OK


def _notes(folder: DataFolder) -> bytes:
    """What was noted as handled before the rows are copied: what is handled later is in neither, and comes again."""
    try:
        return (folder.path / NOTES).read_bytes()
    except FileNotFoundError:
        return b""


def _write(folder: DataFolder, copied: Path, notes: bytes, file: Path, quiet: bool) -> BackupHeader:
    from mmplatform.identity.keys import look_into

    with ExitStack() as stack:
        found: dict[str, BinaryIO] = {
            name: stack.enter_context(path.open("rb")) for name, path in _files(folder, copied)
        }
        sizes = [(name, os.fstat(source.fileno()).st_size) for name, source in found.items()]
        sizes.append((NOTES, len(notes)))
        found[NOTES] = BytesIO(notes)
        header = BackupHeader(look_into(folder.identity).sign_id, int(time.time()), sizes)
        to = stack.enter_context(_written(file))
        write_backup(to, header, list(found.values()), stack.enter_context(moved("saving", header.size, quiet)))
    return header


def _files(folder: DataFolder, copied: Path) -> Iterator[tuple[str, Path]]:
    for name in LARGEST:
        path = copied if name == ROWS else folder.path / name
        if name != NOTES and path.exists():
            yield name, path


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``file`` when the block has ended well; of "-", stdout, and of a device or a pipe
    that one itself: who runs this as root would have a file for a device then."""
    if file == STREAM:
        with os.fdopen(1, "wb", closefd=False) as stdout:
            yield stdout
        return
    if file.exists() and not file.is_file():
        with file.open("wb") as there:
            yield there
        return
    file = Path(os.path.realpath(file))
    try:
        with replaced(file) as new:
            yield new
        sync(file.parent)  # what is said to be saved is
    except FileNotFoundError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}") from None


def _check_target(target: Path, force: bool, stack: ExitStack) -> None:
    """Raises before anything is read: FolderInUse, or Failure for a folder that is not empty."""
    if not target.exists() or not any(target.iterdir()):
        return
    if (target / KEY).exists() or (target / ROWS).exists():
        stack.enter_context(DataFolder(target))
    if not force:
        raise Failure(f"{target} is not empty; name another folder with --data, or --force puts this one aside")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A private folder beside ``target``; when it is still there after the block, it is removed."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _read(source: BinaryIO, made: Path, quiet: bool) -> BackupHeader:
    """Write the files of a backup into a folder, and check them. Raises BackupError."""
    reader = BackupReader(source)
    free = shutil.disk_usage(made).free
    if reader.header.size > free:
        raise BackupError(f"the backup has {amount(reader.header.size)}, and {amount(free)} are free at {made.parent}")
    with moved("restoring", reader.header.size, quiet) as progress:
        for name, _ in reader.header.files:
            (made / name).touch(0o600)
        for name, chunk in reader.contents():
            with (made / name).open("ab") as file:
                file.write(chunk)
            progress(len(chunk))
    for path in made.iterdir():
        sync(path)
    _check_files(made, reader.header)
    return reader.header


def _check_files(made: Path, header: BackupHeader) -> None:
    from mmplatform.identity.keys import look_into
    from mmplatform.storage.database import Database

    if look_into(made / KEY).sign_id != header.sign_id:
        raise BackupError("the backup cannot be used: its key is not that of its header")
    database = Database(made / ROWS)
    try:
        if damage := database.damage():
            raise BackupError(f"the backup cannot be used: its database is damaged ({damage})")
    finally:
        database.close()


def _put_in_place(made: Path, target: Path) -> Path | None:
    """Move what is there aside and the new folder to its place; where the old one is now, None when it was empty."""
    aside: Path | None = None
    try:
        if target.exists() and any(target.iterdir()):
            aside = target.with_name(f"{target.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
            target.rename(aside)
        made.rename(target)
    except OSError as error:
        if aside is not None and not target.exists():
            aside.rename(target)
        raise LocalError(f"{target} cannot be replaced: {error}; restore into another folder (--data)") from None
    sync(target.parent)
    return aside


def _remove_left(folder: DataFolder) -> None:
    """Remove copies that commands have left which were killed."""
    for path in folder.path.glob(f"{COPY}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > OLD:
                path.unlink()
