"""The contract of servers: programs of their own beside nodes, as ``mm relay``, which plugins bring."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self


class Server(ABC):
    """The command line makes one, starts it, and stops it at SIGTERM."""

    @classmethod
    @abstractmethod
    def configure(cls, flags: Mapping[str, Any], file: Path | None, note: Callable[[str], None]) -> Self:
        """From flags and a file with the same names. ``note`` is for what its operator should know while it runs.
        Raises LocalError, a line for each wrong value."""

    @abstractmethod
    async def start(self) -> dict[str, Any]:
        """Begin; what clients need to know, its ``address`` first of all. Raises LocalError."""

    @abstractmethod
    async def stop(self) -> None:
        """Take nobody in any more, send away who is there, and end within seconds."""

    @abstractmethod
    def reload(self) -> None:
        """Read certificates and lists again; what cannot be read is noted and stays as it was."""

    @abstractmethod
    def activity(self) -> dict[str, int]:
        """What is there and what has happened, counted."""
