"""Says how many items an item counts as, for the rates: some cost the relay far more than the passing on of a frame."""

from typing import Final

from mm_transports.relay.protocol.items import Deposit, Item, Open, Taken

WEIGHED: Final = frozenset({Open, Deposit, Taken})  # all others count as one
DEPOSIT_ITEMS: Final = 19  # items that a deposit counts as, beyond one: it is a row on disk
RELAY_ITEMS: Final = 1000  # items that the first Open or Deposit by way of another relay counts as: that one is dialled
RELAYS_NAMED: Final = 64  # other relays of one connection that are remembered as named before


class Weights:
    """The weights of what one connection says."""

    __slots__ = ("_relays",)

    def __init__(self) -> None:
        self._relays: set[str] = set()  # addresses of other relays that the client has named

    def of(self, item: Item) -> int:
        """Return how many items ``item`` counts as, beyond one."""
        if isinstance(item, Taken):
            return len(item.numbers)
        if not isinstance(item, Open | Deposit):
            return 0
        own = DEPOSIT_ITEMS if isinstance(item, Deposit) else 0
        return own + RELAY_ITEMS if item.via and self._is_new(item.via) else own

    def _is_new(self, via: str) -> bool:
        if via in self._relays:
            return False
        if len(self._relays) >= RELAYS_NAMED:
            self._relays.clear()
        self._relays.add(via)
        return True
