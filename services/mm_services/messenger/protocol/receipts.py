"""Receipts: what a recipient says of bundles that it has, to their sender (docs/protocol/messenger.rst, "Receipts").

A receipt is the content of a bundle of kind RECEIPT, in clear: carriers read it and drop what has arrived. It proves
nothing but the word of who signed it, so it counts for that one alone.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Final, Protocol

from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.protocol.limits import ID, MAX_NAMED, MAX_RECEIPT
from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import CodecError, ProtocolError
from mmplatform.identity.keys import SignId


class ReceiptState(IntEnum):
    """What has become of a bundle at a recipient."""

    RECEIVED = 1  # the recipient has it, and its handler is done
    READ = 2  # the recipient's user has seen it
    FAILED = 3  # the recipient has it, and its handlers fail


State = Annotated[int, Meta(ge=1, le=3)]
"""A number of :class:`ReceiptState`."""

ORDER: Final = (ReceiptState.FAILED, ReceiptState.RECEIVED, ReceiptState.READ)
"""How a bundle gets further at a recipient."""


def progress(state: int) -> int:
    """Return how far a bundle is at a recipient that says ``state``; it goes on only, however receipts come."""
    return ORDER.index(ReceiptState(state))


class Named(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One bundle of a receipt; ``state`` is a number of :class:`ReceiptState`."""

    id: Annotated[bytes, Meta(min_length=ID, max_length=ID)]
    state: State


class _Receipt(Struct, array_like=True, forbid_unknown_fields=True):
    named: Annotated[list[Named], Meta(min_length=1, max_length=MAX_NAMED)]


_decoder: Final = Decoder(_Receipt, MAX_RECEIPT)


def encoded(named: Sequence[Named]) -> bytes:
    """Return the data of a receipt. Raises ProtocolError ("bad-receipt") for none, and for more than 512."""
    if not 1 <= len(named) <= MAX_NAMED:
        raise ProtocolError("bad-receipt", f"a receipt names 1 to {MAX_NAMED} bundles, not {len(named)}")
    return encode(_Receipt(list(named)))


def decoded(data: bytes) -> list[Named]:
    """Return what a receipt names. Raises ProtocolError ("bad-receipt")."""
    try:
        return _decoder.decode(data).named
    except CodecError as error:
        raise ProtocolError("bad-receipt", str(error)) from None


class Addressed(Protocol):
    """What a header, and whatever is known of a bundle, says of whom it is from and for."""

    @property
    def kind(self) -> Kind: ...
    @property
    def sender(self) -> SignId: ...
    @property
    def recipients(self) -> tuple[SignId, ...]: ...


def counts(receipt: Addressed, bundle: Addressed) -> bool:
    """Whether what a receipt says of a bundle counts: a recipient of the bundle says it to the sender.

    It counts for that recipient alone: others may lack the bundle, and a bundle for everybody is never done.
    """
    to_the_sender = receipt.kind is Kind.RECEIPT and receipt.recipients == (bundle.sender,)
    return to_the_sender and receipt.sender in bundle.recipients
