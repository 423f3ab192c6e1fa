"""The header of a bundle: who wrote it to whom, until when it lives, how far it may go, and what its content is.

The sender signs all of it, and the id of a bundle is a hash of what is signed. So two contents never share an id, and
nothing in a header can be altered on the way (docs/protocol/messenger.rst, "Header"). "Bundle" is the word of RFC 4838.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Annotated, Final

from mm_services.messenger.protocol.limits import (
    HASH,
    ID,
    MAX_CONTENT,
    MAX_HEADER,
    MAX_HOPS,
    MAX_LIFESPAN,
    MAX_OPENED,
    MAX_RECEIPT,
    MAX_RECIPIENTS,
    MAX_TIME,
    SKEW,
    VERSION,
)
from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import BadSignature, CodecError, ProtocolError
from mmplatform.identity.keys import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    Identity,
    SignId,
    box_id_of,
    digest,
    raw_key,
    sign_id_of,
    verify,
)
from mmplatform.session.envelope import MAX_ENVELOPE

LABEL: Final = "mm/1 bundle"
ID_LABEL: Final = "mm/1 bundle id"


class Kind(IntEnum):
    """What the content of a bundle is."""

    MESSAGE = 0  # a topic and a payload
    RECEIPT = 1  # what a recipient has received, in clear: carriers drop what has arrived
    MAIL = 2  # a sealed envelope of the platform
    REFERENCE = 3  # a file that is too large to be carried: its hash, its size, and who has it

    @property
    def sealed(self) -> bool:
        """Whether the content is sealed when it is not for everybody."""
        return self in (Kind.MESSAGE, Kind.REFERENCE)

    @property
    def largest(self) -> int:
        """How many bytes the data in a content of this kind has at most."""
        return {Kind.RECEIPT: MAX_RECEIPT, Kind.MAIL: MAX_ENVELOPE}.get(self, MAX_OPENED)


Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
Number = Annotated[int, Meta(ge=0, le=MAX_TIME)]


class _Wire(Struct, array_like=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    kind: Number
    sender: Key
    recipients: Annotated[list[Key], Meta(max_length=MAX_RECIPIENTS)]
    created: Number
    lifespan: Number
    max_hops: Number
    length: Number
    root: Annotated[bytes, Meta(min_length=HASH, max_length=HASH)]
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_SIZE, max_length=SIGNATURE_SIZE)]


_decoder = Decoder(_Wire, MAX_HEADER)


@dataclass(frozen=True)
class Header:
    """Made by :meth:`create` or :meth:`decode`, which check everything; the plain constructor checks nothing.

    That its recipients are 32 bytes each is checked, that anybody holds the secrets of these keys is not: it would cost
    more than the signature, and a sender can as well write to a key that was thrown away.

    Args:
        kind: what the content is.
        sender: who wrote the bundle.
        recipients: whom it is for; none when it is for everybody.
        created: Unix microseconds by the clock of the sender, each bundle of a sender later than the one before.
        lifespan: seconds after which nobody wants it any more.
        max_hops: how often it may be handed on, the handing to its recipient included.
        length: bytes of its content.
        root: what the hashes of its blocks hash to (:mod:`~mm_services.messenger.protocol.blocks`).
        signature: of the sender.

    """

    kind: Kind
    sender: SignId
    recipients: tuple[SignId, ...]
    created: int
    lifespan: int
    max_hops: int
    length: int
    root: bytes
    signature: bytes = b""

    @classmethod
    def create(
        cls,
        identity: Identity,
        kind: Kind,
        recipients: tuple[SignId, ...],
        created: int,
        lifespan: int,
        max_hops: int,
        length: int,
        root: bytes,
    ) -> "Header":
        """Make the header of a bundle of ``identity``, signed.

        Raises ProtocolError for what no carrier would take, and InvalidKey for a recipient that is no key.
        """
        made = cls(kind, identity.sign_id, recipients, created, lifespan, max_hops, length, root)
        made._check()
        for peer in recipients:
            box_id_of(peer)
        return replace(made, signature=identity.sign(LABEL, *made._signed_parts))

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Return the header in ``data``, its signature proven. Raises ProtocolError with the reason.

        Whether it is over, or from the future, is for :func:`expiry` to say.
        """
        header = cls.unproven(data)
        header.prove()
        return header

    @classmethod
    def unproven(cls, data: bytes) -> "Header":
        """Return the header in ``data``, with everything checked but its signature.

        So a bundle that is known, or that nobody here wants, costs no proof; of any other nothing counts before
        :meth:`prove`. Raises ProtocolError with the reason.
        """
        check_version(data, 1)
        try:
            wire = _decoder.decode_exact(data)
            kind = Kind(wire.kind)
        except (CodecError, ValueError) as error:
            raise ProtocolError("bad-header", str(error)) from None
        recipients = tuple(map(sign_id_of, wire.recipients))
        header = cls(
            kind, sign_id_of(wire.sender), recipients, wire.created, wire.lifespan, wire.max_hops, wire.length,
            wire.root, wire.signature,
        )  # fmt: skip
        header._check()
        return header

    def prove(self) -> None:
        """Raise ProtocolError ("bad-signature") unless :attr:`sender` signed this header."""
        try:
            verify(raw_key(self.sender), self.signature, LABEL, *self._signed_parts)
        except BadSignature as error:
            raise ProtocolError("bad-signature", f"{self.sender} did not write this header: {error}") from None

    def encode(self) -> bytes:
        """Return the bytes of the header, as :meth:`decode` takes them."""
        return encode(
            _Wire(
                VERSION, self.kind, raw_key(self.sender), [raw_key(key) for key in self.recipients], self.created,
                self.lifespan, self.max_hops, self.length, self.root, self.signature,
            )
        )  # fmt: skip

    @cached_property
    def id(self) -> bytes:
        """The 16 bytes that name the bundle."""
        return digest(ID_LABEL, *self._signed_parts)[:ID]

    @cached_property
    def _signed_parts(self) -> tuple[bytes, ...]:
        recipients = b"".join(raw_key(key) for key in self.recipients)
        numbers = (self.created, self.lifespan, self.max_hops, self.length)
        return (
            bytes((VERSION, self.kind)), raw_key(self.sender), recipients,
            *(number.to_bytes(8) for number in numbers), self.root,
        )  # fmt: skip

    def _check(self) -> None:
        if len(set(self.recipients)) != len(self.recipients) or len(self.recipients) > MAX_RECIPIENTS:
            raise ProtocolError("bad-header", f"a bundle has at most {MAX_RECIPIENTS} recipients, each of them once")
        if self.kind in (Kind.RECEIPT, Kind.MAIL) and len(self.recipients) != 1:
            raise ProtocolError("bad-header", "a receipt, and a letter, has one recipient")
        if not 1 <= self.max_hops <= MAX_HOPS:
            raise ProtocolError("bad-header", f"a bundle may go 1 to {MAX_HOPS} hops, not {self.max_hops}")
        if not 1 <= self.lifespan <= MAX_LIFESPAN or not 0 < self.created <= MAX_TIME:
            raise ProtocolError("bad-header", f"a bundle lives 1 to {MAX_LIFESPAN} seconds, and has a date")
        most = min(1 + self.kind.largest, MAX_CONTENT)
        if not 1 <= self.length <= most:
            raise ProtocolError("too-big", f"a content of this kind has 1 to {most} bytes, not {self.length}")


def check_version(data: bytes, place: int) -> None:
    """Raise ProtocolError ("wrong-version") when the number at ``place`` of the MessagePack list in ``data`` is that of
    another version, whatever follows. What does not begin as such a list is left to its decoder."""
    if len(data) > place and data[0] & 0xF0 == 0x90 and data[place] < 128 and data[place] != VERSION:
        raise ProtocolError("wrong-version", f"of version {data[place]}, this side has {VERSION}")


def expiry(header: Header, age: float, now: float) -> float:
    """Return until when a bundle lives that comes in, in Unix seconds by our clock.

    Clocks may be wrong, so a carrier says how old the bundle is (RFC 9171, section 4.4.2). Nobody signs that, so it
    counts within SKEW of what the date of the bundle says. An age that is a lie can still end a copy too early, so
    "expired" is said of this copy, and is nothing to keep in mind of the bundle before :func:`latest`.

    Args:
        header: of the bundle.
        age: seconds for which it has lived, as its carrier counts.
        now: Unix seconds.

    Raises ProtocolError: "expired", or "future" for one that is dated more than SKEW ahead.

    """
    created = header.created / 1e6
    if created > now + SKEW:
        raise ProtocolError("future", f"dated {created - now:.0f} seconds ahead, at most {SKEW} allowed")
    earliest = created + header.lifespan - SKEW
    until = min(max(now + header.lifespan - max(age, 0.0), earliest), latest(header))
    if until <= now:
        raise ProtocolError("expired", f"it was good until {until:.0f}, now is {now:.0f}")
    return until


def latest(header: Header) -> float:
    """Return the time, in Unix seconds by our clock, from which no carrier's word has us take the bundle: as long as
    that we keep in mind that we had it."""
    return header.created / 1e6 + header.lifespan + SKEW
