"""Places for the connections of strangers: whoever comes gets one, and of the network with most somebody gives way."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Guest(Protocol):
    """A connection, as far as its place is concerned: its network, and how many frames of use have come over it."""

    network: str
    frames_in: int


G = TypeVar("G", bound=Guest)


class Places(Generic[G]):
    """Who has one of ``limit`` places."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._networks: dict[str, dict[G, int]] = {}  # guests, oldest first, and their frames when last looked at
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def __iter__(self) -> Iterator[G]:
        return (guest for guests in self._networks.values() for guest in guests)

    def take(self, guest: G, share: int) -> G | None:
        """Give ``guest`` one of at most ``share`` places of its network; return who loses its place for it."""
        guests = self._networks.get(guest.network, {})
        loser = None
        if len(guests) >= share:
            loser = _idlest(guests)
        elif self._taken >= self.limit:
            loser = self.idlest()
        if loser is not None:
            self.leave(loser)
        self._networks.setdefault(guest.network, {})[guest] = guest.frames_in
        self._taken += 1
        return loser

    def leave(self, guest: G) -> None:
        """Free the place of ``guest``, if it has one."""
        guests = self._networks.get(guest.network, {})
        if guests.pop(guest, None) is not None:
            self._taken -= 1
            if not guests:
                del self._networks[guest.network]

    def idlest(self) -> G | None:
        """Who gives way next: of the network with most, the oldest of which nothing has come since it was looked at."""
        return _idlest(max(self._networks.values(), key=len)) if self._networks else None


def _idlest(guests: dict[G, int]) -> G:
    for guest, seen in list(guests.items()):
        if guest.frames_in == seen:
            return guest
        del guests[guest]  # it was at work meanwhile: it goes to the end
        guests[guest] = guest.frames_in
    return next(iter(guests))
