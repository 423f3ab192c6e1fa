"""Parsers of a chain's bytes: twins and answers of its nodes, changes that clients sign for its face."""

import asyncio
import json
from typing import Any, Final

from mm_relay.rmb.chain.blocks import first_block
from mm_relay.rmb.chain.extrinsic import parse_update, verify_update
from mm_transports.rmb.protocol.chain_storage import decode_twin, encode_twin
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.chain_node import ChainConnection
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, target
from tests.fuzz.world import Loop
from tests.support.rmb_extrinsics import GENUINE, call_of, extrinsic_of
from tests.support.rmb_world import KEYS

ME: Final = KEYS[10]
NONCE: Final = 1_795_224_500
FIRST: Final = first_block(b"x").hash


@target(lambda: [bytes.fromhex(one) for one in GENUINE.values()])
def rmb_extrinsic() -> Run:
    return typed(lambda data: verify_update(parse_update(data), FIRST))


@target(lambda: [call_of(b"relay.example", ME.pk), call_of(None, None)])
def rmb_extrinsic_signed() -> Run:
    """Calls that are anybody's, under a signature that is good."""

    def parse(data: bytes) -> None:
        update = parse_update(extrinsic_of(ME, NONCE, data, FIRST))
        verify_update(update, FIRST)
        assert (update.account, update.nonce) == (ME.account, NONCE)

    return typed(parse)


@target(
    lambda: [encode_twin(TwinInfo(30, ME.account, ME.pk, ("relay.example",))), encode_twin(TwinInfo(30, ME.account))]
)
def rmb_chain_twin() -> Run:
    """What is read is a twin that can be, and is written and read again as the same."""

    def parse(data: bytes) -> None:
        twin = decode_twin(data)
        assert decode_twin(encode_twin(twin)) == twin

    return typed(parse)


class _Socket:
    """A WebSocket that takes everything."""

    def send(self, message: bytes) -> None:
        assert json.loads(message)

    def abort(self, why: str) -> None:
        assert why


@target(lambda: [b'{"id":1,"result":null}', b'{"id":1,"error":{"code":-32601,"message":"no"}}', b"[]"])
def rmb_chain_answer() -> Run:
    """What a node answers: the call has a result, an error, or none yet."""
    loop = Loop()

    async def hear(data: bytes) -> None:
        running = asyncio.get_running_loop()
        socket: Any = _Socket()
        connection = ChainConnection(socket, running.create_future(), lambda: None)
        call = running.create_task(connection.call("state_getStorage", []))
        await asyncio.sleep(0)
        connection.message_received(data)
        connection.connection_lost("over")
        await asyncio.gather(call, return_exceptions=True)
        assert call.done()

    return lambda data: loop.run(hear(data))
