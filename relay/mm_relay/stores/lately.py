"""Who was here lately, for a local store. Bounded in all and a place, as keys cost a stranger nothing. Pure."""

from mm_relay.stores.contract import HERE_AGAIN, MOST_HERE, MOST_HERE_A_PLACE


class Lately:
    """Keys, with when and at which place they were here last."""

    def __init__(self) -> None:
        self._keys: dict[bytes, tuple[int, bytes]] = {}  # who was here longest ago comes first
        self._places: dict[bytes, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def since(self, key: bytes, time: int) -> bool:
        """Whether ``key`` was here at ``time`` or later (Unix milliseconds)."""
        return self._keys.get(key, (-1, b""))[0] >= time

    def note(self, key: bytes, place: bytes, now: int) -> list[bytes] | None:
        """Take note that ``key`` is here; return the keys that are forgotten for it, None when nothing is news."""
        before = self._keys.get(key)
        if before is not None and now - before[0] < HERE_AGAIN:
            return None
        self.forget(key)
        self._keys[key] = now, place
        there = self._places.setdefault(place, {})
        there[key] = None
        gone = []
        if len(there) > MOST_HERE_A_PLACE:
            gone.append(next(iter(there)))
        elif len(self._keys) > MOST_HERE:
            gone.append(next(iter(self._keys)))
        for each in gone:
            self.forget(each)
        return gone

    def forget(self, key: bytes) -> None:
        before = self._keys.pop(key, None)
        if before is None:
            return
        there = self._places[before[1]]
        del there[key]
        if not there:
            del self._places[before[1]]
