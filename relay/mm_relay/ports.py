"""What the routing core needs of the world and offers to it; it knows neither WebSocket nor bytes.

``Router`` (router.py) and ``Mailroom`` (mailroom.py) are called with a :class:`RelaySession` and an item; they answer
by ``RelaySession.tell``. A front door (server side of a WebSocket, another protocol, the processes of a cluster,
another relay) gives sessions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from mm_transports.relay.protocol.items import Forwarded, Item


class RelaySession(Protocol):
    """Somebody who is signed in. ``key`` is proven.

    Of a PEER the newest session counts, the one before is ended. Sessions of one RELAY key may be several (the
    processes of that relay): none displaces another, and what comes back goes to the one a peer was last heard by.
    """

    key: bytes
    role: int  # items.PEER or items.RELAY
    address: str  # of a relay, where it is reached itself

    def tell(self, item: Item) -> None:
        """Queue an item for it; never blocks."""

    @property
    def full(self) -> bool:
        """More waits in its connection than should; the router is told by ``Router.writable`` when that has gone."""
        ...

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Say Bye and close; ``retry`` in seconds."""


class Post(Protocol):
    """What the mailroom and the federation need of the router."""

    def tell(self, key: bytes, item: Item) -> bool:
        """To the peer ``key`` wherever it is signed in: here, or in the cluster (then True means it is on its way).
        MailWaiting is never told to the peer: the router of the other process calls ``Mailroom.nudged`` with it."""
        ...

    def receive(self, session: RelaySession, item: Item) -> None:
        """A live item of a session, or of a federation link, which is a session that did not sign in."""

    def writable(self, session: RelaySession) -> None:
        """It is no longer full."""

    def sign_out(self, session: RelaySession) -> None:
        """It has ended; of a federation link: it is not connected (any more)."""


class Cluster(ABC):
    """The processes that are one relay together: who is signed in where, and items between them.

    A relay of one process has none. Delivery between processes is at most once, in order for one pair of processes;
    what must not be lost is in the store.
    """

    @abstractmethod
    async def open(self, forwarded: Callable[[str, Forwarded], None], displaced: Callable[[bytes], None]) -> None:
        """Begin. ``forwarded`` gets what other processes ``send`` here and ``publish``, with the name of the process
        it is from (answers go back there without a look-up); ``displaced`` the keys of peers that have signed in
        elsewhere since."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def here(self, key: bytes) -> None:
        """``key`` has signed in at this process: the newest wins. Kept fresh until ``gone``."""

    @abstractmethod
    def gone(self, key: bytes) -> None: ...

    @abstractmethod
    async def locate(self, key: bytes) -> str:
        """The process where ``key`` is signed in (never this one), or ""."""

    @abstractmethod
    def send(self, process: str, forwarded: Forwarded) -> None:
        """Give it to the process; batched by loop turn."""

    @abstractmethod
    def publish(self, forwarded: Forwarded) -> None:
        """Give it to every other process."""

    async def lease(self, name: bytes, seconds: float) -> bool:
        """Hold ``name`` for so long; True when it is ours (still, or again). Mail for another relay is forwarded by
        the process that holds the lease of that relay's key; twice would be harmless, and a waste."""
        return True


class Federation(ABC):
    """The links to other relays, one each: a dead relay delays only its own link."""

    @abstractmethod
    def link(self, address: str) -> RelaySession | None:
        """The link to the relay at ``address`` (its key, role RELAY): the same one as long as it lives, dialled when
        need be; None when the address is no good or there are too many links.

        It is ``full`` until it is connected and whenever it should be told no more; then the router keeps what waits,
        in a queue a flow. The link tells it ``Router.writable``, gives it the Forwarded of live items that come back by
        ``Router.receive``, and says ``Router.sign_out`` when the connection is lost or cannot be made (the next
        ``link`` may dial again). It never says ``sign_in``."""

    @abstractmethod
    def wake(self, address: str) -> None:
        """Mail or notes wait in the store for the relay at ``address``."""

    def nudged(self, address: str) -> None:
        """The same, by another process of this relay: told no further."""
        self.wake(address)
