"""Who would like to know when an absent peer signs in. Bounded: the oldest wishes are forgotten."""

from typing import Final

from mm_relay.routing.flows import Seat

OF_PEER: Final = 256
OF_RELAY: Final = 8192
IN_ALL: Final = 131_072


class Watches:
    def __init__(self) -> None:
        self._by_target: dict[bytes, dict[tuple[Seat, bytes], None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, seat: Seat, source: bytes, target: bytes) -> None:
        """``source``, who is at ``seat``, wants to be told when ``target`` is present."""
        if (source, target) in seat.watches:
            return
        if len(seat.watches) >= (OF_PEER if seat.is_peer else OF_RELAY):
            self._remove(seat, *next(iter(seat.watches)))
        if self._count >= IN_ALL:
            oldest = next(iter(self._by_target))
            self._remove(*self._first(oldest), oldest)
        seat.watches[source, target] = None
        self._by_target.setdefault(target, {})[seat, source] = None
        self._count += 1

    def take(self, target: bytes) -> list[tuple[Seat, bytes]]:
        """Who is to be told now that it is present: seats, and who it is at each."""
        waiting = list(self._by_target.get(target, ()))
        for seat, source in waiting:
            self._remove(seat, source, target)
        return waiting

    def leave(self, seat: Seat) -> None:
        for source, target in list(seat.watches):
            self._remove(seat, source, target)

    def _first(self, target: bytes) -> tuple[Seat, bytes]:
        return next(iter(self._by_target[target]))

    def _remove(self, seat: Seat, source: bytes, target: bytes) -> None:
        del seat.watches[source, target]
        waiting = self._by_target[target]
        del waiting[seat, source]
        self._count -= 1
        if not waiting:
            del self._by_target[target]
