"""A WebSocket that is gone leaves nothing behind, whatever half of a message it held."""

import gc
import weakref

import pytest
from websockets.protocol import OPEN

from mm_relay.doors.metered import MeteredProtocol


@pytest.mark.parametrize("sent", [b"", b"\x82", b"\x82\xff" + (100_000).to_bytes(8, "big") + bytes(40_000)])
def test_a_connection_that_ends_within_a_message_is_freed_at_once(sent: bytes) -> None:
    protocol = MeteredProtocol(state=OPEN, max_size=2**20)
    protocol.receive_data(sent)
    protocol.next_frame()
    protocol.receive_eof()
    assert protocol.parser_exc is not None
    gone = weakref.ref(protocol)
    gc.disable()  # what refers to itself stays until the collector comes, which is late in a flood
    try:
        protocol.drop()
        del protocol
        assert gone() is None
    finally:
        gc.enable()
