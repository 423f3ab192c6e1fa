"""Says how many items an item counts as, for the rates, and how many bytes: some cost a relay far more than a frame."""

from typing import Final

from mm_transports.relay.protocol.items import Data, Deposit, Forwarded, Item, Mail, Open, Taken

SMALL: Final = 256  # bytes that an item without content counts as; with the longest reason it has 1.2 KiB
WEIGHED: Final = frozenset({Open, Deposit, Taken})  # all others count as one
DEPOSIT_ITEMS: Final = 19  # items that a deposit counts as, beyond one: it is a row on disk
MAIL_BYTES: Final = 256  # bytes of an envelope that count as one item more: they are written, read, and sent
RELAY_ITEMS: Final = 1000  # items that the first Open or Deposit by way of another relay counts as: that one is dialled
RELAYS_NAMED: Final = 64  # other relays of one connection that are remembered as named before


class Weights:
    """The weights of what one connection says."""

    __slots__ = ("_relays",)

    def __init__(self) -> None:
        self._relays: dict[str, None] = {}  # other relays that the client has named

    def of(self, item: Item) -> int:
        """Return how many items ``item`` counts as, beyond one."""
        if isinstance(item, Taken):
            return len(item.numbers)
        if not isinstance(item, Open | Deposit):
            return 0
        own = DEPOSIT_ITEMS + len(item.envelope) // MAIL_BYTES if isinstance(item, Deposit) else 0
        return own + self.of_relay(item.via) if item.via else own

    def of_relay(self, name: str) -> int:
        """Return how many items it counts as that ``name`` is another relay for which something is."""
        if name in self._relays:
            return 0
        if len(self._relays) >= RELAYS_NAMED:
            self._relays.clear()
        self._relays[name] = None
        return RELAY_ITEMS


def size_of(item: Item) -> int:
    """Return about how many bytes an item takes in a message."""
    if isinstance(item, Data | Open):
        return len(item.data) + SMALL
    if isinstance(item, Mail | Deposit):
        return len(item.envelope) + SMALL
    return size_of(item.inner) + SMALL if isinstance(item, Forwarded) else SMALL
