"""The content of a bundle: compressed, and sealed to its recipients unless it is for everybody.

::

    content   flags 1 | body                    flags: 1 sealed, 2 compressed
    body      data; or what is sealed of: length 8 | data | zeros

What is sealed is bound to its flags, its sender and all recipients: nobody can put another name on a content that he
cannot read (docs/protocol/messenger.rst, "Content").
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.limits import MAX_CONTENT, MAX_OPENED, MAX_RECIPIENTS, SKEW
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId, labelled, raw_key
from mmplatform.session import sealed_stream
from mmplatform.session.envelope import MAIL_LIFE

SEALED: Final = 1
COMPRESSED: Final = 2
LABEL: Final = "mm/1 bundle content"
MAIL_KEY_SERVES: Final = MAIL_LIFE - SKEW  # seconds of a lifespan: secrets of mail keys are kept no longer

_LENGTH: Final = 8
_SAMPLE: Final = 64 * 1024  # bytes of much data that say whether the rest is worth the time

# Tuning, not protocol: what is sealed is never shorter, so "hi" and "yes, at nine" look alike.
SMALLEST: Final = 512


def public(data: bytes) -> bytes:
    """Return the content that everybody can read. Raises ProtocolError ("too-big")."""
    flags, body = _compressed(data)
    return _fitting(bytes((flags,)) + body)


def sealed(
    data: bytes,
    sender: SignId,
    recipients: Sequence[tuple[SignId, bytes]],
    random: Callable[[int], bytes],
) -> bytes:
    """Return the content that only ``recipients`` can read: 20 ms for 256 of them, and the time to compress.

    Args:
        data: at most 64 MiB, and 63 MiB less 8 bytes once compressed.
        sender: who signs the header.
        recipients: those of the header, in its order, each with the mail key in its record. When that is empty, its
            boxId serves; so it does for a bundle that lives longer than MAIL_KEY_SERVES.
        random: gives random bytes.

    Raises ProtocolError: "too-big" for the data, "bad-header" for too many recipients or none, "bad-key" for a mail key
    that nobody can have; and InvalidKey for a recipient that is no key.

    """
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise ProtocolError("bad-header", f"sealed to 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
    flags, body = _compressed(data)
    zeros = padded(_LENGTH + len(body)) - _LENGTH - len(body)
    plain = b"".join((len(body).to_bytes(_LENGTH), body, bytes(zeros)))
    about = _about(flags | SEALED, sender, [peer for peer, _ in recipients])
    return _fitting(bytes((flags | SEALED,)) + sealed_stream.seal(plain, about, recipients, random))


def opened(
    header: Header, content: bytes, identity: Identity, secrets: Iterable[bytes], most: int = MAX_OPENED
) -> bytes:
    """Return the data in the content of a bundle that is for everybody, or for us.

    Args:
        header: of the bundle, proven.
        content: what its blocks hold, proven.
        identity: our keys.
        secrets: the keys that mail for us may be sealed to, beside that of our boxId.
        most: bytes that the data may have; one KiB of content can become one MiB of data.

    Raises ProtocolError: "bad-content", "not-ours", "bad-box", "bad-key", or "too-big" for data of more than ``most``,
    of which no more was made.

    """
    if not content or content[0] & ~(SEALED | COMPRESSED):
        raise ProtocolError("bad-content", "no content begins like this")
    flags, most = content[0], min(most, header.kind.largest)
    if bool(flags & SEALED) != bool(header.recipients and header.kind.sealed):
        raise ProtocolError("bad-content", "what is for everybody is not sealed, and all else is")
    body = _unsealed(header, content, identity, secrets) if flags & SEALED else memoryview(content)[1:]
    if flags & COMPRESSED:
        return _decompressed(body, most)
    if len(body) > most:
        raise ProtocolError("too-big", f"{len(body)} bytes, at most {most} allowed")
    return bytes(body)


def padded(size: int) -> int:
    """Return to how many bytes ``size`` of them are filled up: at most a sixteenth more (PADME)."""
    if size <= SMALLEST:
        return SMALLEST
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def _compressed(data: bytes) -> tuple[int, bytes]:
    """Return the data compressed where that saves a sixteenth, with the flag that says so."""
    if len(data) > MAX_OPENED:
        raise ProtocolError("too-big", f"{len(data)} bytes, at most {MAX_OPENED} allowed")
    if _saves(zlib.compress(data[:_SAMPLE]), data[:_SAMPLE]):
        small = zlib.compress(data)
        if _saves(small, data):
            return COMPRESSED, small
    return 0, data


def _saves(small: bytes, data: bytes) -> bool:
    return len(small) < len(data) - len(data) // 16


def _decompressed(body: bytearray | memoryview, most: int) -> bytes:
    """Return what ``body`` was before it was compressed, without making more than ``most`` bytes of it, and one."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise ProtocolError("bad-content", f"it does not decompress: {error}") from None
    if len(data) > most:
        raise ProtocolError("too-big", f"more than {most} bytes once decompressed")
    if not stream.eof or stream.unused_data:
        raise ProtocolError("bad-content", "what is compressed is cut off, or something follows it")
    return data


def _fitting(content: bytes) -> bytes:
    if len(content) > MAX_CONTENT:
        raise ProtocolError("too-big", f"{len(content)} bytes once sealed, at most {MAX_CONTENT} allowed")
    return content


def _unsealed(header: Header, content: bytes, identity: Identity, secrets: Iterable[bytes]) -> bytearray:
    """Return the body without its length and the zeros."""
    if identity.sign_id not in header.recipients:
        raise ProtocolError("not-ours", "it is sealed to others")
    place = header.recipients.index(identity.sign_id)
    about = _about(content[0], header.sender, header.recipients)
    plain = sealed_stream.unseal(memoryview(content)[1:], about, len(header.recipients), place, identity, secrets)
    end = _LENGTH + int.from_bytes(plain[:_LENGTH])
    if end > len(plain) or plain.count(0, end) != len(plain) - end:
        raise ProtocolError("bad-content", "its length reaches past the end, or other than zeros follow the data")
    del plain[end:]
    del plain[:_LENGTH]
    return plain


def _about(flags: int, sender: SignId, recipients: Sequence[SignId]) -> bytes:
    return labelled(LABEL, bytes((flags,)), raw_key(sender), *(raw_key(peer) for peer in recipients))
