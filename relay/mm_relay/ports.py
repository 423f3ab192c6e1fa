"""The contracts around the core of a relay, which knows neither WebSockets nor bytes.

``Router`` (router.py) and ``Mailroom`` (mailroom.py) are called with a :class:`RelaySession` and an item; they answer
by ``RelaySession.tell``. Sessions come from doors, from the processes of a cluster, and from links to other relays.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from mm_transports.relay.protocol.items import Deposit, Forwarded, Item, Taken


class RelaySession(Protocol):
    """A client that is signed in. ``key`` is proven.

    Of a PEER the newest session counts, the one before is ended. A RELAY key may have several sessions (the processes
    of that relay): none displaces another, and answers go to the one by which a peer was last heard.
    """

    key: bytes
    role: int  # items.PEER or items.RELAY
    address: str  # where a relay is reached itself, empty for a peer
    place: bytes  # stands for the network address of a peer, for quotas; empty when nobody knows it

    def tell(self, item: Item) -> None:
        """Queue an item for the client; never blocks."""

    @property
    def full(self) -> bool:
        """Whether more waits than should; ``Router.writable`` is called when that is over."""
        ...

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Say Bye and close; ``retry``: seconds that the client should stay away."""


INNER: Final = (b"rmb\x00", b"rmb\x01")  # how keys of boxes begin in which doors of this relay alone leave mail


class InnerDeposit(Deposit, tag=10, gc=False, array_like=True):
    """As Deposit, of a door for a box of its own: no client or relay can say it, nor leave mail in such a box."""


class TakenUntold(Taken, tag=17, gc=False, array_like=True):
    """As Taken, of a door whose clients are told nothing of delivered mail: no note of it is kept."""


class Post(Protocol):
    """The router, as the mailroom and the federation use it."""

    def tell(self, key: bytes, item: Item) -> bool:
        """Tell an item of the relay's own to the peer ``key``, here or in the cluster.

        Returns False when the peer is certainly not signed in; in the cluster True means that the item is on its way.
        MailWaiting is never told to the peer: the router of the other process calls ``Mailroom.nudged`` with it.
        """
        ...

    def receive(self, session: RelaySession, item: Item) -> None:
        """Handle a live item of a session, or of a federation link, which is a session that did not sign in."""

    def writable(self, session: RelaySession) -> None:
        """Go on telling ``session``, which is no longer full."""

    def sign_out(self, session: RelaySession) -> None:
        """Take note that a session has ended, or that a federation link is not connected (any more)."""


class Cluster(ABC):
    """The processes that are one relay together: who is signed in where, and items between them.

    A relay of one process has none. Delivery between processes is at most once, in order for one pair of processes;
    items that must not be lost are in the store. ``others``: whether there were other processes when the store last
    answered.
    """

    others = False

    @abstractmethod
    async def open(self, forwarded: Callable[[str, Forwarded], None], displaced: Callable[[bytes], None]) -> None:
        """Begin.

        Args:
            forwarded: is called with what other processes ``send`` here and ``publish``, and the name of the process
                it is from, to which answers go back without a look-up.
            displaced: is called with the keys of peers that have signed in elsewhere since.

        """

    def on_back(self, back: Callable[[], None]) -> None:  # noqa: B027 - who always hears the others never is back
        """Call ``back`` whenever this process can hear the others again, and they know who is signed in here."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def here(self, key: bytes) -> None:
        """Register that ``key`` has signed in at this process, until ``gone``; the newest sign-in wins."""

    @abstractmethod
    def gone(self, key: bytes) -> None: ...

    @abstractmethod
    async def locate(self, key: bytes) -> str:
        """Return the process where ``key`` is signed in (never this one), or ""."""

    @abstractmethod
    def send(self, process: str, forwarded: Forwarded) -> None:
        """Send an item to one process; batched by loop turn."""

    @abstractmethod
    def publish(self, forwarded: Forwarded) -> None:
        """Send an item to every other process; batched by loop turn."""

    def answered(self) -> bool:
        """Return whether the store has answered since the last call, by every connection that this process needs."""
        return True

    async def lease(self, name: bytes, seconds: float) -> bool:
        """Take or renew the lease of ``name`` for ``seconds``; return whether it is ours.

        The process that holds the lease of a relay's key forwards the mail for that relay; forwarding twice would be
        harmless, and a waste.
        """
        return True


class Federation(ABC):
    """The links to other relays, one each: a dead relay delays only its own link."""

    @abstractmethod
    def link(self, address: str, place: bytes, peer: bytes = b"") -> RelaySession | None:
        """Return the link to the relay at ``address`` (its key, role RELAY), dialled when need be.

        ``peer``, at the network address ``place``, is who says that the relay is there.

        The link is the same one as long as it lives; None when the address is no good, there are too many links, or
        those at ``place``, the network address of who asks, have too many relays tried that were never reached.

        A link is ``full`` until it is connected and whenever it should be told no more; the router then keeps what
        waits, in a queue a flow. The link calls ``Router.writable`` when it can be told more, ``Router.receive`` with
        the Forwarded of live items that come back, and ``Router.sign_out`` when the connection is lost or cannot be
        made (the next call of ``link`` may dial again). It never calls ``sign_in``.
        """

    @abstractmethod
    def wake(self, address: str, place: bytes = b"", peer: bytes = b"") -> None:
        """Forward the mail and notes that wait in the store for the relay at ``address``; ``peer`` as in link."""

    def signed_in(self, address: str) -> None:  # noqa: B027 - who has no links has nothing to do
        """Take note that a relay has signed in here and says that it is reached at ``address``."""

    def lost(self, key: bytes) -> bool:
        """Whether the relay ``key`` is known not to be reachable now."""
        return False

    def nudged(self, address: str) -> None:
        """Do the same as :meth:`wake` for another process of this relay, without telling other processes."""
        self.wake(address)
