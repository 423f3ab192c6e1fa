"""Sealed mail: bytes for one recipient, to wait where neither side is trusted (docs/protocol/mail.rst, "Envelope").

::

    header     "mm" | version 1 | type 16                                                              4
    envelope   header | E 32 | box(DH(E, M), n)[a 2 | NodeInfo a | signature 64 | b 4 | content b | zeros]
    n          the first 24 bytes of H("mm/1 mail nonce", header, E, M, recipient)
    signature  the sender's over labelled("mm/1 mail", E, M, recipient, NodeInfo, content)

E is fresh for each envelope and its secret is dropped at once: the outside says nothing about the sender, and each
key seals one box. A box takes no associated data, so what stands outside of it goes into its nonce. Anybody can seal to
M; the sender is who signed. E, M and the recipient are signed too, so mail to one recipient can be neither sent on to
another as the sender's own, nor sealed again by the recipient in the sender's name.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from nacl.bindings import (
    crypto_box_beforenm,
    crypto_box_easy_afternm,
    crypto_box_open_easy_afternm,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from mmplatform.errors import BadSignature, InvalidRecord, ProtocolError
from mmplatform.identity.keys import Identity, SignId, box_id_of, digest, raw_key, verify
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.packets import HEADER, KEY, MAC, MAGIC, MAX_RECORD, SIGNATURE, VERSION

TYPE: Final = 16
LABEL: Final = "mm/1 mail"
NONCE_LABEL: Final = "mm/1 mail nonce"
NONCE: Final = 24

MAX_ENVELOPE: Final = 1024 * 1024 + 16 * 1024
MAX_CONTENT: Final = 1024 * 1024
MAIL_LIFE: Final = 15 * 24 * 3600  # seconds: the longest that mail may wait, and a day for clocks

_MAIL_HEADER: Final = MAGIC + bytes((VERSION, TYPE))
_OUTSIDE: Final = HEADER + KEY + MAC
_LENGTHS: Final = 2 + 4
SHORTEST: Final = _OUTSIDE + _LENGTHS + SIGNATURE

# Tuning, not protocol: an envelope of this side is never shorter, so "hi" and an acknowledgement look alike.
SMALLEST: Final = 1024


class Opened(NamedTuple):
    """The content of an envelope, and the record of its sender.

    ``current`` is False when that record has expired since: it proves who wrote, but no longer where to answer, so it
    is not for the directory.
    """

    sender: NodeInfo
    content: bytes
    current: bool


def seal(
    identity: Identity,
    node_info: bytes,
    recipient: SignId,
    mail_key: bytes,
    content: bytes,
    random: Callable[[int], bytes],
) -> bytes:
    """Seal ``content`` in an envelope.

    Args:
        identity: the keys of the sender.
        node_info: the encoded record of the sender, at most 8 KiB.
        recipient: the signId of the recipient.
        mail_key: the mail key in the recipient's record (32 bytes); when empty, the boxId serves.
        content: at most 1 MiB.
        random: gives random bytes; drawn for 32.

    Raises ProtocolError: "too-long" for the content or record, "bad-key" for a mail key that nobody can have.

    """
    if len(content) > MAX_CONTENT or len(node_info) > MAX_RECORD:
        raise ProtocolError("too-long", f"{len(content)} bytes of content, at most {MAX_CONTENT} allowed")
    sealed_to = mail_key or raw_key(box_id_of(recipient))
    secret = random(KEY)
    ephemeral, key = crypto_scalarmult_base(secret), agree(sealed_to, secret)
    recipient_key = raw_key(recipient)
    signature = identity.sign(LABEL, ephemeral, sealed_to, recipient_key, node_info, content)
    plain = len(node_info).to_bytes(2) + node_info + signature + len(content).to_bytes(4) + content
    zeros = bytes(padded(_OUTSIDE + len(plain)) - _OUTSIDE - len(plain))
    nonce = _nonce(ephemeral, sealed_to, recipient_key)
    return _MAIL_HEADER + ephemeral + crypto_box_easy_afternm(plain + zeros, nonce, key)


def open_envelope(envelope: bytes, identity: Identity, secrets: Iterable[bytes], now: float) -> Opened:
    """Open an envelope that was sealed for ``identity``, to the mail key of one of ``secrets`` or to its boxId.

    ``now`` is in Unix seconds. A record that has expired by no more than MAIL_LIFE is taken: it was good when the mail
    was sealed. Raises ProtocolError, whose reasons are in docs/protocol/mail.rst.
    """
    _check_outside(envelope)
    ephemeral, sealed_to, plain = _unseal(envelope, identity, secrets)
    record, signature, content = _unpack(plain)
    try:
        sender = NodeInfo.decode(record, now - MAIL_LIFE)
    except InvalidRecord as error:
        raise ProtocolError("bad-record", str(error)) from None
    try:
        verify(raw_key(sender.sign_id), signature, LABEL, ephemeral, sealed_to, identity.sign_key, record, content)
    except BadSignature as error:
        raise ProtocolError("bad-signature", f"{sender.sign_id} did not write this to us: {error}") from None
    return Opened(sender, content, sender.expires > now)


def padded(size: int) -> int:
    """Return the length of an envelope that needs ``size`` bytes: one of the classes of PADME, 16 or 32 a doubling, so
    at most a sixteenth longer; the last class is MAX_ENVELOPE."""
    if size <= SMALLEST:
        return SMALLEST
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return min(-(-size // step) * step, MAX_ENVELOPE)


def agree(public: bytes, secret: bytes) -> bytes:
    """Return the key of the boxes between two X25519 pairs. Raises ProtocolError ("bad-key") for a public key of low
    order, or of another size."""
    try:
        return crypto_box_beforenm(public, secret)
    except (CryptoError, ValueError, TypeError):
        raise ProtocolError("bad-key", "not a point that anybody holds the secret of") from None


def _check_outside(envelope: bytes) -> None:
    """Check as for frames: the version as soon as there are three bytes, the length before anything is opened."""
    if len(envelope) >= 2 and not envelope.startswith(MAGIC):
        raise ProtocolError("wrong-magic", "not an envelope of this protocol")
    if len(envelope) >= 3 and envelope[2] != VERSION:
        raise ProtocolError("wrong-version", f"sealed by version {envelope[2]}, this side is {VERSION}")
    if len(envelope) >= HEADER and envelope[3] != TYPE:
        raise ProtocolError("wrong-type", f"type {envelope[3]} is no envelope")
    if len(envelope) < SHORTEST:
        raise ProtocolError("too-short", f"an envelope has at least {SHORTEST} bytes, not {len(envelope)}")
    if len(envelope) > MAX_ENVELOPE:
        raise ProtocolError("too-long", f"an envelope has at most {MAX_ENVELOPE} bytes, not {len(envelope)}")


def _unseal(envelope: bytes, identity: Identity, secrets: Iterable[bytes]) -> tuple[bytes, bytes, bytes]:
    """Return E, M and the content of the box. Tries all keys: M outside would tell how old the sender's record is."""
    ephemeral, box = envelope[HEADER : HEADER + KEY], envelope[HEADER + KEY :]
    for secret in (*secrets, identity.box_secret):
        sealed_to = crypto_scalarmult_base(secret)
        key, nonce = agree(ephemeral, secret), _nonce(ephemeral, sealed_to, identity.sign_key)
        try:
            return ephemeral, sealed_to, crypto_box_open_easy_afternm(box, nonce, key)
        except CryptoError:
            continue
    raise ProtocolError("bad-box", "not sealed for this node, sealed to a mail key it has no more, or altered")


def _unpack(plain: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the record, the signature and the content; only zeros may follow."""
    record_end = 2 + int.from_bytes(plain[:2])
    start = record_end + SIGNATURE + 4
    if len(plain) < start:
        raise ProtocolError("bad-content", "the NodeInfo's length reaches past the end")
    end = start + int.from_bytes(plain[start - 4 : start])
    if len(plain) < end or plain.count(0, end) != len(plain) - end:
        raise ProtocolError("bad-content", "the content's length reaches past the end, or other than zeros follow it")
    if record_end - 2 > MAX_RECORD or end - start > MAX_CONTENT:
        raise ProtocolError("too-long", f"a NodeInfo has at most {MAX_RECORD} bytes, the content {MAX_CONTENT}")
    return plain[2:record_end], plain[record_end : start - 4], plain[start:end]


def _nonce(ephemeral: bytes, sealed_to: bytes, recipient_key: bytes) -> bytes:
    return digest(NONCE_LABEL, _MAIL_HEADER, ephemeral, sealed_to, recipient_key)[:NONCE]
