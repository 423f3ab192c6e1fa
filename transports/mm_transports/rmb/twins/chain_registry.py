"""A registry that is a chain: a node of it is asked for what is in its storage.

The node is believed, as it is by all clients of RMB: it proves nothing. What it says is checked to be a twin, and the
one that was asked for. Put a ``CachedRegistry`` around it, which remembers.
"""

from typing import Final

from mm_transports.rmb.protocol.chain_storage import (
    MAX_TWIN_VALUE,
    account_key,
    decode_number,
    decode_twin,
    twin_key,
)  # fmt: skip
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.chain_node import ChainNode
from mm_transports.rmb.twins.registry import Key, TwinRegistry, is_of, told
from mm_transports.rmb.twins.toml_file import hex_bytes
from mmplatform.errors import InvalidRecord

_GET: Final = "state_getStorage"


class ChainRegistry(TwinRegistry):
    """The twins that ``node`` knows."""

    def __init__(self, node: ChainNode) -> None:
        self.name = node.name
        self._node = node

    async def open(self) -> None:
        self._node.open()

    async def close(self) -> None:
        await self._node.close()

    async def find(self, key: Key) -> TwinInfo | None:
        number: int | None
        if isinstance(key, int):
            number = key
        else:
            found = await self._value(account_key(key))
            number = decode_number(found) if found is not None else None
        data = await self._value(twin_key(number)) if number is not None else None
        if data is None:
            return None
        twin = decode_twin(data)
        if not is_of(twin, key) or twin.number != number:
            raise InvalidRecord(f"{self.name} says another twin than {told(key)}")
        return twin

    async def _value(self, key: bytes) -> bytes | None:
        """Return what is in the storage under a key. Raises InvalidRecord, Unreachable."""
        said = await self._node.call(_GET, [f"0x{key.hex()}"])
        if said is None:
            return None
        if not isinstance(said, str) or len(said) > 2 * MAX_TWIN_VALUE:
            raise InvalidRecord(f"{self.name} answers what is no value of the storage")
        try:
            return hex_bytes(said)
        except ValueError:
            raise InvalidRecord(f"{self.name} answers what is not hexadecimal") from None
