from mm_relay.rmb.chain.blocks import changed_block, first_block
from mm_transports.rmb.protocol.chain_storage import blake2_256, encode_twin
from mm_transports.rmb.protocol.twin import TwinInfo
from tests.support.rmb_world import KEYS

TWIN = TwinInfo(30, KEYS[30].account, KEYS[30].pk, ("relay.example",))


def test_each_relay_has_a_first_block_of_its_own() -> None:
    assert first_block(b"a") == first_block(b"a")
    assert first_block(b"a").hash != first_block(b"b").hash
    assert first_block(b"a").header["number"] == "0x0"


def test_the_hash_is_that_of_the_header() -> None:
    """As @polkadot/api computes it, which signs for it: its signatures are good (test_extrinsic.py)."""
    first = first_block(b"a")
    root = bytes.fromhex(first.header["extrinsicsRoot"][2:])
    assert first.hash == blake2_256(bytes(32) + b"\x00" + bytes(32) + root + b"\x00")


def test_a_change_is_a_block_that_says_what_came_of_it() -> None:
    first = first_block(b"a")
    block = changed_block(first, b"extrinsic", TWIN)
    assert block.header["parentHash"] == f"0x{first.hash.hex()}"
    assert block.extrinsics == (b"extrinsic",)
    applied = b"\x00" + bytes(4)
    assert block.events == (
        b"\x08" + applied + b"\x01\x00" + encode_twin(TWIN) + b"\x00" + applied + bytes(4) + b"\x00\x01" + b"\x00"
    )
    assert block.hash not in (first.hash, changed_block(first, b"another", TWIN).hash)
