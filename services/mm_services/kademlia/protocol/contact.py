"""Contacts: a key, the id that follows from it, an address, and the proof that they belong together.

directory.rst, "Node ids and proofs". An id is never believed: it is computed from the key, and the key signs for the
address it is reached at. Ids are integers here, so that the distance of two is ``a ^ b``.
"""

from functools import lru_cache
from typing import Final

from mm_services.kademlia.protocol.address import Address
from mmplatform.errors import BadSignature
from mmplatform.identity.keys import BoxId, Identity, SignId, digest, raw_key, verify

K: Final = 20  # contacts in a bucket, holders of a record
ID_BITS: Final = 256
PROOF_LASTS: Final = 2 * 3600  # seconds
PROOF_STEP: Final = 3600  # one proof serves all who ask within an hour

_NODE: Final = "mm/1 dht node"
_BOX: Final = "mm/1 dht box"
_RECORD: Final = "mm/1 dht record"
_CONTACT: Final = "mm/1 dht contact"


class Contact:
    """A node that may be reached at an address; proven only where the code says so."""

    __slots__ = ("address", "id", "sign_key")

    def __init__(self, sign_key: bytes, address: Address) -> None:
        self.sign_key = sign_key
        self.address = address
        self.id = node_id(sign_key)

    def __repr__(self) -> str:
        return f"Contact({self.sign_key.hex()[:8]}, {self.address})"


@lru_cache(maxsize=16384)
def node_id(sign_key: bytes) -> int:
    """Return the id of a node, which is also the key of its NodeInfo."""
    return int.from_bytes(digest(_NODE, sign_key), "big")


def sign_id_key(sign_id: SignId) -> int:
    """Return the key under which the NodeInfo of ``sign_id`` is kept."""
    return node_id(raw_key(sign_id))


def box_id_key(box_id: BoxId) -> int:
    """Return the second key of a NodeInfo, for those who know only its boxId."""
    return int.from_bytes(digest(_BOX, raw_key(box_id)), "big")


def record_key(sign_key: bytes, name: str) -> int:
    """Return the key under which the application record ``name`` of a signId is kept."""
    return int.from_bytes(digest(_RECORD, sign_key, name.encode()), "big")


def prefix_length(one: int, other: int) -> int:
    """Return how many leading bits two ids share."""
    return ID_BITS - (one ^ other).bit_length()


def prove(identity: Identity, address: Address, now: float) -> tuple[int, bytes]:
    """Prove that ``identity`` is reached at ``address``: until when (Unix seconds), and the signature."""
    expires = (int(now) // PROOF_STEP) * PROOF_STEP + PROOF_LASTS
    return expires, _signature(identity, address, expires)


def is_proven(contact: Contact, expires: int, signature: bytes, now: float) -> bool:
    """Whether the proof that came with a reply from ``contact.address`` is good now."""
    return now < expires <= now + 2 * PROOF_LASTS and _verified(contact.sign_key, contact.address, expires, signature)


@lru_cache(maxsize=256)
def _signature(identity: Identity, address: Address, expires: int) -> bytes:
    return identity.sign(_CONTACT, *_parts(address, expires))


@lru_cache(maxsize=8192)
def _verified(sign_key: bytes, address: Address, expires: int, signature: bytes) -> bool:
    try:
        verify(sign_key, signature, _CONTACT, *_parts(address, expires))
    except BadSignature:
        return False
    return True


def _parts(address: Address, expires: int) -> tuple[bytes, bytes, bytes]:
    return address.host, address.port.to_bytes(2, "big"), expires.to_bytes(8, "big")
