"""Data that is sealed to many: one key, boxed to each of them, and a stream of segments under that key.

::

    sealed     E 32 | for each recipient: box(DH(E, M), n)[K 32] 48 | c 24 | segments
    n          the first 24 bytes of H("mm/1 stream key", E, M, recipient)
    c          the first 24 bytes of H("mm/1 stream", K, E, about)
    segments   of 64 KiB, the last one of what is left, each 17 bytes longer when sealed

K and the secret of E are drawn for each call, M is the mail key of a recipient or its boxId. The segments are those of
libsodium's secretstream (XChaCha20-Poly1305), with c as its header: none can be left out, swapped or added, and the
last one says that it is the last.

Why c is no random number: it commits to K. A tag of Poly1305 does not, so a sender who boxes one key to Bob and another
to Carol could make segments that open under both, as two different texts. And it binds what is known about the data
outside: under another ``about`` nothing opens.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId, box_id_of, digest, raw_key
from mmplatform.session.envelope import NONCE, agree
from mmplatform.session.packets import KEY, MAC

SEGMENT: Final = 64 * 1024
LABEL: Final = "mm/1 stream"
KEY_LABEL: Final = "mm/1 stream key"

_BOX: Final = KEY + MAC
_TAG: Final = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
_MORE: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_LAST: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL

_Stream = sodium.crypto_secretstream_xchacha20poly1305_state


def seal(
    plain: bytes | bytearray,
    about: bytes,
    recipients: Sequence[tuple[SignId, bytes]],
    random: Callable[[int], bytes],
) -> bytes:
    """Seal ``plain`` so that each of ``recipients`` can open it, and nobody else.

    Args:
        plain: what is sealed.
        about: what its readers know of it from outside.
        recipients: each signId with the mail key in its record; when that is empty, its boxId serves.
        random: gives random bytes; drawn for 32, twice.

    Raises ProtocolError ("bad-key") for a mail key that nobody can have, and InvalidKey for a signId that is none.

    """
    secret, key = random(KEY), random(KEY)
    ephemeral = sodium.crypto_scalarmult_base(secret)
    begin = _commitment(key, ephemeral, about)
    parts = [ephemeral, *(_box(key, secret, ephemeral, peer, mail_key) for peer, mail_key in recipients), begin]
    stream = _stream(key, begin)
    for at in range(0, max(len(plain), 1), SEGMENT):
        tag = _LAST if at + SEGMENT >= len(plain) else _MORE
        segment = bytes(plain[at : at + SEGMENT])
        parts.append(sodium.crypto_secretstream_xchacha20poly1305_push(stream, segment, None, tag))
    return b"".join(parts)


def unseal(
    sealed: bytes | memoryview, about: bytes, recipients: int, place: int, identity: Identity, secrets: Iterable[bytes]
) -> bytearray:
    """Return what was sealed to ``identity``, to the mail key of one of ``secrets`` or to its boxId.

    Args:
        sealed: what :func:`seal` made.
        about: what is known of it from outside.
        recipients: to how many it is sealed.
        place: which of them ``identity`` is, from 0.
        identity: our keys.
        secrets: those of the mail keys that are still kept, the newest first.

    Raises ProtocolError: "bad-content" for what is too short or goes on behind its last segment, "bad-key" for an E
    that is none, "bad-box" for everything that does not open.

    """
    boxes = KEY + _BOX * recipients
    first = boxes + NONCE
    if len(sealed) < first + _TAG:
        raise ProtocolError("bad-content", "it ends before what is sealed begins")
    ephemeral, begin = bytes(sealed[:KEY]), bytes(sealed[boxes:first])
    key = _key(bytes(sealed[KEY + _BOX * place :][:_BOX]), ephemeral, identity, secrets)
    if _commitment(key, ephemeral, about) != begin:
        raise ProtocolError("bad-box", "sealed by somebody else, to others, or altered")
    stream, plain = _stream(key, begin), bytearray()
    for at in range(first, len(sealed), SEGMENT + _TAG):
        try:
            segment = bytes(sealed[at : at + SEGMENT + _TAG])
            part, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(stream, segment)
        except CryptoError:
            raise ProtocolError("bad-box", "a segment is altered, or not in its place") from None
        if tag != (_LAST if at + SEGMENT + _TAG >= len(sealed) else _MORE):
            raise ProtocolError("bad-content", "cut off behind a segment, or something follows the last one")
        plain += part
    return plain


def _stream(key: bytes, begin: bytes) -> _Stream:
    """Return a stream at its first segment. init_push draws its header itself; init_pull makes the same state of one
    that is given, and a state has no direction."""
    stream = _Stream()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(stream, begin, key)
    return stream


def _commitment(key: bytes, ephemeral: bytes, about: bytes) -> bytes:
    return digest(LABEL, key, ephemeral, about)[:NONCE]


def _box(key: bytes, secret: bytes, ephemeral: bytes, peer: SignId, mail_key: bytes) -> bytes:
    sealed_to = mail_key or raw_key(box_id_of(peer))
    nonce = _nonce(ephemeral, sealed_to, raw_key(peer))
    return sodium.crypto_box_easy_afternm(key, nonce, agree(sealed_to, secret))


def _key(box: bytes, ephemeral: bytes, identity: Identity, secrets: Iterable[bytes]) -> bytes:
    """Open the box with the key. Tries all secrets: M outside would tell how old the sender's record is."""
    for secret in (*secrets, identity.box_secret):
        nonce = _nonce(ephemeral, sodium.crypto_scalarmult_base(secret), identity.sign_key)
        try:
            return sodium.crypto_box_open_easy_afternm(box, nonce, agree(ephemeral, secret))
        except CryptoError:
            continue
    raise ProtocolError("bad-box", "sealed to a mail key that this node has no more, or altered")


def _nonce(ephemeral: bytes, sealed_to: bytes, recipient: bytes) -> bytes:
    return digest(KEY_LABEL, ephemeral, sealed_to, recipient)[:NONCE]
