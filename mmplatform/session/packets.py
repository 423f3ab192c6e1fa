"""Packs and unpacks the frames of a session: layout and sizes (docs/protocol/session.rst, "Frames"). No keys here.

::

    header     "mm" | version 1 | type 1                                                    4
    HELLO      header | C' 32 | nonce 16 | box[header | C' 32 | 120 zeros]                224
    COOKIE     header | nonce 16 | box[header | S' 32 | sealed 136]                       208
    cookie     nonce 16 | sealed 136  (the nonce is COOKIE's own)                         152
    sealed     secretbox[C' 32 | s' 32 | link id 16 | issued, ms 8 | H(HELLO) 32]         136
    INITIATE   header | C' 32 | cookie 152 | box[header | n 2 | NodeInfo n | signature 64 | resume]
    READY      header | box[header | n 2 | NodeInfo n | resume]
    DATA       box[plaintext]

    box, secretbox = 16 bytes of Poly1305, then as many bytes as the content. Integers are big endian.

The order of the checks is fixed: magic, version, (the state's) type, length. A peer of a later version is
therefore always named "wrong-version", whatever else it changed.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from mmplatform.errors import ProtocolError

MAGIC: Final = b"mm"
VERSION: Final = 1

KEY: Final = 32
NONCE: Final = 16
MAC: Final = 16
SIGNATURE: Final = 64
LINK_ID: Final = 16
HEADER: Final = 4

HELLO_ZEROS: Final = bytes(120)
COOKIE_PLAIN: Final = Struct(">32s32s16sQ32s")
COOKIE_SEALED: Final = COOKIE_PLAIN.size + MAC
COOKIE_SIZE: Final = NONCE + COOKIE_SEALED

MAX_RECORD: Final = 8 * 1024
MAX_RESUME: Final = 64 * 1024
MAX_FRAME: Final = 256 * 1024
MAX_PLAINTEXT: Final = MAX_FRAME - MAC


class Type(IntEnum):
    """The fourth byte of a handshake frame."""

    HELLO = 1
    COOKIE = 2
    INITIATE = 3
    READY = 4


_INITIATE_FIXED: Final = HEADER + KEY + COOKIE_SIZE + MAC + HEADER + 2 + SIGNATURE
_READY_FIXED: Final = HEADER + MAC + HEADER + 2

# The shortest and the longest frame of each type; nothing is opened, copied or allocated outside them.
SIZES: Final = {
    Type.HELLO: (224, 224),
    Type.COOKIE: (208, 208),
    Type.INITIATE: (_INITIATE_FIXED, _INITIATE_FIXED + MAX_RECORD + MAX_RESUME),
    Type.READY: (_READY_FIXED, _READY_FIXED + MAX_RECORD + MAX_RESUME),
}


class Hello(NamedTuple):
    """The parts of a HELLO: C' (32 bytes), nonce (16) and box."""

    client_short: bytes
    nonce: bytes
    box: bytes


class Cookie(NamedTuple):
    """The parts of a COOKIE: nonce (16 bytes) and box."""

    nonce: bytes
    box: bytes


class Initiate(NamedTuple):
    """The parts of an INITIATE: C' (32 bytes), the cookie (152) and box."""

    client_short: bytes
    cookie: bytes
    box: bytes


class Introduction(NamedTuple):
    """Says who speaks: the content of INITIATE's box, and of READY's, whose signature is empty."""

    record: bytes
    signature: bytes
    resume: bytes


def header(kind: Type) -> bytes:
    """Return the 4 bytes with which a frame of this type begins."""
    return MAGIC + bytes((VERSION, kind))


def kind_of(frame: bytes) -> Type:
    """Return the type of a handshake frame. Raises ProtocolError: wrong-magic, wrong-version, too-short, wrong-type."""
    if len(frame) >= 2 and not frame.startswith(MAGIC):
        raise ProtocolError("wrong-magic", "not a frame of this protocol")
    if len(frame) >= 3 and frame[2] != VERSION:
        raise ProtocolError("wrong-version", f"the peer speaks version {frame[2]}, this side {VERSION}")
    if len(frame) < HEADER:
        raise ProtocolError("too-short", f"{len(frame)} bytes are no header")
    try:
        return Type(frame[3])
    except ValueError:
        raise ProtocolError("wrong-type", f"no frame has type {frame[3]}") from None


def check_size(frame: bytes, kind: Type) -> None:
    """Raise ProtocolError("too-short" or "too-long") unless the length of ``frame`` is one of its type."""
    shortest, longest = SIZES[kind]
    if len(frame) < shortest:
        raise ProtocolError("too-short", f"{kind.name} has at least {shortest} bytes, not {len(frame)}")
    if len(frame) > longest:
        raise ProtocolError("too-long", f"{kind.name} has at most {longest} bytes, not {len(frame)}")


# HELLO: proves that the client knows whom it calls, and nothing about itself.


def hello_content(client_short: bytes) -> bytes:
    """Return what HELLO's box must contain."""
    return header(Type.HELLO) + client_short + HELLO_ZEROS


def pack_hello(hello: Hello) -> bytes:
    """Return a HELLO frame."""
    return header(Type.HELLO) + hello.client_short + hello.nonce + hello.box


def unpack_hello(frame: bytes) -> Hello:
    """Return the parts of a HELLO frame whose size is checked."""
    return Hello(frame[4:36], frame[36:52], frame[52:])


# COOKIE: the server's answer, shorter than HELLO, and the last thing it knows of it.


def cookie_content(server_short: bytes, cookie: bytes) -> bytes:
    """Return the content of COOKIE's box; the nonce of the cookie stands in the frame already."""
    return header(Type.COOKIE) + server_short + cookie[NONCE:]


def pack_cookie(cookie: Cookie) -> bytes:
    """Return a COOKIE frame."""
    return header(Type.COOKIE) + cookie.nonce + cookie.box


def unpack_cookie(frame: bytes) -> Cookie:
    """Return the parts of a COOKIE frame whose size is checked."""
    return Cookie(frame[4:20], frame[20:])


def unpack_cookie_content(content: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return S' and the cookie to send back. Raises ProtocolError("bad-content")."""
    _check_repeated_header(content, Type.COOKIE)
    return content[4:36], nonce + content[36:]


# INITIATE and READY: both sides introduce themselves.


def pack_initiate(initiate: Initiate) -> bytes:
    """Return an INITIATE frame."""
    return header(Type.INITIATE) + initiate.client_short + initiate.cookie + initiate.box


def unpack_initiate(frame: bytes) -> Initiate:
    """Return the parts of an INITIATE frame whose size is checked."""
    return Initiate(frame[4:36], frame[36 : 36 + COOKIE_SIZE], frame[36 + COOKIE_SIZE :])


def pack_ready(box: bytes) -> bytes:
    """Return a READY frame."""
    return header(Type.READY) + box


def unpack_ready(frame: bytes) -> bytes:
    """Return the box of a READY frame."""
    return frame[HEADER:]


def pack_introduction(kind: Type, introduction: Introduction) -> bytes:
    """Return the content of the box of INITIATE or READY. Raises ProtocolError("too-long")."""
    record, signature, resume = introduction
    _check_limits(len(record), len(resume))
    return header(kind) + len(record).to_bytes(2, "big") + record + signature + resume


def unpack_introduction(kind: Type, content: bytes) -> Introduction:
    """Return what the opened box of INITIATE or READY says. Raises ProtocolError: bad-content, too-long."""
    _check_repeated_header(content, kind)
    record_end = 6 + int.from_bytes(content[4:6], "big")
    resume_start = record_end + (SIGNATURE if kind is Type.INITIATE else 0)
    if len(content) < resume_start:
        raise ProtocolError("bad-content", f"the NodeInfo's length reaches past the end of {kind.name}")
    _check_limits(record_end - 6, len(content) - resume_start)
    return Introduction(content[6:record_end], content[record_end:resume_start], content[resume_start:])


def _check_repeated_header(content: bytes, kind: Type) -> None:
    if content[:HEADER] != header(kind):
        raise ProtocolError("bad-content", "the box does not repeat its header")


def _check_limits(record: int, resume: int) -> None:
    if record > MAX_RECORD:
        raise ProtocolError("too-long", f"a NodeInfo has at most {MAX_RECORD} bytes, not {record}")
    if resume > MAX_RESUME:
        raise ProtocolError("too-long", f"a resume state has at most {MAX_RESUME} bytes, not {resume}")
