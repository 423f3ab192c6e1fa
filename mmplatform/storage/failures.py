"""What a failure of the system means for who stores something: an error of our tree that says what to do."""

import errno
from pathlib import Path
from typing import Final

from mmplatform.errors import StorageError, StorageFull, StorageGone, StorageReadOnly

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
NOT_PERMITTED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the error of our tree for one that came from using what is at ``path``."""
    where = f"{path}: {error}"
    if error.errno in FULL:
        return StorageFull(f"{where}; free some space on this disk, later writes then work again")
    if error.errno in NOT_PERMITTED:
        return StorageReadOnly(f"{where}; make it writable for this user")
    if error.errno == errno.ENOENT:
        return StorageGone(f"{where}; it was removed while it is in use: put it back, or stop and start again")
    return StorageError(f"{where}; check the disk and the system log, later writes are tried again")
