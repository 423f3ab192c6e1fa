"""Reads the one change that the face of a chain takes: ``TfgridModule.update_twin``, signed by the account of the twin.

Pure. The layout is that of signed extrinsics of version 4 (https://docs.polkadot.com/reference/glossary/), with the
extensions that :mod:`mm_relay.rmb.chain.metadata` names, in their order: mortality, nonce, tip.
"""

from typing import Final, NamedTuple

from mm_relay.rmb.chain.blocks import VERSION
from mm_transports.rmb.protocol.chain_storage import MAX_PK, MAX_RELAY_TEXT, blake2_256, relay_names
from mm_transports.rmb.protocol.keys import verify
from mm_transports.rmb.protocol.primitives import ACCOUNT_SIZE, SIGNATURE_SIZE
from mm_transports.rmb.protocol.scale import Scale, compact, u32
from mmplatform.errors import ProtocolError

MAX_EXTRINSIC: Final = 2048  # bytes
PALLET_INDEX: Final = 1
UPDATE_TWIN: Final = 18  # as in tfchain
_SIGNED: Final = 0x84  # version 4, with a signature
_ACCOUNT: Final = 0  # of the kinds of addresses
_LETTERS: Final = {0: b"e", 1: b"s"}  # of the kinds of signatures: Ed25519, sr25519
_HASHED: Final = 256  # bytes above which the hash is signed


class TwinUpdate(NamedTuple):
    """What ``account`` wants to have instead; not checked to be a twin, and not verified to be signed.

    Attributes:
        account: Whose twin it is.
        relays: Names of relays.
        pk: The key that payloads are encrypted to, or nothing.
        nonce: The number of this change among those of the account.
        signature: With its letter.
        signed: What is signed, but for the block.

    """

    account: bytes
    relays: tuple[str, ...]
    pk: bytes
    nonce: int
    signature: bytes
    signed: bytes


def parse_update(data: bytes) -> TwinUpdate:
    """Read an extrinsic. Raises ProtocolError for another one than a change of a twin."""
    if len(data) > MAX_EXTRINSIC:
        raise ProtocolError("too-long", f"{len(data)} bytes, at most {MAX_EXTRINSIC}")
    outer = Scale(data)
    body = outer.octets(MAX_EXTRINSIC)
    outer.end()
    reader = Scale(body)
    if reader.u8() != _SIGNED or reader.u8() != _ACCOUNT:
        raise ProtocolError("bad-extrinsic", "only ones of version 4 are taken, signed by an account")
    account = reader.fixed(ACCOUNT_SIZE)
    letter = _LETTERS.get(reader.u8())
    if letter is None:
        raise ProtocolError("bad-extrinsic", "only signatures of sr25519 and Ed25519 are taken")
    signature = letter + reader.fixed(SIGNATURE_SIZE)
    era = reader.fixed(1)
    if era != b"\x00":
        era += reader.fixed(1)
    nonce, tip = reader.compact(), reader.compact()
    if tip:
        raise ProtocolError("bad-extrinsic", "nothing is paid here, no tip is taken")
    call = reader.fixed(reader.left)
    relays, pk = _arguments(call)
    return TwinUpdate(account, relays, pk, nonce, signature, call + era + compact(nonce) + compact(tip))


def _arguments(call: bytes) -> tuple[tuple[str, ...], bytes]:
    reader = Scale(call)
    if (reader.u8(), reader.u8()) != (PALLET_INDEX, UPDATE_TWIN):
        raise ProtocolError("unknown-call", "the one call that is taken is TfgridModule.update_twin")
    relays = relay_names(reader.octets(MAX_RELAY_TEXT)) if reader.option() else ()
    pk = reader.octets(MAX_PK) if reader.option() else b""
    reader.end()
    return relays, pk


def verify_update(update: TwinUpdate, genesis: bytes) -> None:
    """Raise BadSignature unless the account made the change for the chain that begins with the block ``genesis``."""
    payload = signed_payload(update.signed, genesis)
    verify(update.account, update.signature, payload)


def signed_payload(signed: bytes, genesis: bytes) -> bytes:
    """Return the bytes that a signature is over. There is one block, so that it is the one of each era."""
    payload = signed + u32(VERSION["specVersion"]) + u32(VERSION["transactionVersion"]) + genesis + genesis
    return payload if len(payload) <= _HASHED else blake2_256(payload)
