"""Names why links end: one word of a list for programs, and a text for people."""

from typing import Final, Literal, NamedTuple, get_args

from mmplatform.errors import ProtocolError, RemoteError
from mmplatform.text import escaped

ClosedKind = Literal[
    "closed",  # the application at either end said so
    "stopping",  # the node at either end stops
    "removed",  # the peer is less to us, or we to it, than it was
    "blocked",  # one has blocked the other
    "taken-over",  # another run of the node, or another node with its key, is there in its place
    "duplicate",  # both ends dialled at once, and one link is enough
    "replaced",  # another link makes it needless
    "renewed",  # it was old
    "overloaded",  # there was no room for what one end had the other hold
    "silent",  # the peer did not answer
    "lost",  # the connection ended without a word
    "protocol",  # one end broke the protocol
    "other",  # the peer gave a reason that this version does not know
]
KINDS: Final[tuple[ClosedKind, ...]] = get_args(ClosedKind)
LEAVING: Final = ("closed", "stopping", "removed", "blocked")  # after these words of a peer it does not come back soon
MOST_SAID: Final = 2048  # characters of why there is no link: a few for each address


class LinkEnded(RemoteError):
    """A link ended for the reason ``kind``, a word of either end. ``by_peer``: whether the peer closed it."""

    def __init__(self, kind: str, text: str = "", by_peer: bool = False) -> None:
        super().__init__(text or kind)
        self.kind: ClosedKind = kind if kind in KINDS else "protocol" if not by_peer else "other"
        self.by_peer = by_peer


class Disconnection(NamedTuple):
    """Why a link ended: ``kind`` in one word, and in a ``text`` for people, which ``str()`` gives, too. ``by_peer``:
    whether the peer closed it."""

    kind: ClosedKind
    text: str
    by_peer: bool

    @property
    def left(self) -> bool:
        """Whether the peer went away by its own will: a cut, and a link that was too many, are something else."""
        return self.by_peer and self.kind in LEAVING

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def disconnection(error: Exception | None) -> Disconnection:
    """Return what the error of a link that ended says."""
    text = escaped(error, MOST_SAID) if error is not None else "closed"
    return Disconnection(kind_of(error), text, isinstance(error, LinkEnded) and error.by_peer)


def kind_of(error: Exception | None) -> ClosedKind:
    """Return the word for the error of a link that ended."""
    if isinstance(error, LinkEnded):
        return error.kind
    if isinstance(error, ProtocolError):
        return error.reason if error.reason in KINDS else "protocol"
    return "lost"
