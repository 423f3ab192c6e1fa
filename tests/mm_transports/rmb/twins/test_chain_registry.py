from typing import Any

import pytest

from mm_transports.rmb.protocol.chain_storage import MAX_TWIN_VALUE, account_key, encode_twin, twin_key
from mm_transports.rmb.protocol.scale import u32
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.chain_registry import ChainRegistry
from mmplatform.errors import InvalidRecord, Unreachable
from tests.support.rmb_world import KEYS

TWIN = TwinInfo(30, KEYS[30].account, KEYS[30].pk, ("relay.example",))


class Node:
    """Answers what a test has put there."""

    name = "node"

    def __init__(self, **storage: Any) -> None:
        self.storage: dict[str, Any] = {}
        self.running = False

    def open(self) -> None:
        self.running = True

    async def close(self) -> None:
        self.running = False

    async def call(self, method: str, params: list[Any]) -> Any:
        assert method == "state_getStorage"
        found = self.storage.get(params[0])
        if isinstance(found, Exception):
            raise found
        return found

    def put(self, key: bytes, value: bytes | str | Any) -> None:
        self.storage[f"0x{key.hex()}"] = f"0x{value.hex()}" if isinstance(value, bytes) else value


@pytest.fixture
def node() -> Node:
    made = Node()
    made.put(twin_key(30), encode_twin(TWIN))
    made.put(account_key(TWIN.account), u32(30))
    return made


@pytest.fixture
def registry(node: Node) -> ChainRegistry:
    return ChainRegistry(node)  # type: ignore[arg-type]


async def test_twins_are_found_by_number_and_by_account(registry: ChainRegistry) -> None:
    assert await registry.find(30) == TWIN
    assert await registry.find(TWIN.account) == TWIN
    assert await registry.find(31) is None
    assert await registry.find(bytes(32)) is None


async def test_an_account_whose_twin_is_gone_has_none(registry: ChainRegistry, node: Node) -> None:
    node.put(twin_key(30), None)
    assert await registry.find(TWIN.account) is None


@pytest.mark.parametrize(
    "said",
    ["0xzz", "0x0", 5, True, [], {"a": 1}, "0x", f"0x{'00' * MAX_TWIN_VALUE}00", b"short",
     encode_twin(TwinInfo(31, TWIN.account)), encode_twin(TwinInfo(30, TWIN.account, b"\x05" * 33))],
)  # fmt: skip
async def test_what_is_not_that_twin_is_not_believed(registry: ChainRegistry, node: Node, said: Any) -> None:
    node.put(twin_key(30), said)
    with pytest.raises(InvalidRecord):
        await registry.find(30)
    with pytest.raises(InvalidRecord):
        await registry.find(TWIN.account)


async def test_a_twin_of_another_account_is_not_believed(registry: ChainRegistry, node: Node) -> None:
    node.put(account_key(KEYS[10].account), u32(30))
    with pytest.raises(InvalidRecord, match="another twin"):
        await registry.find(KEYS[10].account)
    node.put(account_key(KEYS[10].account), b"12345")
    with pytest.raises(InvalidRecord, match="4 bytes"):
        await registry.find(KEYS[10].account)


async def test_a_node_that_is_away_is_no_answer(registry: ChainRegistry, node: Node) -> None:
    node.put(twin_key(30), Unreachable("away"))
    with pytest.raises(Unreachable):
        await registry.find(30)


async def test_it_opens_and_closes_its_node(registry: ChainRegistry, node: Node) -> None:
    await registry.open()
    assert node.running
    await registry.close()
    assert not node.running
    assert registry.name == "node"
