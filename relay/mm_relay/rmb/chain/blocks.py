"""Blocks of the chain whose face is shown: the first one, and one for each change, which only its client sees. Pure.

The first block is that of one relay, and every change is signed for a first block: what is signed for one relay, or
for ThreeFold's chain, changes nothing at another.
"""

from typing import Any, Final, NamedTuple

from mm_transports.rmb.protocol.chain_storage import blake2_256, encode_twin
from mm_transports.rmb.protocol.scale import compact, u32, vector
from mm_transports.rmb.protocol.twin import TwinInfo

VERSION: Final[dict[str, Any]] = {
    "specName": "tfchain", "implName": "mm-platform", "authoringVersion": 1, "specVersion": 1, "implVersion": 1,
    "apis": [], "transactionVersion": 1, "stateVersion": 1,
}  # fmt: skip
_NOTHING: Final = bytes(32)
_FIRST_EXTRINSIC: Final = b"\x00" + u32(0)  # the phase of events that it causes
_TWIN_UPDATED: Final = b"\x01\x00"  # event 0 of pallet 1
_SUCCESS: Final = b"\x00\x00" + compact(0) + compact(0) + b"\x00\x01"  # of pallet 0; no weight, normal, nothing paid


class Block(NamedTuple):
    """A block as clients see it.

    Attributes:
        hash: What it is called.
        header: As JSON.
        extrinsics: What is in it.
        events: What came of that, encoded.

    """

    hash: bytes
    header: dict[str, Any]
    extrinsics: tuple[bytes, ...] = ()
    events: bytes = b"\x00"


def first_block(relay: bytes) -> Block:
    """Return the first block of the relay with this key."""
    return _block(_NOTHING, 0, blake2_256(b"mm/1 rmb chain" + relay))


def changed_block(first: Block, extrinsic: bytes, twin: TwinInfo) -> Block:
    """Return the block in which ``extrinsic`` has made a twin what it is now."""
    made = _block(first.hash, 1, blake2_256(extrinsic))
    events = (_TWIN_UPDATED + encode_twin(twin), _SUCCESS)
    return made._replace(
        extrinsics=(extrinsic,), events=vector(_FIRST_EXTRINSIC + event + vector(()) for event in events)
    )


def _block(parent: bytes, number: int, extrinsics: bytes) -> Block:
    encoded = parent + compact(number) + _NOTHING + extrinsics + vector(())
    header = {
        "parentHash": f"0x{parent.hex()}", "number": hex(number), "stateRoot": f"0x{_NOTHING.hex()}",
        "extrinsicsRoot": f"0x{extrinsics.hex()}", "digest": {"logs": []},
    }  # fmt: skip
    return Block(blake2_256(encoded), header)
