"""What commands, and our own devices, ask the messenger of a node that runs, on the local bus.

===================  ========================================================================================
messenger.status     {}: how things are, the neighbours among them
messenger.list       {}: the bundles that are here, those that are over first coming first
messenger.show       an id, or its beginning: one bundle with its hops and receipts, or nil
messenger.drop       an id: whether a bundle was deleted
===================  ========================================================================================
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from mm_services.messenger.exchange import CarrierNeighbour
from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.hops import carriers
from mm_services.messenger.protocol.receipts import ReceiptState
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.store import BundleStore
from mmplatform.messaging.api import API

STATUS: Final = "messenger.status"
LIST: Final = "messenger.list"
SHOW: Final = "messenger.show"
DROP: Final = "messenger.drop"
MOST_LISTED: Final = 10_000


class MessengerFacts(Protocol):
    """What the messenger says of itself."""

    @property
    def store(self) -> BundleStore:
        """The bundles that are here."""
        ...

    def status(self) -> dict[str, Any]:
        """Return how things are, in figures."""
        ...

    def neighbours(self) -> Sequence[CarrierNeighbour]:
        """Return the carriers that this node talks to."""
        ...

    def bundles(self) -> list[BundleEntry]:
        """Return all bundles that are here."""
        ...

    def drop(self, identifier: str) -> bool:
        """Delete a bundle by its id; return whether it was here."""
        ...


class AskedMessenger:
    """Answers for one messenger. ``now`` gives the Unix time in seconds."""

    def __init__(self, messenger: MessengerFacts, messaging: API, now: Callable[[], float]) -> None:
        self._messenger, self._messaging, self._now = messenger, messaging, now
        self._handlers = {STATUS: self._status, LIST: self._list, SHOW: self._show, DROP: self._drop}

    def open(self) -> None:
        """Answer from now on."""
        for topic, handler in self._handlers.items():
            self._messaging.on(f"self.{topic}", handler)

    def close(self) -> None:
        """Answer no more."""
        for topic, handler in self._handlers.items():
            self._messaging.off(f"self.{topic}", handler)

    def _status(self, topic: str, sender: str, payload: Any) -> dict[str, Any]:
        now = self._now()
        talked_to = [
            {
                "peer": each.peer, "state": each.state, "since": each.since, "sent": each.sent, "taken": each.taken,
                "errors": each.errors,
            }
            for each in self._messenger.neighbours()
        ]  # fmt: skip
        return {**self._messenger.status(), "talkedTo": talked_to, "now": now}

    def _list(self, topic: str, sender: str, payload: Any) -> list[dict[str, Any]]:
        return [_told(entry) for entry in self._messenger.bundles()[:MOST_LISTED]]

    async def _show(self, topic: str, sender: str, payload: Any) -> dict[str, Any] | None:
        entry = self._found(payload)
        if entry is None:
            return None
        store = self._messenger.store
        head = await store.head(entry.id)
        if head is None:
            return None
        header = Header.unproven(head.header)
        states = {peer: ReceiptState(state).name.lower() for peer, state in store.receipts(entry.id).items()}
        return {
            **_told(entry), "giver": entry.giver, "carriers": list(carriers(head.hops)), "maxHops": header.max_hops,
            "lifespan": header.lifespan, "receipts": states,
        }  # fmt: skip

    def _drop(self, topic: str, sender: str, payload: Any) -> bool:
        entry = self._found(payload)
        return entry is not None and self._messenger.drop(entry.id.hex())

    def _found(self, identifier: Any) -> BundleEntry | None:
        """Return the bundle whose id begins so, None when there is none, or several."""
        if not isinstance(identifier, str) or len(identifier) < 4:
            return None
        found = [entry for entry in self._messenger.store.entries() if entry.id.hex().startswith(identifier)]
        return found[0] if len(found) == 1 else None


def _told(entry: BundleEntry) -> dict[str, Any]:
    return {
        "id": entry.id.hex(), "kind": entry.kind.name.lower(), "sender": entry.sender,
        "recipients": list(entry.recipients), "created": entry.created / 1e6,
        "expires": entry.expires, "bytes": entry.size, "hops": entry.hops, "own": entry.own, "forUs": entry.for_us,
        "handled": entry.handled,
    }  # fmt: skip
