"""The bytes of a relay connection: each binary WebSocket message is one MessagePack array of items.

::

    GET / HTTP/1.1, Upgrade: websocket, Sec-WebSocket-Protocol: mm-relay.1
    relay  -> [Challenge]                                   together with the answer to the upgrade
    client -> [SignIn, Open ..., Deposit ...]               nobody waits for the welcome
    relay  -> [Welcome, ...]                                then items both ways, batched by loop turn
    either -> [Bye], close
"""

from mm_transports.relay.items import MAX_ITEMS, MAX_MESSAGE, Item
from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, ProtocolError

_batches: Decoder[list[Item]] = Decoder(list[Item], MAX_MESSAGE)


def encode_items(items: list[Item]) -> bytes:
    """One WebSocket message."""
    return encode(items)


def decode_items(message: bytes) -> list[Item]:
    """The items of one WebSocket message; raises ProtocolError("bad-item")."""
    try:
        items = _batches.decode(message)
    except CodecError as error:
        raise ProtocolError("bad-item", str(error)) from None
    if len(items) > MAX_ITEMS:
        raise ProtocolError("bad-item", f"{len(items)} items in one message, {MAX_ITEMS} is the limit")
    return items
