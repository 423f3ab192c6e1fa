"""Checks and decrypts what other twins send: who signed it, whether it is for us, still good, and readable. Pure."""

from typing import Final

from mm_transports.rmb.client.errors import BAD_CIPHER, BAD_PAYLOAD, EXPIRED, NO_KEY, TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import verify_envelope
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError
from mm_transports.rmb.protocol.stamps import deadline
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.errors import BadSignature, InvalidKey, ProtocolError

PLAIN: Final = "a payload has to be encrypted to be taken here"


def is_signed(envelope: RmbEnvelope, twin: TwinInfo) -> bool:
    """Whether ``twin``, its source, has signed the envelope; by its keys as they are known here."""
    try:
        verify_envelope(envelope, twin.account)
    except BadSignature:
        return False
    return True


def is_for(envelope: RmbEnvelope, at: TwinAddress) -> bool:
    """Whether the envelope is for the session at ``at``, and has a name."""
    return bool(envelope.uid) and envelope.destination is not None and envelope.destination.same(at)


def end_of(envelope: RmbEnvelope, now: int) -> int:
    """Return until when the envelope is good. Raises TwinError when it is not any more, or not yet."""
    try:
        return deadline(envelope, now)
    except ProtocolError as error:
        raise TwinError(EXPIRED, str(error)) from None


def payload_of(envelope: RmbEnvelope, twin: TwinInfo, keys: PayloadKeys, *, plain: bool) -> bytes:
    """Return the payload, decrypted with the key shared with ``twin``.

    One that is not encrypted is taken only where ``plain`` is asked for, or nothing is in it. Raises TwinError.
    """
    if envelope.cipher is None:
        if not envelope.plain or plain:
            return envelope.plain or b""
        if isinstance(envelope.message, RmbError):
            return b""  # its words are all that counts
        raise TwinError(BAD_PAYLOAD, PLAIN)
    if not twin.pk:
        raise TwinError(NO_KEY, f"twin {twin.number} has no key to decrypt with")
    try:
        return keys.decrypt(envelope.cipher, twin.pk)
    except (ProtocolError, InvalidKey) as error:
        raise TwinError(BAD_CIPHER, str(error)) from None
