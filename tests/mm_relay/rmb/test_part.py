from typing import Any

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo
from tests.support.rmb_world import write_twins

OTHER = TwinKeys(bytes([50]) * 32)


async def test_a_relay_asks_a_chain_for_twins_that_its_file_does_not_have(rmb: Any) -> None:
    twin = TwinInfo(50, OTHER.account, OTHER.pk, ("relay.example",))
    chain = await rmb("chain")
    write_twins(chain.twins, twin)
    await chain.look()
    relay = await rmb(chain=[f"ws://{chain.host}/chain"])
    registry = relay.world._registry
    assert await registry.find(50) == twin
    assert await registry.find(OTHER.account) == twin
    assert await registry.find(60) is None
    await chain.server.stop()
    assert await registry.find(50) == twin


async def test_a_relay_starts_without_its_chain(rmb: Any) -> None:
    relay = await rmb(chain=["ws://127.0.0.1:1/"])
    assert (await relay.world._registry.find(10)).number == 10
