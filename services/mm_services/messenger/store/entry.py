"""What is known of a bundle without reading its file, and what the journal notes."""

import sys
from collections.abc import Callable
from typing import Annotated, Final, NamedTuple, cast

from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.hops import Hop
from mm_services.messenger.protocol.limits import ID, MAX_TIME
from mm_services.messenger.protocol.receipts import State
from mmplatform.codec import Meta, Struct
from mmplatform.identity.keys import SignId

PAGE: Final = 4096  # bytes: what a file takes on a disk is a multiple of them

shared = cast("Callable[[SignId], SignId]", sys.intern)
"""Returns the one copy of a signId that all entries share."""

Id = Annotated[bytes, Meta(min_length=ID, max_length=ID)]
Time = Annotated[float, Meta(ge=0, le=MAX_TIME)]  # Unix seconds


class Head(NamedTuple):
    """A bundle without its content: the encoded header, over whom it came, and the hashes of its blocks, joined."""

    header: bytes
    hops: list[Hop]
    hashes: bytes


class BundleEntry(Struct, array_like=True, tag=1, order=True, gc=False):
    """What is known of a bundle. Entries are ordered by the time at which they are over.

    Attributes:
        expires: Unix seconds.
        id: of the bundle.
        kind: what its content is.
        sender: who wrote it.
        recipients: whom it is for; none when it is for everybody.
        created: Unix microseconds by the clock of the sender.
        size: bytes of its content.
        head: bytes of its file before the content.
        giver: who gave it to us.
        hops: how often it was handed on.
        own: whether we wrote it.
        for_us: whether we are among those it is for.
        handled: whether that is done which it was for us for.

    """

    expires: Time
    id: Id
    kind: Kind
    sender: SignId
    recipients: tuple[SignId, ...]
    created: int
    size: int
    head: int
    giver: SignId
    hops: int
    own: bool
    for_us: bool
    handled: bool = False

    @property
    def pages(self) -> int:
        """What its file takes on a disk, in bytes."""
        return -(-(self.head + self.size) // PAGE) * PAGE

    @property
    def weight(self) -> int:
        """What it counts as in numbers, which are about memory: once, and once more for each 8 recipients."""
        return 1 + len(self.recipients) // 8

    @property
    def evictable(self) -> bool:
        """Whether it may give way to bundles of others: it is not our own, and nothing is to be done with it here."""
        return not self.own and (self.handled or not self.for_us)


class NotedGone(Struct, array_like=True, tag=2):
    """A bundle is known until ``expires``, and has no file any more. ``ours``: it was our own, or for us."""

    id: Id
    expires: Time
    ours: bool


class NotedReceipt(Struct, array_like=True, tag=3):
    """``peer`` says that it has a bundle; ``ours``: one that we wrote. ``state`` is a number of ``ReceiptState``."""

    id: Id
    peer: SignId
    state: State
    expires: Time
    ours: bool


class NotedHandled(Struct, array_like=True, tag=5):
    """What was to be done with a bundle here is done, also when it comes again before ``until``."""

    id: Id
    until: Time


class NotedCopies(Struct, array_like=True, tag=4):
    """How many copies of a bundle may still be handed on."""

    id: Id
    copies: int


Note = BundleEntry | NotedGone | NotedReceipt | NotedCopies | NotedHandled


def entry_of(
    header: Header, hops: int, head: int, giver: SignId, expires: float, for_us: bool, own: bool
) -> BundleEntry:
    """Return the entry of a bundle; ``head`` is the bytes of its file before the content."""
    return BundleEntry(
        expires, header.id, header.kind, shared(header.sender), tuple(map(shared, header.recipients)), header.created,
        header.length, head, shared(giver), hops, own, for_us,
    )  # fmt: skip
