"""The contract of registries: who knows the keys and the relays of twins."""

from abc import ABC, abstractmethod

from mm_transports.rmb.protocol.twin import TwinInfo

Key = int | bytes  # the number of a twin, or its account


class TwinRegistry(ABC):
    """Finds twins. What it returns was verified where it came in."""

    name: str
    """What people call it, and where it is."""

    async def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Begin; waits for no network. Raises LocalError for what is wrong here."""

    async def close(self) -> None:  # noqa: B027
        """End; no task stays."""

    @abstractmethod
    async def find(self, key: Key) -> TwinInfo | None:
        """Return the twin with this number, or with this account, None when there is none.

        Raises Unreachable when the registry is away, InvalidRecord when what it says cannot be believed.
        """

    async def find_newer(self, key: Key) -> TwinInfo | None:
        """As :meth:`find`, for who found that what is remembered does not fit, as a signature by a new key."""
        return await self.find(key)


def is_of(twin: TwinInfo, key: Key) -> bool:
    """Whether ``twin`` has this number, or this account."""
    return (twin.number if isinstance(key, int) else twin.account) == key


def told(key: Key) -> str:
    """Return what errors call a twin."""
    return f"twin {key}" if isinstance(key, int) else f"the twin with the account {key.hex()}"
