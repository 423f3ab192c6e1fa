"""What the chat needs of the messenger: the part of its API that is used here, for the type checker."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from mmplatform.identity.keys import SignId

EVERYBODY = "*"


class TalkReceived(Protocol):
    """A bundle that has come, beside its topic and its payload."""

    @property
    def id(self) -> str:
        """Return its name, hexadecimal digits; the same when it comes again."""
        ...

    @property
    def sender(self) -> SignId:
        """Return who wrote it, proven."""
        ...

    @property
    def recipients(self) -> Sequence[SignId]:
        """Return whom it is for; nobody in it when it is for everybody."""
        ...

    @property
    def created(self) -> float:
        """Return when it was written, in Unix seconds by the clock of its sender."""
        ...

    @property
    def hops(self) -> Sequence[SignId]:
        """Return who has handed it on to whom, this node being the last."""
        ...

    @property
    def read(self) -> Callable[[], Awaitable[None]]:
        """Return what tells its sender that a person has read it."""
        ...


class TalkSent(Protocol):
    """A bundle of ours that is on the disk here."""

    @property
    def id(self) -> str:
        """Return its name, hexadecimal digits."""
        ...

    @property
    def state(self) -> str:
        """Return how far it is: "waiting", "carried", "failed", "received" or "read"."""
        ...

    @property
    def states(self) -> Mapping[SignId, str]:
        """Return how far it is for each of its recipients."""
        ...


class TalkNeighbour(Protocol):
    """A carrier that this node talks to."""

    @property
    def peer(self) -> SignId:
        """Return who it is."""
        ...

    @property
    def state(self) -> str:
        """Return what happens with it now, in a word."""
        ...

    @property
    def sent(self) -> int:
        """Return how much it has taken of us."""
        ...

    @property
    def taken(self) -> int:
        """Return how much we have taken of it."""
        ...

    @property
    def errors(self) -> int:
        """Return how often something went wrong with it."""
        ...


Handler = Callable[[str, SignId, Any, Any], Awaitable[None]]
Watching = Callable[[str, str, str], None]


class Talk(Protocol):
    """The messenger, as applications see it."""

    async def send(self, topic: str, to: str | Sequence[str], payload: Any, *, lifespan: float = ...) -> TalkSent:
        """Keep a message on disk and hand it to whoever carries it; return once it is kept.

        Args:
            topic: which handlers it is for.
            to: signIds, or EVERYBODY.
            payload: what is said.
            lifespan: seconds after which nobody wants it any more.

        Raises MMError for what cannot be sent.

        """
        ...

    def on(self, topic: str) -> Callable[[Handler], Handler]:
        """Have messages of ``topic`` handled: each is handled when the handler returns, and comes again until then."""
        ...

    def sent(self, identifier: str) -> TalkSent | None:
        """Return a message of ours by its id, as long as it is here, or it is remembered that it has arrived."""
        ...

    def watch(self, callback: Watching) -> Callable[[], None]:
        """Call ``callback(id, peer, state)`` when a message of ours gets further; return what ends it."""
        ...

    def neighbours(self) -> Sequence[TalkNeighbour]:
        """Return the carriers that this node talks to."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return what the messenger says of itself, in figures."""
        ...
