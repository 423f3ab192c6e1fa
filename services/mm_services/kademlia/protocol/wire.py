"""The datagrams of the DHT, typed (directory.rst, "Datagrams").

A datagram is ``mmk`` and a version byte, then one MessagePack array whose first element is its type. Anything else is
dropped without an answer.
"""

from typing import Annotated, Final

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, K
from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import CodecError

MAGIC: Final = b"mmk\x01"
MAX_DATAGRAM: Final = 1400  # passes Ethernet, PPPoE and most tunnels in one piece
MAX_RECORD: Final = 1232
UNPROVEN_FACTOR: Final = 3  # a reply to an unproven address is at most so many times as long as the request
PADDED: Final = 400  # bytes to which a request without a token is padded, so that the whole reply may come
TOKEN: Final = 8
TX: Final = 8

STORED: Final = 0
OLDER: Final = 1  # a newer record is held
BAD_TOKEN: Final = 2
FULL: Final = 3  # a quota is used up: of the address, of the key or of the store
INVALID: Final = 4

Integer = Annotated[int, Meta(ge=0, lt=2**53)]
Tx = Annotated[bytes, Meta(min_length=TX, max_length=TX)]
Token = Annotated[bytes, Meta(max_length=TOKEN)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
MaybeKey = Annotated[bytes, Meta(max_length=32)]
Host = Annotated[bytes, Meta(min_length=4, max_length=16)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class Place(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An address."""

    host: Host
    port: Port


class HearsayContact(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A contact that the sender names without proof."""

    sign_key: Key
    host: Host
    port: Port


class Proof(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Proves that the sender's key is reached at the address to which the query was sent."""

    expires: Integer
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Find(Struct, tag=1, array_like=True, forbid_unknown_fields=True):
    """Asks who is closest to ``target``, and for a record with a rank of at least ``after``.

    ``sender``: the key of a node that answers queries, else empty. ``to``: the address this is sent to.
    """

    tx: Tx
    sender: MaybeKey
    to: Place
    token: Token
    prove: bool
    families: Annotated[int, Meta(ge=0, le=3)]
    target: Key
    count: Annotated[int, Meta(ge=0, le=K)]
    after: Integer
    pad: Annotated[bytes, Meta(max_length=MAX_DATAGRAM)] = b""


class Store(Struct, tag=2, array_like=True, forbid_unknown_fields=True):
    """Asks a node to keep ``record`` under ``target``."""

    tx: Tx
    token: Token
    target: Key
    record: Annotated[bytes, Meta(min_length=1, max_length=MAX_RECORD)]


class FindReply(Struct, tag=3, array_like=True, forbid_unknown_fields=True):
    """Answers a Find. ``you``: its source. ``held``: 0, or 1 + seq of the record held. ``cut``: more did not fit."""

    tx: Tx
    sender: Key
    you: Place
    token: Token
    proof: Proof | None
    held: Annotated[int, Meta(ge=0, le=2**53)]
    record: Annotated[bytes, Meta(max_length=MAX_RECORD)]
    contacts: Annotated[list[HearsayContact], Meta(max_length=K)]
    cut: bool


class Verdict(Struct, tag=4, array_like=True, forbid_unknown_fields=True, gc=False):
    """Answers a Store: STORED, OLDER, BAD_TOKEN, FULL or INVALID."""

    tx: Tx
    verdict: Annotated[int, Meta(ge=0, le=255)]


Query = Find | Store
Answer = FindReply | Verdict
Message = Find | Store | FindReply | Verdict

_messages: Decoder[Message] = Decoder(Message, MAX_DATAGRAM)  # type: ignore[arg-type]  # a union is not a class


def parse(datagram: bytes) -> Message | None:
    """Return the message in ``datagram``, None when it is not one."""
    if len(datagram) > MAX_DATAGRAM or not datagram.startswith(MAGIC):
        return None
    try:
        return _messages.decode(datagram[len(MAGIC) :])
    except CodecError:
        return None


def pack(message: Message) -> bytes:
    """Return the datagram of ``message``."""
    return MAGIC + encode(message)


def pack_find(find: Find) -> bytes:
    """Return the datagram of a Find; without a token it is padded so that a whole reply may come back."""
    data = pack(find)
    if find.token or len(data) >= PADDED:
        return data
    find.pad = bytes(PADDED - len(data))
    return pack(find)


def pack_reply(reply: FindReply, contacts: list[Contact], limit: int) -> bytes | None:
    """Return ``reply`` with as many of ``contacts`` as fit into ``limit`` bytes, None when not even a bare one does."""
    limit = min(limit, MAX_DATAGRAM)
    bare = len(pack(reply))
    if bare > limit and reply.record:
        reply.record, reply.cut = b"", True
        bare = len(pack(reply))
    if bare > limit:
        return None
    room = limit - bare - 2  # a list of more than 15 takes 2 bytes more
    for contact in contacts:
        room -= 40 + len(contact.address.host)
        if room < 0:
            reply.cut = True
            break
        reply.contacts.append(HearsayContact(contact.sign_key, contact.address.host, contact.address.port))
    return pack(reply)


def place(address: Address) -> Place:
    """Return ``address`` in its form on the wire."""
    return Place(address.host, address.port)


def address_of(place: Place | HearsayContact) -> Address:
    """Return the address in a message."""
    return Address(place.host, place.port)


def key_bytes(key: int) -> bytes:
    """Return a key or id as the 32 bytes on the wire."""
    return key.to_bytes(32, "big")
