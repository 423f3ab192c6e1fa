"""What two carriers say to each other: requests and their replies (docs/protocol/messenger.rst, "Meetings").

===========  =============  ===============================================================================
request      reply          what for
===========  =============  ===============================================================================
Meet         Meet           who keeps what, how much is taken, and where one often is
Diff         Differs        which bundles one has and the other has not (``reconcile.py``)
PushBundles  PushAnswers    here are bundles; large ones without their content
PushBlock    PushAnswers    here is a block of one that you wanted from an offset on
PullBundles  Pulled         give me these bundles; large ones come without their content
PullBlock    PulledBlock    give me the block at an offset of one
===========  =============  ===============================================================================

Only who has a bundle on its disk says TAKEN.
"""

from enum import IntEnum
from typing import Annotated, Final, TypeVar

from mm_services.messenger.protocol.header import check_version
from mm_services.messenger.protocol.hops import Hops
from mm_services.messenger.protocol.limits import BLOCK, HASH, ID, MAX_CONTENT, MAX_HEADER, MAX_TIME, VERSION
from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import CodecError, ProtocolError
from mmplatform.identity.keys import KEY_SIZE

MAX_PACKET: Final = 512 * 1024  # bytes
MAX_PARCEL: Final = 96 * 1024  # bytes of an encoded Parcel: so much has to be left in a packet for one more
MAX_DIFF: Final = 256 * 1024  # bytes of one step of a reconciliation
MOST: Final = 64  # bundles that are pushed or pulled together
MAX_COPIES: Final = 64  # of one bundle that a carrier may have another one hand on
MAX_TABLE: Final = 1024  # peers of whom one says how likely one meets them

Number = Annotated[int, Meta(ge=0, le=MAX_TIME)]
Id = Annotated[bytes, Meta(min_length=ID, max_length=ID)]
Offset = Annotated[int, Meta(ge=0, le=MAX_CONTENT)]
Block = Annotated[bytes, Meta(min_length=1, max_length=BLOCK)]
Likely = tuple[Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)], Annotated[float, Meta(ge=0, le=1)]]


class Say(IntEnum):
    """What becomes of a bundle that was pushed. Those before GO_ON are final, those after it come with a pause."""

    TAKEN = 0  # it is on our disk
    HAVE_IT = 1
    TOO_MANY_HOPS = 2
    TOO_BIG = 3
    EXPIRED = 4
    DENIED = 5  # nobody may give us this: its carrier, its sender or its recipient
    BAD = 6  # a signature, a hash or the form is wrong
    GO_ON = 7  # send its blocks, from the offset on
    FUTURE = 8
    NO_ROOM = 9
    RATE = 10
    BUSY = 11  # another carrier is about to give it to us

    @property
    def final(self) -> bool:
        """Whether the same bundle is not pushed again."""
        return self < Say.GO_ON


class PushAnswer(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """``say`` is a number of :class:`Say`; ``value`` the offset of GO_ON, the milliseconds of a pause, or 0."""

    say: Annotated[int, Meta(ge=0, le=11)]
    value: Annotated[int, Meta(ge=0, le=MAX_CONTENT)] = 0


class Parcel(Struct, array_like=True, forbid_unknown_fields=True):
    """A bundle under way: ``age`` in milliseconds, as its carrier counts; ``content`` is empty when it is longer than a
    block, and comes in blocks; ``copies`` may be handed on by who gets it, 0 where they are not counted."""

    header: Annotated[bytes, Meta(max_length=MAX_HEADER)]
    hops: Hops
    age: Number
    hashes: Annotated[bytes, Meta(max_length=MAX_CONTENT // BLOCK * HASH)]
    content: Annotated[bytes, Meta(max_length=BLOCK)]
    copies: Annotated[int, Meta(ge=0, le=MAX_COPIES)]


class Meet(Struct, array_like=True, forbid_unknown_fields=True, tag=1):
    """Begins a meeting, and answers that."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    keeps: bool  # whether this side carries for others
    largest: Number  # bytes of a content that it takes
    wants: bool  # whether this side wants to be pushed what comes later
    table: Annotated[list[Likely], Meta(max_length=MAX_TABLE)]


class Diff(Struct, array_like=True, forbid_unknown_fields=True, tag=2):
    """A step of a reconciliation."""

    data: Annotated[bytes, Meta(max_length=MAX_DIFF)]


class Differs(Struct, array_like=True, forbid_unknown_fields=True, tag=3):
    """The answer to a step."""

    data: Annotated[bytes, Meta(max_length=MAX_DIFF)]


class PushBundles(Struct, array_like=True, forbid_unknown_fields=True, tag=4):
    """Bundles for the other side."""

    parcels: Annotated[list[Parcel], Meta(min_length=1, max_length=MOST)]


class PushBlock(Struct, array_like=True, forbid_unknown_fields=True, tag=5):
    """One block of a bundle that the other side wanted."""

    id: Id
    offset: Offset
    block: Block


class PushAnswers(Struct, array_like=True, forbid_unknown_fields=True, tag=6):
    """One answer for each bundle that was pushed, in order; one for a block."""

    answers: Annotated[list[PushAnswer], Meta(min_length=1, max_length=MOST)]


class PullBundles(Struct, array_like=True, forbid_unknown_fields=True, tag=7):
    """Asks for bundles."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST)]


class Pulled(Struct, array_like=True, forbid_unknown_fields=True, tag=8):
    """The bundles that were asked for, as far as they fit; ``left`` says how many of those asked for were not looked
    at. What is not here any more, or not for the other side, is left out."""

    parcels: Annotated[list[Parcel], Meta(max_length=MOST)]
    left: Number = 0


class PullBlock(Struct, array_like=True, forbid_unknown_fields=True, tag=9):
    """Asks for a block."""

    id: Id
    offset: Offset


class PulledBlock(Struct, array_like=True, forbid_unknown_fields=True, tag=10):
    """The block; empty when the bundle is not here any more."""

    block: Annotated[bytes, Meta(max_length=BLOCK)]


Request = Meet | Diff | PushBundles | PushBlock | PullBundles | PullBlock
Reply = Meet | Differs | PushAnswers | Pulled | PulledBlock

_requests: Decoder[Request] = Decoder(Request, MAX_PACKET)  # type: ignore[arg-type]  # a union is a type to msgspec
_replies: Decoder[Reply] = Decoder(Reply, MAX_PACKET)  # type: ignore[arg-type]

T = TypeVar("T", Request, Reply)

_MEET: Final = b"\x01"  # its tag

encoded = encode


def request(data: bytes) -> Request:
    """Return what another carrier asks. Raises ProtocolError."""
    return _checked(_requests, data)


def reply(data: bytes) -> Reply:
    """Return what another carrier answers. Raises ProtocolError."""
    return _checked(_replies, data)


def _checked(decoder: Decoder[T], data: bytes) -> T:
    if data[1:2] == _MEET:
        check_version(data, 2)
    try:
        return decoder.decode(data)
    except CodecError as error:
        raise ProtocolError("bad-packet", str(error)) from None
