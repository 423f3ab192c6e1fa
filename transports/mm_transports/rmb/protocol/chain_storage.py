"""Twins on ThreeFold's chain: the keys of its storage under which they are, and their bytes. Sans-I/O.

A key is the hash of the pallet's name, that of the map's name, and the key in the map behind its own hash
(Blake2_128Concat); docs/protocol/rmb.rst has the names with their hashes. The fields of a twin are those of tfchain
(pallet-tfgrid, types.rs).
"""

from hashlib import blake2b
from typing import Final

from mm_transports.rmb.protocol.primitives import ACCOUNT_SIZE
from mm_transports.rmb.protocol.scale import Scale, octets, option, u32, vector
from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mmplatform.errors import InvalidRecord, ProtocolError
from mmplatform.identity.record_checks import reject

HASH: Final = 16  # bytes of the hash of a name, and of that before a key
PALLET: Final = bytes.fromhex("19a2526838feefd7695a3b5715b415b1")  # TwoX 128 of TfgridModule
TWINS: Final = bytes.fromhex("311378229266fc86f673a3f4cf398e69")  # of Twins
ACCOUNTS: Final = bytes.fromhex("aca6514962aa3f0d58aff3524045f9e0")  # of TwinIdByAccountID
EVENTS: Final = bytes.fromhex("26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7")  # System, Events
MAX_RELAY_TEXT: Final = 1024  # bytes; the bounds of the chain
MAX_PK: Final = 128
MAX_ENTITIES: Final = 4096
MAX_TWIN_VALUE: Final = 256 * 1024
_MAX_PROOF: Final = 1024


def blake2_256(data: bytes) -> bytes:
    """Return the hash by which the chain calls blocks and extrinsics."""
    return blake2b(data, digest_size=32).digest()


def concat(key: bytes) -> bytes:
    """Return a key in a map behind its hash (Blake2_128Concat)."""
    return blake2b(key, digest_size=HASH).digest() + key


def twin_key(number: int) -> bytes:
    """Return the key of a twin."""
    return PALLET + TWINS + concat(u32(number))


def account_key(account: bytes) -> bytes:
    """Return the key of the number that an account has."""
    return PALLET + ACCOUNTS + concat(account)


def encode_twin(twin: TwinInfo) -> bytes:
    """Encode a twin as the chain does, without entities."""
    relay, pk = relay_text(twin.relays), octets(twin.pk) if twin.pk else None
    return u32(twin.number) + twin.account + option(octets(relay) if relay else None) + vector(()) + option(pk)


def decode_twin(data: bytes) -> TwinInfo:
    """Read a twin. Raises InvalidRecord for what is none. Fields that a later chain adds at the end are passed over."""
    if len(data) > MAX_TWIN_VALUE:
        reject("size", f"{len(data)} bytes, at most {MAX_TWIN_VALUE}")
    try:
        reader = Scale(data)
        number, account = reader.u32(), reader.fixed(ACCOUNT_SIZE)
        relays = relay_names(reader.octets(MAX_RELAY_TEXT)) if reader.option() else ()
        entities = reader.compact()
        if entities > MAX_ENTITIES:
            raise ProtocolError("too-many", f"{entities} entities, at most {MAX_ENTITIES}")
        for _ in range(entities):
            reader.u32()
            reader.octets(_MAX_PROOF)
        pk = reader.octets(MAX_PK) if reader.option() else b""
    except ProtocolError as error:
        raise InvalidRecord(f"twin: {error}") from None
    return check_twin(TwinInfo(number, account, pk, relays))


def decode_number(data: bytes) -> int:
    """Read the number of a twin. Raises InvalidRecord."""
    if len(data) != 4:
        reject("twin", f"a number has 4 bytes, not {len(data)}")
    return int.from_bytes(data, "little")


def relay_text(relays: tuple[str, ...]) -> bytes:
    """Return relays as the chain keeps them: in one text."""
    return "_".join(relays).encode()


def relay_names(text: bytes) -> tuple[str, ...]:
    """Split the text of a chain into the names of relays, each once. Raises ProtocolError."""
    try:
        words = text.decode("ascii").split("_")
    except UnicodeDecodeError:
        raise ProtocolError("bad-relay", "names of relays are ASCII") from None
    return tuple(dict.fromkeys(word for word in words if word))
