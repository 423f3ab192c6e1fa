"""Says how many items an item counts as, for the rates, and how many bytes: some cost a relay far more than a frame."""

from typing import Final

from mm_transports.relay.protocol.items import Data, Deposit, Forwarded, Item, Mail, Open, Taken

SMALL: Final = 256  # bytes that an item without content counts as; with the longest reason it has 1.2 KiB
WEIGHED: Final = frozenset({Open, Deposit, Taken})  # all others count as one
DEPOSIT_ITEMS: Final = 19  # items that a deposit counts as, beyond one: it is a row on disk
RELAY_ITEMS: Final = 1000  # items that the first Open or Deposit by way of another relay counts as: that one is dialled
RELAYS_NAMED: Final = 64  # other relays of one connection that are remembered as named before


class Weights:
    """The weights of what one connection says."""

    __slots__ = ("_deposit", "_relays")

    def __init__(self, deposit: int = DEPOSIT_ITEMS) -> None:
        self._deposit = deposit
        self._relays: dict[str, None] = {}  # addresses of other relays that the client has named

    def of(self, item: Item) -> int:
        """Return how many items ``item`` counts as, beyond one."""
        if isinstance(item, Taken):
            return len(item.numbers)
        if not isinstance(item, Open | Deposit):
            return 0
        own = self._deposit if isinstance(item, Deposit) else 0
        return own + RELAY_ITEMS if item.via and self._is_new(item.via) else own

    def _is_new(self, via: str) -> bool:
        if via in self._relays:
            return False
        if len(self._relays) >= RELAYS_NAMED:
            self._relays.clear()
        self._relays[via] = None
        return True


def size_of(item: Item) -> int:
    """Return about how many bytes an item takes in a message."""
    if isinstance(item, Data | Open):
        return len(item.data) + SMALL
    if isinstance(item, Mail | Deposit):
        return len(item.envelope) + SMALL
    return size_of(item.inner) + SMALL if isinstance(item, Forwarded) else SMALL
