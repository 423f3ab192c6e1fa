"""The contract of servers: programs of their own beside nodes, as ``mm relay``, which plugins bring."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self


class Server(ABC):
    """A program beside nodes: the command line configures it, starts it, and stops it at SIGTERM."""

    @classmethod
    @abstractmethod
    def configure(cls, flags: Mapping[str, Any], file: Path | None, note: Callable[[str], None]) -> Self:
        """Make a server of the flags of its command and a file with settings of the same names.

        Args:
            flags: values by name; they win over those of the file.
            file: a file with settings, or None.
            note: takes a line that the operator should know while the server runs.

        Raises LocalError, with a line for each wrong value.

        """

    @abstractmethod
    async def start(self) -> dict[str, Any]:
        """Begin; return what clients need to know, the ``address`` first of all. Raises LocalError."""

    @abstractmethod
    async def stop(self) -> None:
        """Admit no more clients, close the connections of those that are there, and end within seconds."""

    @abstractmethod
    def reload(self) -> None:
        """Read certificates and lists again; a file that cannot be read is noted, and its content stays as it was."""

    @abstractmethod
    def activity(self) -> dict[str, int]:
        """Return counts of what is there and of what has happened, by name."""
