"""A registry that is a file, which is watched: who is written there is known within a second, without a restart."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mm_transports.rmb.twins.toml_file import MISSING, read_twins
from mmplatform.storage.watched_file import LOOK, WatchedFile


class _Twins(NamedTuple):
    by_number: dict[int, TwinInfo]
    by_account: dict[bytes, TwinInfo]


class FileRegistry(TwinRegistry):
    """The twins in one file.

    Args:
        path: the file.
        note: takes a line for the operator.
        look: seconds between two looks at the file.

    """

    def __init__(self, path: Path, note: Callable[[str], None], look: float = LOOK) -> None:
        self.name = str(path)
        self._file = WatchedFile(path, _parsed, note, MISSING, look)
        self.look = self._file.look

    async def open(self) -> None:
        """Read the file, and watch it. Raises LocalError when it cannot be read."""
        await self._file.open()

    async def close(self) -> None:
        await self._file.close()

    async def find(self, key: Key) -> TwinInfo | None:
        twins = self._file.value
        return twins.by_number.get(key) if isinstance(key, int) else twins.by_account.get(key)

    def all(self) -> list[TwinInfo]:
        """Return all twins in the file, by number."""
        twins = self._file.value.by_number
        return [twins[number] for number in sorted(twins)]


def _parsed(data: bytes) -> _Twins:
    twins = read_twins(data)
    return _Twins(twins, {twin.account: twin for twin in twins.values()})
