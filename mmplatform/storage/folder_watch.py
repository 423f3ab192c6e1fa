"""Notices that the folder of a running node was removed or replaced, before anything is to be written there."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.errors import StorageGone
from mmplatform.storage.folder import DataFolder

LOOK_EVERY: Final = 5.0  # seconds


class FolderWatch:
    """Looks at a folder now and then; ``failed`` is told once when it is gone, and again when that happens again."""

    def __init__(self, folder: DataFolder | None, failed: Callable[[Exception], None]) -> None:
        self._folder, self._failed = folder, failed
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def begin(self) -> None:
        """Look from now on."""
        if self._folder is not None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.begin()
        gone = self._folder.gone() if self._folder is not None else ""
        if gone and not self._told:
            self._failed(StorageGone(gone))
        self._told = bool(gone)
