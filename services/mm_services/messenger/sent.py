"""What we sent: how far each bundle is, and who watches that."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Literal

from mm_services.messenger.protocol.receipts import ORDER, ReceiptState
from mm_services.messenger.store.store import BundleStore
from mmplatform.identity.keys import SignId

BundleState = Literal["waiting", "carried", "received", "read", "failed"]
MOST_CARRIED: Final = 100_000  # bundles of ours of which it is remembered that somebody carries them

_STATES: Final[dict[int, BundleState]] = {
    ReceiptState.RECEIVED: "received", ReceiptState.READ: "read", ReceiptState.FAILED: "failed",
}  # fmt: skip
_RANKS: Final = {state: rank for rank, state in enumerate(("waiting", "carried", *(_STATES[one] for one in ORDER)))}

Watching = Callable[[str, SignId, BundleState], None]
"""Called with the id of a bundle of ours, a recipient, and how far the bundle is for that one."""


class SentBundle:
    """A bundle of ours that is on the disk here.

    ``state`` is that of the recipient who is furthest behind: "waiting" until another carrier has it, "carried" until
    the recipient has handled it, then "received", "read" once a person there has read it, or "failed".
    """

    __slots__ = ("_sent", "bundle", "recipients")

    def __init__(self, sent: "SentBundles", bundle: bytes, recipients: tuple[SignId, ...]) -> None:
        self._sent, self.bundle, self.recipients = sent, bundle, recipients

    @property
    def id(self) -> str:
        """Its name, 32 hexadecimal digits."""
        return self.bundle.hex()

    @property
    def states(self) -> Mapping[SignId, BundleState]:
        """How far it is for each recipient; empty for one that is for everybody."""
        return {peer: self._sent.state(self.bundle, peer) for peer in self.recipients}

    @property
    def state(self) -> BundleState:
        """How far it is for the recipient who is furthest behind."""
        states: list[BundleState] = [*self.states.values()] or [self._sent.state(self.bundle, None)]
        return min(states, key=lambda state: _RANKS[state])


class SentBundles:
    """All bundles that we sent.

    Args:
        store: where they are.
        watching: is called whenever one gets further.
        failed: is told of callbacks that raise; the others are called all the same.

    """

    def __init__(self, store: BundleStore, watching: list[Watching], failed: Callable[[Exception], None]) -> None:
        self._store, self._watching, self._failed = store, watching, failed
        self._carried: OrderedDict[bytes, None] = OrderedDict()

    def state(self, bundle: bytes, peer: SignId | None) -> BundleState:
        """Return how far a bundle is for a recipient; None for one that is for everybody."""
        received = self._store.receipts(bundle).get(peer) if peer is not None else None
        if received is not None:
            return _STATES[received]
        return "carried" if bundle in self._carried else "waiting"

    def took(self, bundle: bytes) -> None:
        """Note that another carrier has a bundle on its disk."""
        if bundle in self._carried:
            return
        self._carried[bundle] = None
        if len(self._carried) > MOST_CARRIED:
            self._carried.popitem(last=False)
        entry = self._store.find(bundle)
        if entry is not None:
            for peer in entry.recipients or (SignId(""),):
                if peer not in self._store.receipts(bundle):
                    self._tell(bundle, peer, "carried")

    def received(self, bundle: bytes, peer: SignId, state: int) -> None:
        """Note what a recipient says of a bundle."""
        self._tell(bundle, peer, _STATES[state])

    def _tell(self, bundle: bytes, peer: SignId, state: BundleState) -> None:
        for callback in list(self._watching):
            try:
                callback(bundle.hex(), peer, state)
            except Exception as error:
                self._failed(error)
