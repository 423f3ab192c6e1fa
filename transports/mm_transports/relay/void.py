"""A session that takes nothing: for peers that are being looked for, and those that have left."""

from mm_transports.relay.items import RELAY, Item


class Void:
    """Always full: what is for it waits in its queues."""

    key = b""
    role = RELAY
    address = ""
    full = True

    def tell(self, item: Item) -> None:
        """Nobody is there."""

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Nobody is there."""
