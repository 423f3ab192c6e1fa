"""What is signed of an envelope: MD5 over its fields, one behind the other, with nothing between them.

So a signature is good for every envelope whose fields run together to the same text. docs/protocol/rmb.rst ("What a
signature does not hold") lists the readings, and which rule refuses each, or that none can.
"""

import hashlib
from collections.abc import Iterator

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbRequest
from mm_transports.rmb.protocol.keys import TwinKeys, verify
from mmplatform.errors import BadSignature, InvalidPayload


def sign_envelope(envelope: RmbEnvelope, keys: TwinKeys) -> None:
    """Sign an envelope whose other fields are final. Raises InvalidPayload for text that has no UTF-8."""
    try:
        envelope.signature = keys.sign(challenge(envelope))
    except UnicodeEncodeError:
        raise InvalidPayload("no envelope of RMB: a text is not UTF-8") from None


def verify_envelope(envelope: RmbEnvelope, account: bytes) -> None:
    """Raise BadSignature unless the account of its source has signed it."""
    if envelope.signature is None:
        raise BadSignature("the envelope is not signed")
    verify(account, envelope.signature, challenge(envelope))


def challenge(envelope: RmbEnvelope) -> bytes:
    """Return the 16 bytes that are signed."""
    digest = hashlib.md5("".join(_before_payload(envelope)).encode(), usedforsecurity=False)
    digest.update(envelope.plain or envelope.cipher or b"")
    digest.update("".join(envelope.relays).encode())
    return digest.digest()


def _before_payload(envelope: RmbEnvelope) -> Iterator[str]:
    yield envelope.uid
    yield envelope.tags or ""
    yield str(envelope.timestamp)
    yield str(envelope.expiration)
    yield _run_together(envelope.source)
    yield _run_together(envelope.destination)
    match envelope.message:
        case RmbRequest(command):
            yield command
        case RmbError(code, message):
            yield f"{code}{message}"
    yield envelope.schema or ""
    yield envelope.federation or ""


def _run_together(address: TwinAddress | None) -> str:
    return "0" if address is None else f"{address.twin}{address.session or ''}"
