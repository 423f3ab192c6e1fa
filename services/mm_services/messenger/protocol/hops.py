"""Over whom a bundle came: each that hands it on signs to whom (docs/protocol/messenger.rst, "Hops").

The sender signs to the first carrier, that one to the next. A hop names whom it was for and seals the signature of the
hop before, so a carrier can leave nobody out between the sender and itself, and add nobody. (Two that know each other's
secret keys are one.)
"""

from collections.abc import Sequence
from typing import Annotated, Final

from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.limits import MAX_HOPS
from mmplatform.codec import Meta, Struct
from mmplatform.errors import BadSignature, ProtocolError
from mmplatform.identity.keys import KEY_SIZE, SIGNATURE_SIZE, Identity, SignId, raw_key, sign_id_of, verify

LABEL: Final = "mm/1 bundle hop"


class Hop(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One handing over: ``to`` whom (a raw key), signed by whoever had the bundle."""

    to: Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_SIZE, max_length=SIGNATURE_SIZE)]


Hops = Annotated[list[Hop], Meta(max_length=MAX_HOPS)]


def handed(header: Header, hops: Sequence[Hop], identity: Identity, to: SignId) -> list[Hop]:
    """Return the hops of a bundle that ``identity``, who has it, hands to ``to``.

    Raises ProtocolError for what ``to`` would not take: "too-many-hops", or "bad-hops" when ``to`` had it before or
    ``identity`` is not who has it.
    """
    before = hops[-1].signature if hops else b""
    longer = [*hops, Hop(raw_key(to), identity.sign(LABEL, header.id, before, raw_key(to)))]
    _passed(header, longer, identity.sign_id, to)
    return longer


def check(header: Header, hops: Sequence[Hop], came_from: SignId, own: SignId) -> None:
    """Prove that the bundle went from its sender, hop by hop, to ``came_from``, who handed it to us.

    Verifies a signature for each hop, 64 at most, 0.1 ms each: to be called when nothing cheaper refuses the bundle.

    Raises ProtocolError: "too-many-hops", "bad-hops" when the chain does not lead from the sender to us or leads
    somewhere twice, "bad-signature".
    """
    passed = _passed(header, hops, came_from, own)
    before = b""
    for by, hop in zip(passed, hops, strict=False):
        try:
            verify(raw_key(by), hop.signature, LABEL, header.id, before, hop.to)
        except BadSignature as error:
            raise ProtocolError("bad-signature", f"{by} did not hand it on: {error}") from None
        before = hop.signature


def carriers(hops: Sequence[Hop]) -> tuple[SignId, ...]:
    """Return to whom a bundle was handed, in order."""
    return tuple(sign_id_of(hop.to) for hop in hops)


def _passed(header: Header, hops: Sequence[Hop], came_from: SignId, to: SignId) -> list[SignId]:
    """Return the sender and all to whom it was handed, unless they are too many, or do not end as they should."""
    if len(hops) > header.max_hops:
        raise ProtocolError("too-many-hops", f"it came over {len(hops)} hops, its sender allows {header.max_hops}")
    passed = [header.sender, *carriers(hops)]
    if passed[-2:] != [came_from, to] or len(set(passed)) != len(passed):
        raise ProtocolError("bad-hops", "the hops do not lead from its sender to us, each over somebody else")
    return passed
