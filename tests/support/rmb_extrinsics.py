"""Changes of twins as clients sign them for the face of a chain."""

from typing import Final

from mm_relay.rmb.chain.blocks import first_block
from mm_relay.rmb.chain.extrinsic import signed_payload
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.scale import compact, octets, option

RELAY: Final = b"relay"  # its key
FIRST: Final = first_block(RELAY).hash

# As @polkadot/api 15.10.2 made them for tfchain_client 2.9.2 at the face of the relay whose key is "x".
GENUINE: Final = {
    "sr25519": "85028400"
    "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a"
    "01585f7b96d128524bedb064af045ca8c70fc8713475c4ddb8d3d038bd3a5203"
    "3135823fea2ac84ed975f4b32393ee6c7c9d5155faba3774226421251da9c78e"
    "88050003863b0e6b000112013c77733a2f3132372e302e302e313a310184035b26108e8b97479c547da4860d862dc08ab2c29ada449c74d5"
    "a9a58a6c46a8c4",
    "ed25519": "85028400"
    "345071da55e5dccefaaa440339415ef9f2663338a38f7da0df21be5ab4e055ef"
    "00f30ce869dae1ae6c5f96786a26ff8b12fbf835818569ce588d05f0e800c6d1"
    "a233253bb094dd66794c6abe609aff3a2d69b0779b08207fcf72934ec4b07937"
    "01050003873b0e6b000112013c77733a2f3132372e302e302e313a310184035b26108e8b97479c547da4860d862dc08ab2c29ada449c74d5"
    "a9a58a6c46a8c4",
}


def call_of(relay: bytes | None, pk: bytes | None, index: bytes = b"\x01\x12") -> bytes:
    """Return a call of update_twin."""
    parts = (option(octets(one) if one is not None else None) for one in (relay, pk))
    return index + b"".join(parts)


def extrinsic_of(
    keys: TwinKeys, nonce: int, call: bytes, first: bytes = FIRST, era: bytes = b"\x00", tip: int = 0
) -> bytes:
    """Sign a call."""
    extra = era + compact(nonce) + compact(tip)
    signature = keys.sign(signed_payload(call + extra, first))
    kind = b"\x01" if keys.key_type == "sr25519" else b"\x00"
    return octets(b"\x84\x00" + keys.account + kind + signature[1:] + extra + call)
