"""The bytes of a comparison: the data of a Diff and of a Differs (``reconcile.py``)."""

from itertools import pairwise
from typing import Annotated, Final, TypeVar

from mm_services.messenger.protocol.id_ranges import PRINT, SALT
from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.packets import MAX_DIFF
from mmplatform.codec import Decoder, Meta, Struct
from mmplatform.errors import CodecError, ProtocolError

MOST_DEPTH: Final = 12  # bits that make the ranges of a Whole
MOST_BITS: Final = 8  # further ones, which split the ranges of a Compare
MOST_PRINTS: Final = 8192  # of a Compare: as many are made in 25 ms
PAGE: Final = 14_336  # ids that are listed at once

Salt = Annotated[bytes, Meta(min_length=SALT, max_length=SALT)]
Bound = Annotated[bytes, Meta(max_length=ID)]  # an id, or nothing
Range = Annotated[int, Meta(ge=0, lt=2**MOST_DEPTH)]


class Whole(Struct, array_like=True, forbid_unknown_fields=True, tag=1):
    """``print`` is that of the prints, joined, of all 2^depth ranges."""

    salt: Salt
    depth: Annotated[int, Meta(ge=0, le=MOST_DEPTH)]
    print: Annotated[bytes, Meta(min_length=PRINT, max_length=PRINT)]


class Compare(Struct, array_like=True, forbid_unknown_fields=True, tag=2):
    """The prints of some of 2^depth ranges, in order, each split into 2^bits, without ids below ``start``."""

    salt: Salt
    depth: Annotated[int, Meta(ge=0, le=MOST_DEPTH)]
    bits: Annotated[int, Meta(ge=0, le=MOST_BITS)]
    ranges: Annotated[list[Range], Meta(min_length=1, max_length=2**MOST_DEPTH)]
    prints: Annotated[bytes, Meta(max_length=MOST_PRINTS * PRINT)]
    start: Bound = b""


class Prints(Struct, array_like=True, forbid_unknown_fields=True, tag=3):
    """The prints of all ranges, and how many ids are in them."""

    count: Annotated[int, Meta(ge=0, lt=2**53)]
    prints: Annotated[bytes, Meta(max_length=PRINT << MOST_DEPTH)]


class ListedIds(Struct, array_like=True, forbid_unknown_fields=True, tag=4):
    """The ids of the ranges that differ, which are named by their places in the request: all of them, or those below
    ``until``."""

    differing: Annotated[list[Annotated[int, Meta(ge=0, lt=MOST_PRINTS)]], Meta(max_length=MOST_PRINTS)]
    ids: Annotated[bytes, Meta(max_length=PAGE * ID)]
    until: Bound = b""


_requests: Decoder[Whole | Compare] = Decoder(Whole | Compare, MAX_DIFF)  # type: ignore[arg-type]  # to msgspec a type
_replies: Decoder[Prints | ListedIds] = Decoder(Prints | ListedIds, MAX_DIFF)  # type: ignore[arg-type]

T = TypeVar("T")


def request(data: bytes) -> Whole | Compare:
    """Return what the side that begins asks. Raises ProtocolError."""
    asked = _decoded(_requests, data)
    if isinstance(asked, Compare):
        if len(asked.prints) != len(asked.ranges) * PRINT << asked.bits or len(asked.start) not in (0, ID):
            raise bad("there is not one print for each range, or ids start at none")
        if not _ascends(asked.ranges) or asked.ranges[-1] >> asked.depth:
            raise bad("there are no such ranges, or they are not in order")
    return asked


def reply(data: bytes) -> Prints | ListedIds:
    """Return what the other side answers. Raises ProtocolError."""
    answered = _decoded(_replies, data)
    if isinstance(answered, ListedIds):
        ids = [answered.ids[at : at + ID] for at in range(0, len(answered.ids), ID)]
        if len(answered.ids) % ID or len(answered.until) not in (0, ID):
            raise bad("an id has 16 bytes")
        if not _ascends(ids) or not _ascends(answered.differing):
            raise bad("what is listed is not in order")
    return answered


def bad(why: str) -> ProtocolError:
    """Return the error for what breaks the rules of a comparison."""
    return ProtocolError("bad-diff", why)


def _decoded(decoder: Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except CodecError as error:
        raise bad(str(error)) from None


def _ascends(values: list[int] | list[bytes]) -> bool:
    return all(one < other for one, other in pairwise(values))  # type: ignore[operator]
